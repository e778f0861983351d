"""McNemar's test: do two classifiers err equally often on the same pictures (McNemar 1947)?

Only pictures on which exactly one of them is right tell. The exact test is cautious with few of those; the mid-p
variant holds its level nearly exactly and is the one to read (Fagerland, Lydersen and Laake 2013, "The McNemar test for
binary matched-pairs data: mid-p and asymptotic are better than exact conditional"). The verdict itself rests on the
interval of the difference, not on these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["McNemar", "mcnemar"]


@dataclass(frozen=True)
class McNemar:
    """The pictures that tell, and what they tell.

    Attributes:
        only_first: Pictures that only the first model has right.
        only_second: Pictures that only the second has right.
        exact_p: Two-sided p of the exact conditional test.
        mid_p: Two-sided mid-p.
    """

    only_first: int
    only_second: int
    exact_p: float
    mid_p: float


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """Tests whether two models are right equally often.

    Args:
        first: (n,) whether the first model was right.
        second: (n,) whether the second was, on the same pictures.

    Returns:
        Counts and p-values; both are 1 when the models never differ.
    """
    from scipy.stats import binom

    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    telling, fewer = only_first + only_second, min(only_first, only_second)
    exact = min(1.0, 2.0 * float(binom.cdf(fewer, telling, 0.5)))
    # Half the probability of what was seen, on both sides; a tie is no evidence at all.
    mid = 1.0 if only_first == only_second else exact - float(binom.pmf(fewer, telling, 0.5))
    return McNemar(only_first, only_second, exact, mid)
