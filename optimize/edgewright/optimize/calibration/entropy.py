"""The clipping range that loses the least information.

After S. Migacz, "8-bit inference with TensorRT", GTC 2017: the histogram clipped to a candidate range, with what lies
outside piled onto its end bins, is compared with itself on the integer grid, by Kullback-Leibler divergence. There the
range is symmetric; here both ends move, for unsigned integers with a zero point. Prefix sums make a candidate cost
as many steps as there are integers, not bins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.calibration.search import search_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.calibration.search import Bins

__all__ = ["LEVELS", "divergences", "entropy_range"]

LEVELS = 256
"""Integers of an 8-bit grid."""

_ALMOST_NOTHING = 1e-4
# Behind a Relu many values repeat, the histogram is jagged, and rounding jags costs about the same whatever the range:
# between ranges that close the divergence says nothing, while clipping always loses something it does not see.
_SLACK = 0.25


def entropy_range(bins: Bins) -> tuple[int, int]:
    """Start and stop bin of the best range; see ``search_range``."""
    return search_range(bins, divergences, LEVELS, _SLACK)


def divergences(bins: Bins, starts: NDArray[np.intp], stops: NDArray[np.intp]) -> NDArray[np.float64]:
    """Kullback-Leibler divergence of each candidate range.

    Args:
        bins: What was counted.
        starts: (k,) first bins.
        stops: (k,) one past the last bins.

    Returns:
        (k,) in nats. Where values outside are piled onto an empty end, its integer is taken to stand for a ten
        thousandth of a value, lest one outlier make the divergence infinite.
    """
    counts, below, above = _without_piles(bins)
    total, size = counts.sum() + below + above, len(counts)
    if not total:
        return np.zeros(len(starts))
    mass, filled, information = (_prefix(part) for part in (counts, counts > 0, _xlogx(counts)))
    steps = np.arange(LEVELS + 1)
    borders = np.clip(starts[:, None] + ((stops - starts)[:, None] * steps) // LEVELS, 0, size)
    inside, places = np.diff(mass[borders], axis=1), np.diff(filled[borders], axis=1)
    first, last = np.clip(starts, 0, size - 1), np.clip(stops - 1, 0, size - 1)
    left = mass[borders[:, 0]] + below * (starts > bins.start)
    right = mass[-1] - mass[borders[:, -1]] + above * (stops < bins.stop)
    piled = inside.copy()
    piled[:, 0] += left
    piled[:, -1] += right
    places[:, 0] += (counts[first] == 0) & (left > 0)
    places[:, -1] += (counts[last] == 0) & (right > 0)
    exact = information[borders[:, -1]] - information[borders[:, 0]]
    exact += _xlogx(counts[first] + left) - _xlogx(counts[first])
    exact += _xlogx(counts[last] + right) - _xlogx(counts[last])
    height = np.maximum(inside, _ALMOST_NOTHING) / np.maximum(places, 1)
    rounded = np.where(piled > 0, piled * np.log(height), 0.0).sum(axis=1)
    with np.errstate(divide="ignore"):
        result = (exact - rounded) / total + np.log(total - left - right) - np.log(total)
    # Never below zero but by rounding.
    return np.where(np.isfinite(result), np.maximum(result, 0.0), np.inf)


def _without_piles(bins: Bins) -> tuple[NDArray[np.float64], float, float]:
    """Takes the piles of a saturated activation off the ends, such as the sixes of a Relu6.

    The full range says them exactly, so they lose nothing there; any narrower one clips them.
    """
    counts, piles = bins.counts.copy(), [0.0, 0.0]
    if bins.start < bins.zero:
        piles[0] = max(counts[bins.start] - counts[bins.start + 1], 0.0)
        counts[bins.start] -= piles[0]
    if bins.stop - 1 > bins.zero:
        piles[1] = max(counts[bins.stop - 1] - counts[bins.stop - 2], 0.0)
        counts[bins.stop - 1] -= piles[1]
    return counts, piles[0], piles[1]


def _prefix(values: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _xlogx(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values * np.log(np.maximum(values, 1.0))  # counts: 0 log 0 is 0, and none lies between 0 and 1
