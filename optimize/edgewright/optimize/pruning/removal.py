"""Takes channels out, or silences them in place to see what the network would do without them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from edgewright.optimize.pruning.groups import Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from edgewright.optimize.pruning.groups import ChannelGroup, Member
    from edgewright.optimize.pruning.tracing import Traced

__all__ = ["reading_weights", "remove", "silenced"]


@contextlib.contextmanager
def silenced(removals: Mapping[str, NDArray[np.int64]], groups: Mapping[str, ChannelGroup]) -> Iterator[None]:
    """Sets the weights that read some channels to zero, for as long as the context lasts.

    What is computed inside is what the network computes without those channels.

    Args:
        removals: Channels by the name of their group.
        groups: By name.
    """
    import torch

    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    with torch.no_grad():
        for name, channels in removals.items():
            for member in groups[name].readers:
                weight = member.module.weight
                kept.append((weight, weight.detach().clone()))
                reading_weights(member, weight)[:, torch.from_numpy(member.positions(channels))] = 0.0
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in reversed(kept):
                weight.copy_(before)


def reading_weights(member: Member, tensor: torch.Tensor) -> Any:
    """A tensor of the shape of a reader's weights with its input channels along axis 1.

    Assigning to ``[:, channels]`` of what is returned changes the tensor.
    """
    module = member.module
    groups = getattr(module, "groups", 1)
    if getattr(module, "transposed", False):
        return tensor.transpose(0, 1)
    return tensor if groups == 1 else _Grouped(tensor, groups)


class _Grouped:
    """Weights (out, in / groups, ...) of a grouped convolution, addressed by the number of the input channel."""

    def __init__(self, weight: torch.Tensor, groups: int) -> None:
        self._weight = weight
        self._groups = groups

    def __setitem__(self, key: tuple[slice, torch.Tensor], value: float) -> None:
        out, width = self._weight.shape[0] // self._groups, self._weight.shape[1]
        for channel in key[1].tolist():
            group, position = divmod(channel, width)
            self._weight[group * out : (group + 1) * out, position] = value


def remove(traced: Traced, removals: Mapping[str, NDArray[np.int64]]) -> None:
    """Takes channels out of the traced module, in place.

    Args:
        traced: Must not be used afterwards: its groups still name the channels as they were.
        removals: Channels by the name of their group.
    """
    by_name = {group.name: group for group in traced.groups}
    for name, channels in removals.items():
        if not len(channels):
            continue
        root = next(member for member in by_name[name].members if member.name == name and member.side is not Side.READS)
        pruner = traced.graph.get_pruner_of_module(root.module)
        group = traced.graph.get_pruning_group(root.module, pruner.prune_out_channels, [int(c) for c in channels])
        group.prune()
