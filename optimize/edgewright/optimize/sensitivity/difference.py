"""How far one tensor's values are from another's, summed over pictures: only sums are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EXACT_DB", "Difference", "sqnr_db"]

EXACT_DB = 200.0
"""Stands for "no error at all"; minus this for noise without signal."""


def sqnr_db(signal: float, noise: float) -> float:
    """Signal to noise in decibels, within plus and minus ``EXACT_DB``.

    Args:
        signal: Sum of squares of the signal.
        noise: Sum of squares of the error.
    """
    if noise <= 0:
        return EXACT_DB
    if signal <= 0:
        return -EXACT_DB
    return min(max(10 * math.log10(signal / noise), -EXACT_DB), EXACT_DB)


@dataclass
class Difference:
    """Running sums over the values of a tensor.

    Attributes:
        signal: Sum of squares of the reference.
        noise: Sum of squares of the error.
        answer: Sum of squares of the other values.
        product: Sum of products of both.
        error: Sum of the errors.
        worst: Largest absolute error.
        count: Values seen.
    """

    signal: float = 0.0
    noise: float = 0.0
    answer: float = 0.0
    product: float = 0.0
    error: float = 0.0
    worst: float = 0.0
    count: int = 0

    def add(self, reference: NDArray[Any], seen: NDArray[Any]) -> None:
        """Takes in one picture's values; both of the same size."""
        x = reference.ravel().astype(np.float64)
        y = seen.ravel().astype(np.float64)
        difference = y - x
        self.signal += float(x @ x)
        self.answer += float(y @ y)
        self.product += float(x @ y)
        self.noise += float(difference @ difference)
        self.error += float(difference.sum())
        self.worst = max(self.worst, float(np.abs(difference).max(initial=0.0)))
        self.count += x.size

    @property
    def sqnr(self) -> float:
        """Decibels; see ``sqnr_db``."""
        return sqnr_db(self.signal, self.noise)

    @property
    def cosine(self) -> float:
        """Between all values; 1 where both are zero."""
        size = math.sqrt(self.signal * self.answer)
        return self.product / size if size else float(self.noise == 0)

    @property
    def mean_error(self) -> float:
        """Mean of the errors."""
        return self.error / max(self.count, 1)

    @property
    def rms(self) -> float:
        """Root mean square of the reference."""
        return math.sqrt(self.signal / max(self.count, 1))
