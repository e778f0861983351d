"""Fake quantization on the grids of the file, with gradients.

Forward is what ONNX Runtime and its QDQ writer compute, in the same order and precision: division by the float32 step,
rounding half to even, saturation. Backward is the straight-through estimator (Bengio et al. 2013), cut off outside the
range; steps learn as in LSQ (Esser et al. 2020, "Learned Step Size Quantization").
"""

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - this module is PyTorch modules, imported only where something is trained
from torch import nn  # noqa: TID253

__all__ = ["ActivationGrid", "WeightGrid", "bias_codes", "place_bias"]

_TINY = float(torch.finfo(torch.float32).tiny)
_INT32 = 2**31 - 1
_BOUNDS = 32
_WORTH = 0.95
"""A smaller bound must take a twentieth of the error away: what is cut may matter on other pictures."""
_ROOM = 1.0001
"""Of the writer, which widens the step of weights until the bias fits into 32 bits."""


class _Quantize(torch.autograd.Function):
    """Activations: one step for all."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, low: float, high: float) -> torch.Tensor:
        placed = x.div(scale).round_().clamp_(low, high).mul_(scale)
        learnt = ctx.needs_input_grad[1]
        ctx.save_for_backward(x, scale, placed if learnt else None)
        ctx.limits = low, high
        return placed

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (grad,), (x, scale, placed), (low, high) = grads, ctx.saved_tensors, ctx.limits
        step = float(scale)
        inner = torch.ops.aten.hardtanh_backward(grad, x, low * step, high * step)
        if placed is None:
            return inner, None, None, None
        # LSQ's slope is the rounding error inside the range and the code outside; summed up, two dot products.
        slope = (_dot(grad, placed) - _dot(inner, x)) / scale
        return inner, slope.reshape(scale.shape), None, None


def _dot(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    if one.is_contiguous() and other.is_contiguous():
        return torch.dot(one.view(-1), other.view(-1))
    return (one * other).sum()


class ActivationGrid(nn.Module):
    """The integers of activation tensors: ``real = (code - zero_point) * scale``.

    The step is ``base * exp(change)``: positive whatever is learnt, exactly ``base`` at the start, and the learning rate
    means the same share of it in every layer.
    """

    base: torch.Tensor

    def __init__(self, scale: float, zero_point: int, limits: tuple[int, int], *, learn: bool = False) -> None:
        """A grid.

        Args:
            scale: Step, as the file has it.
            zero_point: Code of 0.0; it stays.
            limits: Smallest and largest code.
            learn: Whether the step is trained.
        """
        super().__init__()
        self.zero_point, self.limits = zero_point, limits
        self.register_buffer("base", torch.tensor(scale, dtype=torch.float32))
        self.change = nn.Parameter(torch.zeros(()), requires_grad=learn)

    @property
    def scale(self) -> torch.Tensor:
        """The step as it is now, float32."""
        scale: torch.Tensor = self.base * self.change.exp() if self.change.requires_grad else self.base
        return scale

    def settle(self, scale: float) -> None:
        """Takes a step for the new start."""
        with torch.no_grad():
            self.base.fill_(scale)
            self.change.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Values on the grid."""
        low, high = (limit - self.zero_point for limit in self.limits)
        answer: torch.Tensor = _Quantize.apply(x.float(), self.scale, float(low), float(high))  # type: ignore[no-untyped-call]
        return answer


class _Weights(torch.autograd.Function):
    """Weights: rounding passes gradients; the bound within which they are cut learns like an LSQ step."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> torch.Tensor:
        weight, bound, scale, zero, limits, half = given
        steps = weight / scale
        codes = (steps.round() + zero).clamp_(*limits) - zero
        ctx.save_for_backward(weight, bound, codes - steps)
        ctx.half = half
        placed: torch.Tensor = codes * scale
        return placed

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (grad,), (weight, bound, error) = grads, ctx.saved_tensors
        if bound is None:
            return grad, None, None, None, None, None
        cut = weight.abs() >= bound
        slope = torch.where(cut, weight.sign(), error / ctx.half)
        return grad, (grad * slope).sum_to_size(bound.shape), None, None, None, None


class WeightGrid:
    """How the writer chooses the integers of one layer's weights."""

    def __init__(self, *, signed: bool, bits: int, axis: int | None) -> None:
        """A rule.

        Args:
            signed: Symmetric around 0, else asymmetric and unsigned.
            bits: 8, or 7 where the writer was told to leave room.
            axis: Of the channels with a step each; None for one step.
        """
        self._signed, self._axis = signed, axis
        self._half = float(2 ** (bits - 1) - (bits == 8))  # the writer's: -127..127, but -64..64
        self._span = float(2**bits - 1)
        self._limits = (-128.0, 127.0) if signed else (0.0, 255.0)

    def widest(self, weight: torch.Tensor) -> torch.Tensor:
        """Largest size of the weights on each step, shaped so that it broadcasts."""
        axes = tuple(k for k in range(weight.ndim) if k != self._axis)
        return weight.abs().amax(axes, keepdim=True)

    def steps(
        self, weight: torch.Tensor, bias: torch.Tensor | None, source: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Steps and zero points as the writer finds them.

        Args:
            weight: Float weights.
            bias: Float bias that is to become int32 on ``source`` times these steps, None where none is.
            source: Step of the layer's input.

        Returns:
            Steps, float32, and codes of 0.0, both shaped so that they broadcast over the weights.
        """
        weight = weight.detach()
        axes = tuple(k for k in range(weight.ndim) if k != self._axis)
        low = weight.amin(axes, keepdim=True).clamp(max=0).double()
        high = weight.amax(axes, keepdim=True).clamp(min=0).double()
        if self._signed:
            exact = torch.maximum(-low, high) / self._half
            zero = torch.zeros_like(exact)
        elif self._axis is not None:  # the writer's unsigned weights are symmetric where each channel has its step
            exact = 2.0 * torch.maximum(-low, high) / self._span
            zero = torch.where(exact < _TINY, 0.0, torch.full_like(exact, self._span / 2).round())
        else:
            exact = (high - low) / self._span
            zero = torch.where(exact < _TINY, 0.0, (-low / exact).round())
        scale = torch.where(exact < _TINY, 1.0, exact).float()
        if self._signed and bias is not None and source is not None:
            scale = _with_room(scale, bias.detach(), source.detach())
        return self._mended(scale, weight), zero.float()

    def _mended(self, scale: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Channels whose codes are all zero get the median of the other steps (``quantization.zero_channels``)."""
        empty = (weight / scale).round().abs().amax(tuple(k for k in range(weight.ndim) if k != self._axis)) == 0
        if self._axis is None or not bool(empty.any()) or bool(empty.all()):
            return scale
        flat = scale.reshape(-1).clone()
        others = flat[~empty].sort().values
        count = len(others)
        flat[empty] = (others[(count - 1) // 2] + others[count // 2]) / 2
        return flat.reshape(scale.shape)

    def place(
        self, weight: torch.Tensor, bound: torch.Tensor | None, scale: torch.Tensor, zero: torch.Tensor
    ) -> torch.Tensor:
        """Weights on the grid, with gradients for them and for ``bound``."""
        answer: torch.Tensor = _Weights.apply(weight, bound, scale, zero, self._limits, self._half)  # type: ignore[no-untyped-call]
        return answer

    def best_bound(self, weight: torch.Tensor, importance: torch.Tensor) -> torch.Tensor:
        """Where weights are best cut: the bound with the least squared error, each weight counted by its importance.

        Args:
            weight: Float weights.
            importance: Of each, in a shape that broadcasts; without any the bound stays at the largest weight.
        """
        axes = tuple(k for k in range(weight.ndim) if k != self._axis)
        widest = self.widest(weight)
        best, least = widest.clone(), torch.full_like(widest, torch.inf)
        for halves in range(_BOUNDS):
            bound = widest * 2.0 ** (-halves / 2)
            cut = torch.maximum(torch.minimum(weight, bound), -bound)
            placed = self.place(cut, None, *self.steps(cut, None, None))
            error = (importance * (placed - weight).square()).sum(axes, keepdim=True)
            better = error < least * _WORTH
            best, least = torch.where(better, bound, best), torch.where(better, error, least)
        return best

    def codes(self, weight: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        """Integer weights, as floats."""
        return ((weight / scale).round() + zero).clamp(*self._limits)


def _with_room(scale: torch.Tensor, bias: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Steps widened until each bias fits into 32 bits."""
    wide = scale.double().reshape(-1)
    # The writer stays in single precision for one channel, and takes double for a whole tensor.
    size = bias.abs().reshape(-1) if scale.numel() > 1 else bias.abs().max().double()
    least = (_ROOM * (2.0 * size)).double() / (2.0 * _INT32)
    now = source.double() * wide
    return torch.where((now < least) & (now > 0), wide * (least / now), wide).float().reshape(scale.shape)


class _Bias(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, bias: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return (bias_codes(bias, scale) * scale.double()).float()

    @staticmethod
    def backward(_ctx: Any, *grads: torch.Tensor) -> Any:
        return grads[0], None


def bias_codes(bias: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Integer biases, as float64."""
    return (bias.double() / scale.double()).round().clamp(-_INT32 - 1, _INT32)


def place_bias(bias: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Biases on the grid of input step times weight steps, with gradients for them."""
    answer: torch.Tensor = _Bias.apply(bias, scale)  # type: ignore[no-untyped-call]
    return answer
