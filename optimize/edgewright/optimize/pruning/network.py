"""What a network costs with so many channels in each group, without exporting it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.pruning.groups import Side
from edgewright.optimize.pruning.layers import is_weighted
from edgewright.optimize.pruning.watching import outputs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    from edgewright.optimize.pruning.groups import ChannelGroup
    from edgewright.optimize.pruning.tracing import Traced

__all__ = ["ModuleCost", "NetworkCost", "cost_of_module", "network_cost"]

_BYTES = 4


@dataclass(frozen=True)
class ModuleCost:
    """What the layers with weights of a module cost.

    Attributes:
        parameters: Weights and biases, norms folded away.
        macs: Multiplications for one picture.
        bytes: Of the float weights.
    """

    parameters: int
    macs: int
    bytes: int

    def to_json(self) -> dict[str, int]:
        """Plain values by name."""
        return {"parameters": self.parameters, "macs": self.macs, "bytes": self.bytes}


@dataclass(frozen=True, eq=False)
class NetworkCost:
    """Channels to cost; rows are layers with weights, columns are groups.

    Attributes:
        sizes: (g,) channels of each group now.
        outputs: (l,) of each layer now.
        inputs: (l,) of each layer now, of one filter's block.
        made: (l, g) outputs that go with one channel.
        read: (l, g) inputs that go with one channel.
        kernel: (l,) weights of a filter for each input.
        places: (l,) where a filter is applied.
    """

    sizes: NDArray[np.float64]
    outputs: NDArray[np.float64]
    inputs: NDArray[np.float64]
    made: NDArray[np.float64]
    read: NDArray[np.float64]
    kernel: NDArray[np.float64]
    places: NDArray[np.float64]

    def of(self, counts: Sequence[int] | NDArray[Any]) -> ModuleCost:
        """The cost with ``counts`` channels left in the groups."""
        gone = self.sizes - np.asarray(counts, np.float64)
        outputs = self.outputs - self.made @ gone
        weights = outputs * (self.inputs - self.read @ gone) * self.kernel
        parameters = round(float((weights + outputs).sum()))
        return ModuleCost(parameters, round(float((weights * self.places).sum())), parameters * _BYTES)

    @property
    def now(self) -> ModuleCost:
        """The cost as it is."""
        return self.of(self.sizes)


def cost_of_module(module: torch.nn.Module, picture: torch.Tensor, where: str) -> ModuleCost:
    """The cost of a module as it is.

    Raises:
        ModelError: It fails.
    """
    return _cost(module, (), picture, where).now


def network_cost(traced: Traced, picture: torch.Tensor, where: str) -> NetworkCost:
    """Runs the module once to see where its filters are applied.

    Raises:
        ModelError: It fails.
    """
    return _cost(traced.module, traced.groups, picture, where)


def _cost(module: torch.nn.Module, groups: Sequence[ChannelGroup], picture: torch.Tensor, where: str) -> NetworkCost:
    places = _places(module, picture, where)
    layers = [part for part in module.modules() if part in places]
    row = {part: number for number, part in enumerate(layers)}
    made, read = np.zeros((2, len(layers), len(groups)))
    for column, group in enumerate(groups):
        for member in group.members:
            if member.module not in row:
                continue
            each = len(member.channels) / group.size
            if member.side is Side.READS:
                read[row[member.module], column] += each / getattr(member.module, "groups", 1)
            else:
                made[row[member.module], column] += each
    shapes = [_shape(part) for part in layers]
    return NetworkCost(
        sizes=np.asarray([group.size for group in groups], np.float64),
        outputs=np.asarray([shape[0] for shape in shapes], np.float64),
        inputs=np.asarray([shape[1] for shape in shapes], np.float64),
        made=made,
        read=read,
        kernel=np.asarray([shape[2] for shape in shapes], np.float64),
        places=np.asarray([places[part] for part in layers], np.float64),
    )


def _shape(part: Any) -> tuple[int, int, int]:
    """Outputs, inputs of one filter, and weights of a filter for each input."""
    if hasattr(part, "out_features"):
        return part.out_features, part.in_features, 1
    return part.out_channels, part.in_channels // part.groups, math.prod(part.kernel_size)


def _places(module: torch.nn.Module, picture: torch.Tensor, where: str) -> Mapping[Any, float]:
    import torch

    places: dict[Any, float] = {}

    def record(part: Any, args: Any, output: Any) -> None:
        # A transposed convolution applies its filters where its inputs are.
        tensor, channels = output, _shape(part)[0]
        if getattr(part, "transposed", False):
            tensor, channels = args[0], part.in_channels
        places[part] = places.get(part, 0.0) + tensor.numel() / channels / picture.shape[0]

    hooks = [part.register_forward_hook(record) for part in module.modules() if is_weighted(part)]
    try:
        with torch.no_grad():
            outputs_of(module, picture, where)
    finally:
        for hook in hooks:
            hook.remove()
    return places
