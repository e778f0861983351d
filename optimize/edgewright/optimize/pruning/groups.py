"""Channels that can only go together: one group for every set of layers that residual sums and depthwise layers tie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["ChannelGroup", "Member", "Side", "Skipped", "counts_allowed"]


class Side(str, Enum):
    """What a layer has to do with the channels of a group."""

    MAKES = "makes"
    """They are outputs of its weights."""
    READS = "reads"
    """They are inputs of its weights."""
    PASSES = "passes"
    """It treats them one by one: depthwise convolutions, norms."""


@dataclass(frozen=True, eq=False)
class Member:
    """A layer in a group.

    Attributes:
        name: Of the module, as ``named_modules`` has it.
        module: A ``torch.nn.Module``.
        side: What it does with the channels.
        channels: (k,) positions in the layer.
        roots: (k,) for each of them the channel of the group that it belongs to.
    """

    name: str
    module: Any
    side: Side
    channels: NDArray[np.int64]
    roots: NDArray[np.int64]

    def positions(self, roots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where some of the group's channels lie in this layer."""
        return self.channels[np.isin(self.roots, roots)]

    def gather(self, values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Adds up one number for each of the layer's channels over the channels of the group, (size,)."""
        return np.asarray(np.bincount(self.roots, weights=values[self.channels], minlength=size), np.float64)


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels of coupled layers.

    Attributes:
        name: The module whose outputs number the channels.
        size: How many channels there are.
        units: (u, w) what can go: each row names channels that only go together; w is 1 without grouped convolutions.
        members: All layers concerned.
        provable: Whether the other channels compute the same without the ones that go (not behind a layer norm).
    """

    name: str
    size: int
    units: NDArray[np.int64]
    members: tuple[Member, ...]
    provable: bool = True

    @property
    def makers(self) -> tuple[Member, ...]:
        """The layers whose weights make the channels."""
        return tuple(member for member in self.members if member.side is Side.MAKES)

    @property
    def readers(self) -> tuple[Member, ...]:
        """The layers whose weights read the channels."""
        return tuple(member for member in self.members if member.side is Side.READS)

    def channels(self, units: Iterable[int]) -> NDArray[np.int64]:
        """The channels of some units, ascending."""
        rows = np.asarray(list(units), np.int64)
        return np.sort(self.units[rows].ravel())

    def by_unit(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of units, (u,), from those of channels, (size,)."""
        total: NDArray[np.float64] = scores[self.units].sum(axis=1)
        return total


@dataclass(frozen=True)
class Skipped:
    """A group that stays as it is.

    Attributes:
        layers: Its layers with weights.
        reason: Why, in words.
    """

    layers: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        """For people."""
        return f"{', '.join(self.layers[:4])}{' ...' if len(self.layers) > 4 else ''}: {self.reason}"


def counts_allowed(size: int, width: int, round_to: int, most: float) -> tuple[int, ...]:
    """How many channels may remain, ascending; the last one is all of them.

    Args:
        size: Channels of the group as the network came.
        width: Channels that only go together.
        round_to: What multiples are liked.
        most: Largest share that may go.
    """
    step = round_to * width // math.gcd(round_to, width)
    least = max(step, math.ceil(size * (1.0 - most) - 1e-9))
    first = -(-least // step) * step
    return (*range(first, size, step), size)
