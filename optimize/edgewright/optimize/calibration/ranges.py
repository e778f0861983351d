"""From statistics of one tensor to its range."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.calibration.choice import RangeChoice, RangeMethod
from edgewright.optimize.calibration.entropy import entropy_range
from edgewright.optimize.calibration.search import Bins
from edgewright.optimize.calibration.squared_error import squared_error_range

if TYPE_CHECKING:
    from edgewright.optimize.calibration.histogram import Histogram

__all__ = ["clipped_range", "with_zero"]


def with_zero(low: float, high: float) -> tuple[float, float]:
    """The least range that holds the two values and zero; integers must be able to say zero exactly."""
    return min(low, 0.0), max(high, 0.0)


def clipped_range(histogram: Histogram, choice: RangeChoice, *, symmetric: bool = False) -> tuple[float, float]:
    """The range that a method which needs a histogram chooses.

    Args:
        histogram: Of the tensor.
        choice: Percentile, entropy or squared error.
        symmetric: Whether the integers will be symmetric around zero; the range then is as well.

    Returns:
        Low and high, zero included, never wider than what was seen (unless made symmetric).
    """
    if choice.method is RangeMethod.PERCENTILE:
        low, high = _percentile(histogram, choice.parameter or 100.0)
    else:
        find = {RangeMethod.ENTROPY: entropy_range, RangeMethod.MSE: squared_error_range}[choice.method]
        bins = Bins.of(histogram, symmetric=symmetric)
        start, stop = find(bins)
        low, high = (start - bins.zero) * histogram.width, (stop - bins.zero) * histogram.width
    low, high = max(low, histogram.low), min(high, histogram.high)
    if not symmetric:
        return with_zero(low, high)
    reach = max(-low, high)
    return -reach, reach


def _percentile(histogram: Histogram, kept: float) -> tuple[float, float]:
    """Cuts half of what is not kept off each end, at edges of bins, outwards."""
    counts, edges = histogram.counts, histogram.edges
    below = np.concatenate([[0], np.cumsum(counts)])
    # Whole values: what a share of 1 - kept / 100 may lose at each end.
    spare = int(np.floor(below[-1] * (100.0 - kept) / 200.0))
    start = int(np.searchsorted(below, spare, side="right")) - 1
    stop = int(np.searchsorted(below, below[-1] - spare, side="left"))
    return float(edges[start]), float(edges[stop])
