"""A histogram whose range doubles: exact counts of a stream in fixed memory.

The width of a bin is a power of two and every edge a multiple of it, so zero is always an edge. When a value falls
outside, the window moves; when the window is too small, neighbouring bins merge in pairs until it is not. Therefore

- the counts are those that one histogram of all values on the final grid would have, to the last one;
- the final grid depends only on the least and the greatest value, not on the order in which they came;
- histograms of parts of a stream can be merged without loss;
- values count as zero only if they vanish beside the width of a bin in float32;
- between half and all of the bins lie inside the range, zero included in it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["BINS", "Histogram"]

BINS = 2048
# Widths stay where a float32 and its inverse are normal numbers; values below count into the bins beside zero.
_LEAST_EXPONENT, _GREATEST_EXPONENT = -120, 120
# Elements counted at once: what is made of them stays in the processor's cache.
_CHUNK = 1 << 17


class Histogram:
    """Counts of float values."""

    def __init__(self, bins: int = BINS) -> None:
        """An empty one.

        Args:
            bins: How many; an even number.
        """
        self._counts: NDArray[np.int64] = np.zeros(bins, np.int64)
        self._exponent = _LEAST_EXPONENT
        self._first = 0
        self._low, self._high = 0.0, 0.0

    @property
    def counts(self) -> NDArray[np.int64]:
        """(bins,) how many values fell into each bin; a copy."""
        return self._counts.copy()

    @property
    def edges(self) -> NDArray[np.float64]:
        """(bins + 1,) the bins' borders; bin i holds ``edges[i] <= value < edges[i + 1]``."""
        return np.arange(self._first, self._first + len(self._counts) + 1, dtype=np.float64) * self.width

    @property
    def width(self) -> float:
        """Of a bin, a power of two."""
        return math.ldexp(1.0, self._exponent)

    @property
    def low(self) -> float:
        """The least value seen, or 0 where none is below."""
        return self._low

    @property
    def high(self) -> float:
        """The greatest value seen, or 0 where none is above."""
        return self._high

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self._counts.sum())

    def add(self, values: NDArray[Any], low: float | None = None, high: float | None = None) -> None:
        """Counts values.

        Args:
            values: float32 of any shape, finite.
            low: Their minimum, where the caller knows it already.
            high: Their maximum.
        """
        if not values.size:
            return
        least = float(values.min()) if low is None else low
        greatest = float(values.max()) if high is None else high
        self._cover(min(least, 0.0), max(greatest, 0.0))
        for chunk in _chunks(values):
            self._count(chunk, signed=least < 0)

    def merge(self, other: Histogram) -> None:
        """Adds the counts of another histogram with as many bins.

        Args:
            other: Is not changed.
        """
        self._cover(other.low, other.high)
        # This grid is now at least as coarse as the other.
        shift = self._exponent - other._exponent
        bins = np.flatnonzero(other._counts)
        np.add.at(self._counts, ((bins + other._first) >> shift) - self._first, other._counts[bins])

    def _cover(self, low: float, high: float) -> None:
        """Makes the window hold these values and all before."""
        self._low, self._high = min(low, self._low), max(high, self._high)
        exponent = _exponent_for(self._low, self._high, len(self._counts), self._exponent)
        first = math.floor(math.ldexp(self._low, -exponent))
        if (exponent, first) == (self._exponent, self._first):
            return
        filled = np.flatnonzero(self._counts)
        moved = np.zeros_like(self._counts)
        np.add.at(moved, ((filled + self._first) >> (exponent - self._exponent)) - first, self._counts[filled])
        self._counts, self._exponent, self._first = moved, exponent, first

    def _count(self, values: NDArray[np.float32], *, signed: bool) -> None:
        scaled = values * np.float32(math.ldexp(1.0, -self._exponent))  # exact, for the factor is a power of two
        if signed:
            np.floor(scaled, out=scaled)
        if self._first:
            scaled -= np.float32(self._first)
        # OpenCV counts 16-bit integers twice as fast as NumPy's bincount, which wants 64 bits; its float32 counts are
        # exact below 2**24, far above a chunk.
        bins = len(self._counts)
        counted = cv2.calcHist([scaled.astype(np.uint16)[None]], [0], None, [bins], [0.0, float(bins)])
        self._counts += counted.reshape(-1).astype(np.int64)


def _exponent_for(low: float, high: float, bins: int, least: int) -> int:
    """The finest grid, no finer than ``least``, on which the range, zero included, takes no more than ``bins``."""
    exponent = least if low == high else max(math.frexp((high - low) / bins)[1] - 2, least)
    while exponent < _GREATEST_EXPONENT and _span(low, high, exponent) > bins:
        exponent += 1
    return exponent


def _span(low: float, high: float, exponent: int) -> int:
    return math.floor(math.ldexp(high, -exponent)) - math.floor(math.ldexp(low, -exponent)) + 1


def _chunks(values: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK]
