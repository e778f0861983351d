"""How many times faster one variant is than another, from the times of their turns.

The ratio is the median over pairs of neighbouring blocks. Its interval is the exact one of a median (Thompson 1936, "On
confidence ranges for the median"): two of the sorted ratios, whatever the noise looks like. With fewer than ``MIN_PAIRS``
pairs nothing is known of the spread, and the interval is the whole range.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MIN_PAIRS", "Ratio", "ratio_of"]

#: With fewer pairs of blocks no ratio is resolved, whatever they say.
MIN_PAIRS = 8
_TAIL = 0.025
# Stands for "no upper bound" in JSON, which has no infinity; no contract asks for more.
_ANY_RATIO = 1e6


@dataclass(frozen=True)
class Ratio:
    """How many times faster one variant is than another.

    Attributes:
        baseline: The slower one's name, as expected.
        variant: The faster one's name.
        value: Median over pairs of blocks of baseline time / variant time.
        low: Lower end of the median's 95 % interval; 0 with fewer than ``MIN_PAIRS`` pairs.
        high: Upper end; 1,000,000 with fewer.
        pairs: Pairs of blocks.
    """

    baseline: str
    variant: str
    value: float
    low: float
    high: float
    pairs: int

    @property
    def resolved(self) -> bool:
        """Whether the noise is smaller than the effect."""
        return self.pairs >= MIN_PAIRS and (self.low > 1.0 or self.high < 1.0)


def ratio_of(baseline: str, variant: str, medians: Mapping[str, Sequence[float]]) -> Ratio:
    """The ratio of two variants that took turns.

    Args:
        baseline: Name of the one that should be slower.
        variant: Name of the one that should be faster.
        medians: Variant name to the median time of each of its blocks, in the order of the turns.

    Returns:
        Baseline time over variant time.
    """
    pairs = sorted(slow / fast for slow, fast in zip(medians[baseline], medians[variant], strict=True))
    value = float(statistics.median(pairs))
    if len(pairs) < MIN_PAIRS:
        return Ratio(baseline, variant, value, 0.0, max(_ANY_RATIO, value), len(pairs))
    rank = _median_rank(len(pairs))
    return Ratio(baseline, variant, value, pairs[rank], pairs[-1 - rank], len(pairs))


def _median_rank(count: int) -> int:
    """How many of ``count`` sorted values may be cut off each end so that the median still lies between at 95 %."""
    below, rank = 0.0, -1
    while below <= _TAIL:
        rank += 1
        ways = math.lgamma(count + 1) - math.lgamma(rank + 1) - math.lgamma(count - rank + 1)
        below += math.exp(ways - count * math.log(2.0))
    return max(rank - 1, 0)
