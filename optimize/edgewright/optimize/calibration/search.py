"""Searching a histogram for a clipping range: what entropy and squared error have in common.

A candidate is a pair of bins ``(start, stop)``: the range from the lower edge of ``start`` to the lower edge of
``stop``, which always holds zero. Starting from the full range, the upper end is chosen with the lower one fixed, then
the lower with the upper fixed, twice: ranges may be as lopsided as the values are. A symmetric grid has one end only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgewright.optimize.calibration.histogram import Histogram

__all__ = ["Bins", "search_range"]

_CANDIDATES = 128
_ROUNDS = 2


@dataclass(frozen=True, eq=False)
class Bins:
    """A histogram, read for a search.

    Attributes:
        counts: (n,) float64, the pile of exact zeros taken down to its neighbours' height: zero is on every grid, so
            it says nothing about which one is good, yet it may outweigh all else behind a Relu.
        edges: (n + 1,) float64.
        zero: Index of the bin that begins at zero.
        start: First bin in use.
        stop: One past the last.
        symmetric: Whether the integer grid is the same on both sides of zero.
    """

    counts: NDArray[np.float64]
    edges: NDArray[np.float64]
    zero: int
    start: int
    stop: int
    symmetric: bool = False

    @classmethod
    def of(cls, histogram: Histogram, *, symmetric: bool = False) -> Bins:
        """Reads ``histogram``."""
        counts, edges = histogram.counts.astype(np.float64), histogram.edges
        zero = int(np.searchsorted(edges, 0.0))
        beside = [counts[i] for i in (zero - 1, zero + 1) if 0 <= i < len(counts)]
        counts[zero] = min(counts[zero], max(beside, default=0.0))
        used = np.flatnonzero(counts)
        start, stop = (int(used[0]), int(used[-1]) + 1) if len(used) else (zero, zero + 1)
        return cls(counts, edges, zero, min(start, zero), max(stop, zero + 1), symmetric)


def search_range(
    bins: Bins,
    loss: Callable[[Bins, NDArray[np.intp], NDArray[np.intp]], NDArray[np.float64]],
    least: int,
    slack: float = 0.0,
) -> tuple[int, int]:
    """The pair of bins with the least loss.

    Args:
        bins: What was counted.
        loss: Of (k,) starts and (k,) stops, (k,) numbers; infinity refuses a candidate.
        least: A range is no narrower than so many bins.
        slack: A wider range is preferred while its loss is larger by no more than this share.

    Returns:
        Start and stop; the full range where nothing is better.
    """
    if bins.symmetric:
        # Bins left of the histogram's window are empty; losses clamp indices to it.
        reach = max(bins.stop - bins.zero, bins.zero - bins.start)
        reaches = _spread(min(max(least // 2, 1), reach), reach)
        best = reaches[_widest(loss(bins, bins.zero - reaches, bins.zero + reaches), slack)]
        return bins.zero - int(best), bins.zero + int(best)
    start, stop = bins.start, bins.stop
    for _ in range(_ROUNDS):
        before = start, stop
        stops = _spread(min(max(bins.zero + 1, start + least), bins.stop), bins.stop)
        stop = int(stops[_widest(loss(bins, np.full_like(stops, start), stops), slack)])
        starts = _spread(bins.start, max(min(bins.zero, stop - least), bins.start))[::-1]
        start = int(starts[_widest(loss(bins, starts, np.full_like(starts, stop)), slack)])
        if (start, stop) == before:
            break
    return start, stop


def _spread(low: int, high: int) -> NDArray[np.intp]:
    count = min(high - low + 1, _CANDIDATES)
    return np.unique(np.linspace(low, high, count).round().astype(np.intp))


def _widest(losses: NDArray[np.float64], slack: float) -> int:
    """The widest range among the good ones; candidates are sorted, the last is the widest."""
    return int(np.flatnonzero(losses <= losses.min() * (1.0 + slack))[-1])
