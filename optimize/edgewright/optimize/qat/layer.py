"""A layer with weights: what is trained, and how it becomes what the file computes with.

Weights and biases are ``base + unit * change`` with ``change`` trained from 0. ``unit`` is the size of the channel's
weights, so one learning rate means the same share in every channel, and weight decay pulls towards where training
started. Where a layer's integers were moved by a rounding pass, the start is the real value of these integers.

Biases are learnt for inputs without their mean: ``y = W (x - mean) + centre``. What rounding (or a change) of the weights
does to the mean of the output is so taken back in the bias at every step, which is bias correction (Nagel et al. 2019)
as a parametrization. The exported bias is ``centre - W mean``, on its integer grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch  # noqa: TID253 - this module is PyTorch modules, imported only where something is trained
from torch import nn  # noqa: TID253

from edgewright.optimize.qat.grids import bias_codes, place_bias

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.optimize.qat.grids import ActivationGrid, WeightGrid

__all__ = ["Integers", "Layer", "LayerShape"]

_GAIN = 5.0
"""How much faster than weights the bound moves within which they are cut, in shares of itself."""
_UNIT = 4.0
"""A channel's unit in medians of its weights' sizes: about its largest, where none is out of proportion."""
_TINY_UNIT = 1e-6


@dataclass(frozen=True)
class LayerShape:
    """How a layer's tensors lie.

    Attributes:
        node: Its id.
        op_type: Conv, ConvTranspose, Gemm or MatMul.
        axis: Of the output channels in the weights.
        groups: Of a convolution.
        beta: Factor of the bias in a Gemm.
    """

    node: str
    op_type: str
    axis: int
    groups: int = 1
    beta: float = 1.0

    @property
    def centred(self) -> bool:
        """Whether the mean of its inputs reaches every output through the sum of its weights."""
        return self.op_type in {"Conv", "Gemm"}


@dataclass(frozen=True, eq=False)
class Integers:
    """What a layer is in the file.

    Attributes:
        codes: Integer weights, as floats.
        scale: Their steps, float32, (channels,) or (1,).
        zero: Their codes of 0.0, shaped as ``scale``.
        bias: Integer bias, as float64; None where it is float or there is none.
        bias_scale: Its steps, float32, as ``bias``.
    """

    codes: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor
    bias: torch.Tensor | None
    bias_scale: torch.Tensor | None


class Layer(nn.Module):
    """One operator with weights."""

    base: torch.Tensor
    unit: torch.Tensor
    bound: torch.Tensor
    bias_base: torch.Tensor
    bias_unit: torch.Tensor
    mean: torch.Tensor

    def __init__(
        self,
        shape: LayerShape,
        call: Callable[..., torch.Tensor],
        start: tuple[torch.Tensor, torch.Tensor | None],
        grid: WeightGrid | None = None,
        source: ActivationGrid | None = None,
    ) -> None:
        """A layer.

        Args:
            shape: How its tensors lie.
            call: The operator on input, weights and bias.
            start: Weights, and bias (channels,) or None, where training starts.
            grid: Of the weights; None leaves the layer in float.
            source: Grid of its input, where the bias is an integer on it.
        """
        super().__init__()
        weight, bias = start
        self.shape, self.grid, self.source = shape, grid, source
        self._call = call
        self.register_buffer("base", weight.clone())
        self.register_buffer("unit", _units(weight, shape.axis))
        self.change = nn.Parameter(torch.zeros_like(weight))
        cut = grid is not None
        self.register_buffer("bound", grid.widest(weight) if grid is not None else torch.zeros(1))
        self.bound_change = nn.Parameter(torch.zeros_like(self.bound), requires_grad=cut)
        self.has_bias = bias is not None
        bias = torch.zeros(weight.shape[shape.axis]) if bias is None else bias.clone()
        self.register_buffer("bias_base", bias)
        self.register_buffer("bias_unit", torch.ones_like(bias))
        self.register_buffer("mean", torch.zeros(0))
        self.bias_change = nn.Parameter(torch.zeros_like(bias), requires_grad=self.has_bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The operator with weights and bias as the file has them."""
        weight, bias = self.values()
        return self._call(x, weight, bias) if bias is not None else self._call(x, weight)

    def values(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weights and bias as reals on their grids."""
        weight = self.weight()
        if self.grid is None:
            return weight, self.bias(weight)
        placed, scale = self._placed(weight)
        bias = self.bias(placed)
        if bias is not None and self.source is not None:
            bias = place_bias(bias, self._bias_scale(scale))
        return placed, bias

    def weight(self) -> torch.Tensor:
        """Float weights, within their bound."""
        weight = self.base + self.unit * self.change
        if self.grid is None:
            return weight
        bound = self._bound()
        # The bound's own gradient comes from the grid, where what is cut is known.
        return torch.maximum(torch.minimum(weight, bound.detach()), -bound.detach())

    def bias(self, weight: torch.Tensor) -> torch.Tensor | None:
        """Float bias that goes with these weights."""
        if not self.has_bias:
            return None
        centre = self.bias_base + self.bias_unit * self.bias_change
        return centre - self._reach(weight) if self.mean.numel() else centre

    def integers(self) -> Integers:
        """What the file has; only of a layer with a grid."""
        if self.grid is None:
            msg = f"layer {self.shape.node!r} is float"
            raise ValueError(msg)
        with torch.no_grad():
            weight = self.weight()
            scale, zero = self._steps(weight)
            placed = self.grid.place(weight, None, scale, zero)
            bias = self.bias(placed) if self.source is not None else None
            steps = None if bias is None else self._bias_scale(scale)
            codes = None if bias is None or steps is None else bias_codes(bias, steps)
            return Integers(self.grid.codes(weight, scale, zero), scale.reshape(-1), zero.reshape(-1), codes, steps)

    def centre(self, mean: torch.Tensor, variance: torch.Tensor, spread: torch.Tensor) -> None:
        """Learns the bias for inputs without their mean from here on; but for weights that are cut the function stays.

        Args:
            mean: Of the inputs, (channels,).
            variance: Of the inputs, (channels,).
            spread: Of the outputs, (channels,): the unit in which the bias learns.
        """
        with torch.no_grad():
            self.bias_unit.copy_(torch.where(spread > 0, spread, spread.max().clamp(min=_TINY_UNIT)))
            if not self.shape.centred or not self.has_bias:
                return
            self.mean = mean.clone()
            self.bias_base.add_(self._reach(self.base))
            if self.grid is not None:
                self.bound.copy_(self.grid.best_bound(self.base, self._by_input(variance)))

    def shift(self, amount: torch.Tensor) -> None:
        """Moves the bias, (channels,), and with it where training starts."""
        with torch.no_grad():
            self.bias_base.add_(amount.to(self.bias_base.dtype))

    def settle(self) -> None:
        """Takes what was learnt as it is on its grid for the new start: from here on weights are their own codes."""
        with torch.no_grad():
            weight, bias = self.weight(), None
            if self.grid is not None:
                weight, _ = self._placed(weight)
            bias = self.bias(weight)
            self.base.copy_(weight)
            if bias is not None:
                self.bias_base.copy_(bias)
            if self.grid is not None:
                self.bound.copy_(self.grid.widest(weight))
            for parameter in (self.change, self.bound_change, self.bias_change):
                parameter.zero_()
            self.mean = torch.zeros(0, device=self.mean.device)

    def _bound(self) -> torch.Tensor:
        return self.bound * torch.exp(_GAIN * self.bound_change)

    def _steps(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Bias and weights need each other here: the writer widens steps for a bias that is too large."""
        if self.grid is None:
            msg = f"layer {self.shape.node!r} is float"
            raise ValueError(msg)
        source = None if self.source is None else self.source.scale
        bias = self.bias(weight) if self.source is not None else None
        return self.grid.steps(weight, bias, source)

    def _placed(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.grid is None:
            msg = f"layer {self.shape.node!r} is float"
            raise ValueError(msg)
        scale, zero = self._steps(weight)
        return self.grid.place(weight, self._bound(), scale, zero), scale

    def _bias_scale(self, scale: torch.Tensor) -> torch.Tensor:
        if self.source is None:
            msg = f"the bias of layer {self.shape.node!r} is float"
            raise ValueError(msg)
        steps = self.source.scale.detach() * scale.reshape(-1)
        return steps if self.shape.beta == 1 else steps * self.shape.beta

    def _reach(self, weight: torch.Tensor) -> torch.Tensor:
        """What the mean of the inputs gives at the output, (channels,)."""
        if self.shape.op_type == "Gemm":
            return self.mean @ (weight if self.shape.axis == 1 else weight.T)
        groups = self.shape.groups
        taps = weight.flatten(2).sum(2).reshape(groups, -1, weight.shape[1])
        return (taps @ self.mean.reshape(groups, -1, 1)).reshape(-1)

    def _by_input(self, values: torch.Tensor) -> torch.Tensor:
        """Values of input channels where the weights that read them lie, so that they broadcast."""
        if self.shape.op_type == "Gemm":
            return values[:, None] if self.shape.axis == 1 else values[None, :]
        outputs, inputs = self.base.shape[:2]
        rows = values.reshape(-1, 1, inputs).expand(-1, outputs // self.shape.groups, inputs).reshape(outputs, inputs)
        return rows.reshape(outputs, inputs, *[1] * (self.base.ndim - 2))


def _units(weight: torch.Tensor, axis: int) -> torch.Tensor:
    """Size of each output channel's weights, shaped so that it broadcasts."""
    rows = weight.abs().movedim(axis, 0).flatten(1)
    size = torch.minimum(_UNIT * rows.median(1).values, rows.amax(1))
    whole = size[size > 0].median() if bool((size > 0).any()) else torch.tensor(1.0)
    size = torch.where(size > 0, size, whole)
    return size.reshape([-1 if k == axis else 1 for k in range(weight.ndim)]).clone()
