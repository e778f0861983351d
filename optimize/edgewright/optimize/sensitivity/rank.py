"""Regions in the order in which they are worth trying: loss regained for what they cost in bytes and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.optimize.sensitivity.latency import region_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgewright.optimize.sensitivity.influence import Influence
    from edgewright.optimize.sensitivity.latency import NodeTimes
    from edgewright.optimize.sensitivity.regions import Region

__all__ = ["LEAST_PRICE", "RankedRegion", "rank_regions"]

LEAST_PRICE = 1e-3
"""Below a thousandth of file and time a cost is as good as none, and must not divide."""


@dataclass(frozen=True)
class RankedRegion:
    """A region with its worth.

    Attributes:
        region: The region.
        noise: For each of its layers, the share of all layers' first-order harm that it does.
        extra_ms: Milliseconds that it costs in float; 0 where nobody measured.
        price: Its bytes as a share of the INT8 file, and its milliseconds as a share of INT8's time, added up.
        own_sqnr: Lowest SQNR that one of its layers allows on its own, None where nobody measured.
    """

    region: Region
    noise: Mapping[str, float]
    extra_ms: float
    price: float
    own_sqnr: float | None = None

    @property
    def regained(self) -> float:
        """Share of the first-order harm that its layers do, 0..1."""
        return sum(self.noise.values())

    @property
    def value(self) -> float:
        """Share regained for the price."""
        return self.regained / self.price

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            **self.region.to_json(),
            "regained": self.regained,
            "extra_ms": self.extra_ms,
            "price": self.price,
            "value": self.value,
            "own_sqnr": self.own_sqnr,
        }


def rank_regions(
    regions: Iterable[Region],
    influences: Sequence[Influence],
    int8_bytes: int,
    times: NodeTimes | None = None,
    own_sqnr: dict[str, float] | None = None,
) -> tuple[RankedRegion, ...]:
    """Orders regions by worth, best first.

    Args:
        regions: From ``find_regions``.
        influences: From ``measure_influence``.
        int8_bytes: Size of the all-integer file.
        times: From ``profile_nodes``; without them only bytes count.
        own_sqnr: Decibels by node, for the table.
    """
    noise: dict[str, float] = {}
    for influence in influences:
        noise[influence.node] = noise.get(influence.node, 0.0) + influence.total
    whole = sum(noise.values()) or 1.0
    levels = own_sqnr or {}
    ranked = []
    for region in regions:
        extra = region_ms(region, times) if times is not None else 0.0
        price = max(region.weight_bytes, 0) / max(int8_bytes, 1)
        if times is not None and times.int8_total > 0:
            price += max(extra, 0.0) / times.int8_total
        shares = {node: noise[node] / whole for node in region.nodes if node in noise}
        level = min((levels[node] for node in region.nodes if node in levels), default=None)
        ranked.append(RankedRegion(region, shares, extra, max(price, LEAST_PRICE), level))
    return tuple(sorted(ranked, key=lambda row: -row.value))
