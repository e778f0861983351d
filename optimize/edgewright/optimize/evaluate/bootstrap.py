"""The paired block bootstrap: groups of frames drawn anew, the same ones for both models.

Neighbouring frames go together (Kuensch 1989). With G groups the percentile interval is too short by sqrt((G-1)/G) and
by the difference of Student's t from the normal; the percentiles are moved outwards for both (Hesterberg 2015, "What
teachers should know about the bootstrap", the expanded percentile interval).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.evaluate.intervals import CONFIDENCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["REPLICATES", "SEED", "draws", "expanded_percentiles"]

REPLICATES = 2000
SEED = 20260101


def draws(groups: int, replicates: int = REPLICATES, seed: int = SEED) -> NDArray[np.float64]:
    """How often each group is drawn in each replicate.

    Args:
        groups: How many there are to draw from, and how many are drawn each time.
        replicates: How often.
        seed: The same draws for the same seed.

    Returns:
        (replicates, groups); each row adds up to ``groups``.
    """
    random = np.random.default_rng(seed)
    return random.multinomial(groups, np.full(groups, 1.0 / groups), size=replicates).astype(np.float64)


def expanded_percentiles(values: NDArray[np.float64], groups: int) -> tuple[float, float]:
    """The interval of replicates that are no NaN.

    Args:
        values: (replicates,) of the statistic.
        groups: How many groups were drawn from; at least two.

    Returns:
        Low and high; both NaN where no replicate is defined.
    """
    from scipy.stats import norm, t

    defined = values[~np.isnan(values)]
    if not len(defined):
        return math.nan, math.nan
    reach = math.sqrt(groups / (groups - 1)) * float(t.ppf((1.0 + CONFIDENCE) / 2.0, groups - 1))
    tail = float(norm.cdf(-reach))
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return float(low), float(high)
