"""How far scales move between two disjoint halves of the samples.

A range that depends on which pictures were looked at is a guess: the report says which tensors' are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.optimize.types import Ranges

__all__ = ["Drift", "Stability", "compare_halves"]

_WORST = 5


@dataclass(frozen=True)
class Drift:
    """One tensor.

    Attributes:
        tensor: Its name.
        node: What makes it; None for an input.
        even: Range from pictures 0, 2, 4, ...
        odd: Range from pictures 1, 3, 5, ...
        ratio: The larger scale over the smaller one, from 1; infinite where one half saw nothing but zero.
    """

    tensor: str
    node: str | None
    even: tuple[float, float]
    odd: tuple[float, float]
    ratio: float


@dataclass(frozen=True)
class Stability:
    """All tensors.

    Attributes:
        drifts: Worst first; none with fewer than two pictures.
    """

    drifts: tuple[Drift, ...]

    def quantile(self, percent: float) -> float | None:
        """The ratio that so many per cent of the tensors do not exceed.

        Args:
            percent: 0 to 100.

        Returns:
            None where nothing was compared; infinity where a half saw nothing but zero.
        """
        if not self.drifts:
            return None
        # Not interpolated, for a ratio may be infinite.
        return float(np.percentile([drift.ratio for drift in self.drifts], percent, method="higher"))

    def values(self, worst: int = _WORST) -> dict[str, Any]:
        """JSON values for a report.

        Args:
            worst: How many tensors to list.
        """
        return {
            "tensors": len(self.drifts),
            "median_ratio": _number(self.quantile(50)),
            "p95_ratio": _number(self.quantile(95)),
            "worst": [
                {
                    "tensor": drift.tensor,
                    "node": drift.node,
                    "even": list(drift.even),
                    "odd": list(drift.odd),
                    "ratio": _number(drift.ratio),
                }
                for drift in self.drifts[:worst]
            ],
        }


def compare_halves(even: Ranges, odd: Ranges, makers: Mapping[str, str]) -> Stability:
    """Compares the ranges of two halves.

    Args:
        even: Of one half.
        odd: Of the other, for the same tensors.
        makers: Tensor to the node that makes it.
    """
    drifts = [
        Drift(name, makers.get(name), even[name], odd[name], _ratio(_width(even[name]), _width(odd[name])))
        for name in even
    ]
    return Stability(tuple(sorted(drifts, key=lambda drift: -drift.ratio)))


def _width(span: tuple[float, float]) -> float:
    return span[1] - span[0]


def _ratio(a: float, b: float) -> float:
    if a == b:
        return 1.0
    return max(a, b) / min(a, b) if min(a, b) > 0 else math.inf


def _number(ratio: float | None) -> float | None:
    """JSON knows no infinity."""
    return round(ratio, 6) if ratio is not None and math.isfinite(ratio) else None
