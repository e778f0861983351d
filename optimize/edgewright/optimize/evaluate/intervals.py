"""Confidence intervals, all at 95 %.

Shares of correlated frames get a block bootstrap (Kuensch 1989), widened to the exact binomial interval (Clopper and
Pearson 1934) so that "all of a few" never looks certain. Paired differences of proportions use the hybrid score
interval (Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions based on
paired data", method 10), which behaves at zero differences too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.contract import Measured

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CONFIDENCE",
    "MIN_SAMPLES",
    "block_indices",
    "clopper_pearson",
    "measured_ratio",
    "measured_share",
    "paired_difference",
    "percentile_interval",
    "wilson",
]

CONFIDENCE = 0.95
#: Below this many frames a bootstrap says nothing about the spread; the interval is then the whole range.
MIN_SAMPLES = 8
_Z = 1.959963984540054
_ROUNDS = 2000
_SEED = 20_231_123


def clopper_pearson(successes: int, total: int) -> tuple[float, float]:
    """Exact binomial interval of a share.

    Args:
        successes: Hits.
        total: Trials.

    Returns:
        Low and high in 0..1; (0, 1) without trials.
    """
    from scipy.stats import beta

    tail = (1.0 - CONFIDENCE) / 2.0
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, total - successes + 1))
    high = 1.0 if successes == total else float(beta.ppf(1.0 - tail, successes + 1, total - successes))
    return low, high


def wilson(successes: int, total: int) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927).

    Args:
        successes: Hits.
        total: Trials.

    Returns:
        Low and high in 0..1; (0, 1) without trials.
    """
    if total == 0:
        return 0.0, 1.0
    share = successes / total
    scale = 1.0 + _Z**2 / total
    centre = (share + _Z**2 / (2 * total)) / scale
    half = _Z * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def block_indices(count: int, block: int, rounds: int) -> NDArray[np.intp]:
    """Resampled frame numbers: runs of ``block`` consecutive frames, wrapping round the end.

    Args:
        count: Frames there are.
        block: Frames in a run; 1 for independent pictures.
        rounds: Resamples.

    Returns:
        (rounds, count) numbers below ``count``; the same for the same arguments.
    """
    generator = np.random.default_rng(_SEED)
    block = max(1, min(block, count))
    starts = generator.integers(0, count, size=(rounds, math.ceil(count / block)))
    runs = (starts[:, :, None] + np.arange(block)) % count
    return runs.reshape(rounds, -1)[:, :count].astype(np.intp)


def percentile_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of bootstrap values; undefined (NaN) rounds are left out.

    Args:
        values: (rounds,) the statistic on each resample, at least one of them defined.

    Returns:
        Low and high.
    """
    tail = 100 * (1.0 - CONFIDENCE) / 2.0
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)


def measured_ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64], *, block: int) -> Measured | None:
    """A ratio of sums over frames, within 0..1, with its block-bootstrap interval.

    Args:
        parts: (frames,) what is summed above the line.
        wholes: (frames,) what is summed below it, not negative.
        block: Consecutive frames that belong together; 1 for unrelated pictures.

    Returns:
        The ratio with ``samples`` = frames, None when there is nothing below the line. Below ``MIN_SAMPLES`` frames
        nothing is known of the spread: the interval is 0 to 1 then.
    """
    whole = float(wholes.sum())
    if whole <= 0:
        return None
    value = float(parts.sum()) / whole
    if len(wholes) < MIN_SAMPLES:
        return Measured(value, min(0.0, value), max(1.0, value), len(wholes))
    resamples = block_indices(len(wholes), block, _ROUNDS)
    sums = parts[resamples].sum(axis=1), wholes[resamples].sum(axis=1)
    low, high = percentile_interval(sums[0][sums[1] > 0] / sums[1][sums[1] > 0])
    return Measured(value, min(low, value), max(high, value), len(wholes))


def measured_share(hits: NDArray[np.int64], totals: NDArray[np.int64], *, block: int) -> Measured | None:
    """A share pooled over frames, with the wider of block-bootstrap and exact binomial interval.

    Args:
        hits: (frames,) hits per frame.
        totals: (frames,) trials per frame.
        block: Consecutive frames that belong together; 1 for unrelated pictures.

    Returns:
        The share in 0..1 with ``samples`` = frames, or None when there was nothing to hit.
    """
    ratio = measured_ratio(hits.astype(np.float64), totals.astype(np.float64), block=block)
    if ratio is None:
        return None
    low, high = clopper_pearson(int(hits.sum()), int(totals.sum()))
    if len(totals) >= MIN_SAMPLES:
        low, high = min(low, ratio.low), max(high, ratio.high)
    return Measured(ratio.value, min(low, ratio.value), max(high, ratio.value), ratio.samples)


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Share of ``first`` minus share of ``second`` on the same pictures, with Newcombe's method 10.

    Args:
        first: (n,) whether the first model was right.
        second: (n,) whether the second was.

    Returns:
        Difference, low, high, each in -1..1.
    """
    n = len(first)
    both = int((first & second).sum())
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    neither = n - both - only_first - only_second
    p1, p2 = (both + only_first) / n, (both + only_second) / n
    low1, high1 = wilson(both + only_first, n)
    low2, high2 = wilson(both + only_second, n)
    phi = _phi(both, only_first, only_second, neither)
    below = (p1 - low1) ** 2 - 2 * phi * (p1 - low1) * (high2 - p2) + (high2 - p2) ** 2
    above = (p2 - low2) ** 2 - 2 * phi * (p2 - low2) * (high1 - p1) + (high1 - p1) ** 2
    value = p1 - p2
    return value, value - math.sqrt(max(below, 0.0)), value + math.sqrt(max(above, 0.0))


def _phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Newcombe's correlation of the two answers, with his continuity correction."""
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    cross = both * neither - only_first * only_second
    n = both + only_first + only_second + neither
    if cross > n / 2:
        cross_corrected = cross - n / 2
    elif cross >= 0:
        cross_corrected = 0.0
    else:
        cross_corrected = float(cross)
    return cross_corrected / math.sqrt(margins)
