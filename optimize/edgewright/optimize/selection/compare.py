"""Whether a candidate is better than another on the selection pictures, beyond noise.

Both candidates ran on the same pictures, so the differences of their losses are looked at: pictures that are hard for
every candidate then cancel. Neighbouring frames of a film count as one piece of evidence: their differences are
averaged first (blocks after Kuensch 1989). A candidate is accepted when the mean difference is negative by more than
``t`` standard errors, with ``t`` the one-sided 90 % point of Student's distribution for the number of blocks less one.

Ninety percent and not more: what is decided here is which of two files goes on, not whether a promise was kept, and
the outcome is judged on other pictures afterwards. A chain of ten useless steps would take one of them by chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.evaluate.intervals import groups_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ACCEPT_CONFIDENCE", "MIN_EVIDENCE", "Comparison", "improves"]

ACCEPT_CONFIDENCE = 0.9
"""One-sided; see the module."""
MIN_EVIDENCE = 3
"""With fewer pictures (or blocks of frames) nothing is known of the noise, and nothing is accepted."""


@dataclass(frozen=True)
class Comparison:
    """Two candidates on the same pictures.

    Attributes:
        accepted: Whether the new one is better beyond noise.
        old: Mean loss of the old one.
        new: Mean loss of the new one.
        difference: New minus old; negative is better.
        error: Standard error of the difference, infinite where it cannot be known.
        threshold: The difference must lie below this to be accepted.
        groups: Independent pieces of evidence.
    """

    accepted: bool
    old: float
    new: float
    difference: float
    error: float
    threshold: float
    groups: int

    @property
    def sentence(self) -> str:
        """One line for the report."""
        outcome = "kept" if self.accepted else "not kept"
        # The bar itself, not the standard error it is made from: a reader compares the two numbers.
        bar = "unknown noise" if math.isinf(self.threshold) else f"must be below {self.threshold:+.3g}"
        return f"loss {self.old:.4g} to {self.new:.4g} ({self.difference:+.3g}, {bar}): {outcome}"


def improves(old: NDArray[np.float64], new: NDArray[np.float64], block: int = 1) -> Comparison:
    """Holds a new candidate against the one it would replace.

    Args:
        old: (n,) losses of the candidate so far, picture by picture.
        new: (n,) losses of the new one on the same pictures in the same order.
        block: Consecutive pictures that show the same scene; 1 for unrelated ones.

    Returns:
        The comparison.

    Raises:
        ValueError: The two are of different length, or empty.
    """
    from scipy.stats import t

    if old.shape != new.shape or old.ndim != 1 or not len(old):
        msg = f"losses of the same pictures are compared, got {old.shape} and {new.shape}"
        raise ValueError(msg)
    with np.errstate(invalid="ignore"):
        apart = new - old  # NaN where neither candidate answers
    difference = float(apart.mean())
    group = groups_of(len(old), block)
    groups = int(group[-1]) + 1
    means = np.bincount(group, apart) / np.bincount(group)
    error, threshold = math.inf, -math.inf
    if groups >= MIN_EVIDENCE and np.isfinite(means).all():
        error = float(means.std(ddof=1)) / math.sqrt(groups)
        threshold = -float(t.ppf(ACCEPT_CONFIDENCE, groups - 1)) * error
    # A candidate that answers is better than one that answers NaN, however few pictures say so.
    mended = bool(np.isinf(old).any() and np.isfinite(new).all())
    accepted = mended or (difference < 0 and difference < threshold)
    return Comparison(accepted, float(old.mean()), float(new.mean()), difference, error, threshold, groups)
