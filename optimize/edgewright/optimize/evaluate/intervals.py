"""Confidence intervals, all at 95 %.

Neighbouring frames are alike, so figures pooled over frames get a delete-a-block jackknife (Tukey 1958; blocks of
neighbours after Kuensch 1989) with Student's t, on the logit scale for shares: for these smooth figures it keeps its
promise with few blocks. (Average precision is not smooth and has a bootstrap, see ``edgewright.optimize.evaluate.coco``.)
Shares are widened to the exact binomial interval (Clopper and Pearson 1934), so that
"all of a few" never looks certain. Paired differences of proportions use the hybrid score interval (Newcombe 1998,
"Improved confidence intervals for the difference between binomial proportions based on paired data", method 10), which
behaves at zero differences too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.contract import BLOCK_S, Measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "CONFIDENCE",
    "MIN_BLOCKS",
    "SPAN_S",
    "block_of",
    "clopper_pearson",
    "enough_frames",
    "film_span",
    "groups_of",
    "half_width",
    "measured_mean",
    "measured_ratio",
    "measured_share",
    "paired_difference",
    "rule_of_three",
    "wilson",
]

CONFIDENCE = 0.95
#: With fewer blocks nothing is known of the spread between them; the interval is then the whole range.
MIN_BLOCKS = 8
SPAN_S = BLOCK_S
"""Frames of a film so near in time show the same scene."""
_ROUNDING_S = 1e-6
_Z = 1.959963984540054
# More groups than this make no interval better, only slower.
_MOST_GROUPS = 200
_RULE_OF_THREE = 3.0
_FARTHEST = 50.0  # on the logit scale; beyond it everything is 0 or 1


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


def block_of(indices: Sequence[int], spacing_s: float | None) -> int:
    """How many consecutive pictures belong together: as many as ever lie within ``SPAN_S`` seconds.

    Args:
        indices: ``Sample.index`` of the pictures in order.
        spacing_s: Seconds from one index to the next, None for unrelated pictures.

    Returns:
        1 for unrelated pictures.
    """
    if spacing_s is None or not indices:
        return 1
    times = np.array(indices) * spacing_s
    return int((np.searchsorted(times, times + SPAN_S - _ROUNDING_S) - np.arange(len(times))).max())


def groups_of(count: int, block: int) -> NDArray[np.intp]:
    """The group that each frame belongs to: runs of at least ``block`` neighbours.

    Args:
        count: Frames there are, at least one.
        block: Frames that belong together; 1 for unrelated pictures.

    Returns:
        (count,) group numbers from 0, at most ``_MOST_GROUPS`` of them.
    """
    groups = min(max(1, count // max(1, block)), _MOST_GROUPS)
    return (np.arange(count) * groups // count).astype(np.intp)


def enough_frames(count: int, block: int, blocks: int = MIN_BLOCKS) -> int | None:
    """How many frames make so many blocks, None where there are as many already.

    Args:
        count: Frames there are.
        block: Consecutive frames that belong together.
        blocks: Blocks that are needed.
    """
    return None if int(groups_of(count, block)[-1]) + 1 >= blocks else blocks * max(block, 1)


def film_span(count: int, block: int, blocks: int = MIN_BLOCKS) -> tuple[int, int] | None:
    """How many blocks a film fills and how many are needed, None where there are enough, or for unrelated pictures.

    Args:
        count: Frames there are.
        block: Consecutive frames that belong together; 1 for unrelated pictures.
        blocks: Blocks that are needed.
    """
    there = int(groups_of(count, block)[-1]) + 1
    return None if block <= 1 or there >= blocks else (there, blocks)


def half_width(left_out: NDArray[np.float64]) -> float:
    """Half of the jackknife's interval.

    Args:
        left_out: (groups,) the statistic without each group in turn, at least two.

    Returns:
        Student's t times the jackknife's standard error.
    """
    from scipy.stats import t

    groups = len(left_out)
    spread = float(np.square(left_out - left_out.mean()).sum()) * (groups - 1) / groups
    return float(t.ppf((1.0 + CONFIDENCE) / 2.0, groups - 1)) * math.sqrt(spread)


def _ratio_half_width(parts: NDArray[np.float64], wholes: NDArray[np.float64], block: int) -> float | None:
    """Half-width of a ratio of sums, None where the groups are too few or one of them holds everything."""
    groups = groups_of(len(parts), block)
    if groups[-1] + 1 < MIN_BLOCKS:
        return None
    above, below = np.bincount(groups, parts), np.bincount(groups, wholes)
    rest = below.sum() - below
    return half_width((above.sum() - above) / rest) if (rest > 0).all() else None


def measured_ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64], *, block: int) -> Measured | None:
    """A ratio of sums over frames, within 0..1, with its jackknife interval.

    Args:
        parts: (frames,) what is summed above the line.
        wholes: (frames,) what is summed below it, not negative.
        block: Consecutive frames that belong together; 1 for unrelated pictures.

    Returns:
        The ratio with ``samples`` = frames, None when there is nothing below the line. Below ``MIN_BLOCKS`` blocks
        nothing is known of the spread: the interval is 0 to 1 then.
    """
    whole = float(wholes.sum())
    if whole <= 0:
        return None
    value = float(parts.sum()) / whole
    half = _ratio_half_width(parts, wholes, block)
    low, high = (0.0, 1.0) if half is None else (value - half, value + half)
    enough, span = enough_frames(len(wholes), block), film_span(len(wholes), block)
    return Measured(value, min(max(low, 0.0), value), max(min(high, 1.0), value), len(wholes), enough, span=span)


def measured_mean(values: NDArray[np.float64], *, block: int) -> Measured:
    """A mean over frames of numbers within -1..1, such as paired differences.

    Args:
        values: (frames,) at least one.
        block: Consecutive frames that belong together; 1 for unrelated pictures.

    Returns:
        The mean; its interval is -1 to 1 below ``MIN_BLOCKS`` blocks.
    """
    value, half = float(values.mean()), _ratio_half_width(values, np.ones(len(values)), block)
    low, high = (-1.0, 1.0) if half is None else (value - half, value + half)
    enough, span = enough_frames(len(values), block), film_span(len(values), block)
    return Measured(value, min(max(low, -1.0), value), max(min(high, 1.0), value), len(values), enough, span=span)


def measured_share(hits: NDArray[np.int64], totals: NDArray[np.int64], *, block: int) -> Measured | None:
    """A share pooled over frames.

    Args:
        hits: (frames,) hits per frame.
        totals: (frames,) trials per frame.
        block: Consecutive frames that belong together; 1 for unrelated pictures.

    Returns:
        The share in 0..1 with ``samples`` = frames, or None when there was nothing to hit. Unrelated pictures with one
        trial each have the exact binomial interval; else the wider of that and the jackknife's, and 0 to 1 below
        ``MIN_BLOCKS`` blocks: many boxes in one picture are one piece of evidence.
    """
    hit, total = int(hits.sum()), int(totals.sum())
    if total == 0:
        return None
    value = hit / total
    low, high = clopper_pearson(hit, total)
    enough = None
    if block > 1 or int(totals.max()) > 1:
        low, high = _clustered(hits, totals, block, (low, high))
        enough = enough_frames(len(totals), block)
    still, span = hit in {0, total}, film_span(len(totals), block)
    return Measured(value, min(low, value), max(high, value), len(totals), enough, still, span)


def _clustered(
    hits: NDArray[np.int64], totals: NDArray[np.int64], block: int, exact: tuple[float, float]
) -> tuple[float, float]:
    value = float(hits.sum() / totals.sum())
    half = _ratio_half_width(hits.astype(np.float64), totals.astype(np.float64), block)
    if half is None:
        return 0.0, 1.0
    if half == 0 or not 0 < value < 1:
        # No block differs from the others. What a further one may hold is a matter of their number, not of the boxes'.
        groups = int(groups_of(len(totals), block)[-1]) + 1
        return clopper_pearson(round(value * groups), groups)
    centre, reach = math.log(value / (1 - value)), min(half / (value * (1 - value)), _FARTHEST)
    low, high = (1 / (1 + math.exp(-(centre + side * reach))) for side in (-1, 1))
    return min(low, exact[0]), max(high, exact[1])


def rule_of_three(groups: int) -> float:
    """Share of what was not seen that may still differ when ``groups`` samples are all alike, at 95 %."""
    return _RULE_OF_THREE / groups


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
