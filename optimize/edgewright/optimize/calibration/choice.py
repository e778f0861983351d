"""Which rule turns what was observed into a range, and how it is written.

- ``minmax``: the least and the greatest value ever seen;
- ``mean-minmax``: the mean of each picture's least and greatest value, so that one odd picture does not coarsen the
  grid for all others;
- ``percentile:99.99``: the middle 99.99 % of all values;
- ``entropy``: the range that loses the least information (Kullback-Leibler);
- ``mse``: the range with the least squared rounding and clipping error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from edgewright.optimize.errors import SpecError

__all__ = ["RangeChoice", "RangeMethod"]

_PERCENTILE = 99.99
_LEAST_PERCENTILE = 50.0


class RangeMethod(str, Enum):
    """How observed values become a range."""

    MINMAX = "minmax"
    MEAN_MINMAX = "mean-minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"
    MSE = "mse"

    @property
    def needs_histograms(self) -> bool:
        """Whether extremes alone are not enough for it."""
        return self not in {RangeMethod.MINMAX, RangeMethod.MEAN_MINMAX}


@dataclass(frozen=True)
class RangeChoice:
    """A method with its parameter.

    Attributes:
        method: The rule.
        parameter: Per cent of all values that a percentile keeps, 50 to 100; None for the others.
    """

    method: RangeMethod = RangeMethod.MINMAX
    parameter: float | None = None

    def __post_init__(self) -> None:
        """Fills in the usual percentile.

        Raises:
            SpecError: A parameter out of bounds, or for a method that has none.
        """
        if self.method is not RangeMethod.PERCENTILE:
            if self.parameter is not None:
                msg = f"range method {self.method.value} takes no number; only percentile does, as percentile:99.99"
                raise SpecError(msg)
            return
        kept = _PERCENTILE if self.parameter is None else float(self.parameter)
        if not (math.isfinite(kept) and _LEAST_PERCENTILE < kept <= 100):
            msg = f"percentile:{self.parameter:g} makes no sense; keep more than 50 % and at most 100 % of the values"
            raise SpecError(msg)
        object.__setattr__(self, "parameter", kept)

    @classmethod
    def parse(cls, text: str) -> RangeChoice:
        """Reads what ``str`` writes.

        Args:
            text: ``METHOD`` or ``percentile:NUMBER``.

        Raises:
            SpecError: Neither.
        """
        name, mark, number = text.strip().partition(":")
        try:
            return cls(RangeMethod(name), float(number) if mark else None)
        except ValueError as error:
            known = ", ".join(method.value for method in RangeMethod)
            msg = f"{text!r} is no range method; there are {known}, and percentile takes a number, as percentile:99.99"
            raise SpecError(msg) from error

    def __str__(self) -> str:
        """``percentile:99.99`` or the method's name."""
        return (
            self.method.value
            if self.parameter is None
            else f"{self.method.value}:{self.parameter!r}".removesuffix(".0")
        )
