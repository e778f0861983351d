"""A board's rates for any width, from the widths that were probed."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from edgewright.device_profiles.profile import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.device_profiles.profile import Known

__all__ = ["Rate", "Rates", "read_rates"]

_KEY = re.compile(
    r"(?P<precision>float32|int8)_(?P<kind>[a-z]+\d?)(?:_(?P<size>\d+)(?P<thousand>k?))?_(?P<unit>gmacs|gbs|us)"
)
_GMACS = "_gmacs"
_NEAR = 1.5  # so many times beyond the probed widths a rate still counts as probed


@dataclass(frozen=True)
class Rate:
    """A rate at some width.

    Attributes:
        value: In the unit of its key.
        keys: The keys that it rests on.
        probed: Whether the width lies among the probed ones, or next to them.
    """

    value: float
    keys: tuple[str, ...]
    probed: bool


class Rates:
    """What one engine of one board does in one precision."""

    def __init__(self, precision: str, rows: Mapping[str, list[tuple[float, float, str]]]) -> None:
        """Takes rows of (size, figure, key) by kind."""
        self.precision = precision
        self._rows = {kind: sorted(points) for kind, points in rows.items()}

    @property
    def kinds(self) -> frozenset[str]:
        """What was probed."""
        return frozenset(self._rows)

    def plain(self, kind: str) -> Rate | None:
        """A figure that has no size."""
        points = self._rows.get(kind)
        return Rate(points[0][1], (points[0][2],), probed=True) if points else None

    def at(self, kind: str, size: float) -> Rate | None:
        """The rate at a size; None where the kind was not probed.

        A product of matrices costs a part for each multiplication and a part for each number read and written: its time for
        one multiplication is a line in one over the width. So that is what is interpolated. Below the narrowest width a row
        of results costs what it costs at that width, so the rate falls in proportion; above the widest it stays. What moves
        bytes keeps its rate beyond either end.
        """
        points = self._rows.get(kind)
        if not points:
            return None
        low, high = points[0], points[-1]
        near = low[0] / _NEAR <= size <= high[0] * _NEAR or len(points) == 1
        if size <= low[0]:
            share = size / low[0] if low[2].endswith(_GMACS) else 1.0
            return Rate(low[1] * share, (low[2],), near)
        if size >= high[0]:
            return Rate(high[1], (high[2],), near)
        for left, right in pairwise(points):
            if size <= right[0]:
                share = (1 / left[0] - 1 / size) / (1 / left[0] - 1 / right[0])
                slowness = (1 - share) / left[1] + share / right[1]
                return Rate(1 / slowness, (left[2], right[2]), probed=True)
        return None  # not reached: the size lies between two points


def read_rates(kernels: Mapping[str, Known[float]]) -> tuple[dict[str, Rates], tuple[str, ...]]:
    """A backend's kernels by precision, and the keys that were not measured but assumed or told by a vendor.

    Args:
        kernels: ``DeviceProfile.kernels`` of a backend; keys of other versions are passed over.
    """
    rows: dict[str, dict[str, list[tuple[float, float, str]]]] = defaultdict(lambda: defaultdict(list))
    doubtful = []
    for key, known in kernels.items():
        match = _KEY.fullmatch(key)
        if match is None or not known.value > 0:
            continue
        size = float(match["size"] or 0) * (1000 if match["thousand"] else 1)
        rows[match["precision"]][match["kind"]].append((size, float(known.value), key))
        if known.origin is not Origin.MEASURED:
            doubtful.append(key)
    return {precision: Rates(precision, kinds) for precision, kinds in rows.items()}, tuple(doubtful)
