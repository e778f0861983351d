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


def entropy_range(bins: Bins) -> tuple[int, int]:
    """Start and stop bin of the best range; see ``search_range``."""
    return search_range(bins, divergences, LEVELS)


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
    counts, size = bins.counts, len(bins.counts)
    total = counts.sum()
    if not total:
        return np.zeros(len(starts))
    mass, filled, information = (_prefix(part) for part in (counts, counts > 0, _xlogx(counts)))
    steps = np.arange(LEVELS + 1)
    borders = np.clip(starts[:, None] + ((stops - starts)[:, None] * steps) // LEVELS, 0, size)
    inside, places = np.diff(mass[borders], axis=1), np.diff(filled[borders], axis=1)
    piled = inside.copy()
    first, last = np.clip(starts, 0, size - 1), np.clip(stops - 1, 0, size - 1)
    left, right = mass[borders[:, 0]], total - mass[borders[:, -1]]
    piled[:, 0] += left
    piled[:, -1] += right
    places[:, 0] += (counts[first] == 0) & (left > 0)
    places[:, -1] += (counts[last] == 0) & (right > 0)
    exact = information[borders[:, -1]] - information[borders[:, 0]]
    exact += _xlogx(counts[first] + left) - _xlogx(counts[first])
    exact += _xlogx(counts[last] + right) - _xlogx(counts[last])
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.maximum(inside, _ALMOST_NOTHING) / np.maximum(places, 1)
        rounded = np.where(piled > 0, piled * np.log(height), 0.0).sum(axis=1)
        result = (exact - rounded) / total + np.log(inside.sum(axis=1)) - np.log(total)
    return np.where(np.isfinite(result), result, np.inf)


def _prefix(values: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _xlogx(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values * np.log(np.maximum(values, 1.0))  # counts: 0 log 0 is 0, and none lies between 0 and 1
