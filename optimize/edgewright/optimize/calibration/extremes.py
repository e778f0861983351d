"""Running least and greatest values: per tensor over pictures, and per channel.

Statistics of tensors are kept twice, for pictures 0, 2, 4, ... and 1, 3, 5, ..., so that one pass also tells how much
a range depends on which pictures it came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.calibration.observer import maximum_of, minimum_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["Channels", "Extremes", "Half", "PerChannel", "Seen"]


class Half(Enum):
    """Which of the pictures, counted from 0."""

    EVEN = 0
    ODD = 1
    BOTH = 2

    @property
    def parts(self) -> tuple[int, ...]:
        """The halves it consists of, 0 and 1."""
        return (0, 1) if self is Half.BOTH else (self.value,)


@dataclass(frozen=True)
class Seen:
    """Extremes of one tensor.

    Attributes:
        low: Least value of all pictures.
        high: Greatest value.
        mean_low: Mean of the pictures' least values.
        mean_high: Mean of the pictures' greatest values.
        count: Pictures.
    """

    low: float
    high: float
    mean_low: float
    mean_high: float
    count: int


class Extremes:
    """Observes the extremes of tensors; the engine reduces them, so whole tensors need not leave it."""

    def __init__(self, tensors: Iterable[str]) -> None:
        """Starts with nothing seen.

        Args:
            tensors: Float tensors.
        """
        self._names = {name: (minimum_of(name), maximum_of(name)) for name in tensors}
        self.tensors = tuple(name for pair in self._names.values() for name in pair)
        # Per half and tensor: low, high, sum of lows, sum of highs, count.
        self._kept = {name: [[np.inf, -np.inf, 0.0, 0.0, 0] for _ in (0, 1)] for name in self._names}

    def observe(self, values: Mapping[str, NDArray[Any]]) -> None:
        """See ``Observer``."""
        for name, (least, greatest) in self._names.items():
            if least not in values:
                continue
            low, high = float(values[least]), float(values[greatest])
            halves = self._kept[name]
            kept = halves[halves[0][4] > halves[1][4]]
            kept[0], kept[1] = min(kept[0], low), max(kept[1], high)
            kept[2] += low
            kept[3] += high
            kept[4] += 1

    def of(self, tensor: str, half: Half = Half.BOTH) -> Seen | None:
        """What was seen of a tensor.

        Args:
            tensor: One of those observed.
            half: Of which pictures.

        Returns:
            None where no picture was seen.
        """
        parts = [self._kept[tensor][part] for part in half.parts]
        count = sum(int(part[4]) for part in parts)
        if not count:
            return None
        low, high = min(part[0] for part in parts), max(part[1] for part in parts)
        return Seen(low, high, sum(part[2] for part in parts) / count, sum(part[3] for part in parts) / count, count)


@dataclass(frozen=True, eq=False)
class Channels:
    """What was seen of one tensor's channels.

    Attributes:
        low: (channels,) least values.
        high: (channels,) greatest values.
        mean: (channels,) means over pictures and places.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]


class PerChannel:
    """Observes least, greatest and mean value of every channel; wants whole tensors."""

    def __init__(self, tensors: Iterable[str], axis: int = 1) -> None:
        """Starts with nothing seen.

        Args:
            tensors: Float tensors.
            axis: Where channels are counted.
        """
        self.tensors = tuple(tensors)
        self._axis = axis
        self._low: dict[str, NDArray[np.float64]] = {}
        self._high: dict[str, NDArray[np.float64]] = {}
        self._sum: dict[str, NDArray[np.float64]] = {}
        self._count: dict[str, int] = {}

    def observe(self, values: Mapping[str, NDArray[Any]]) -> None:
        """See ``Observer``."""
        for name in self.tensors:
            if name not in values:
                continue
            value = values[name]
            others = tuple(axis for axis in range(value.ndim) if axis != self._axis % value.ndim)
            low, high = value.min(axis=others).astype(np.float64), value.max(axis=others).astype(np.float64)
            total = value.sum(axis=others, dtype=np.float64)
            new = name not in self._count
            self._low[name] = low if new else np.minimum(self._low[name], low)
            self._high[name] = high if new else np.maximum(self._high[name], high)
            self._sum[name] = total if new else self._sum[name] + total
            self._count[name] = self._count.get(name, 0) + value.size // len(low)

    def of(self, tensor: str) -> Channels | None:
        """What was seen of a tensor's channels; None where nothing was.

        Args:
            tensor: One of those observed.
        """
        if tensor not in self._count:
            return None
        return Channels(self._low[tensor], self._high[tensor], self._sum[tensor] / self._count[tensor])
