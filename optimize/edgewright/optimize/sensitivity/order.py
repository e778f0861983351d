"""Sets of regions that may lie inside each other: what they cover, what they cost, and in which order to add them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.sensitivity.rank import LEAST_PRICE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgewright.optimize.sensitivity.rank import RankedRegion

__all__ = ["disjoint", "made_of", "ordered", "price_of", "union"]

_MOST_CORRECTION = 5.0


def union(chosen: Sequence[RankedRegion]) -> frozenset[str]:
    """All nodes of all regions."""
    return frozenset(node for row in chosen for node in row.region.nodes)


def disjoint(chosen: Sequence[RankedRegion]) -> list[RankedRegion]:
    """Without regions that lie inside another one, which would be paid twice."""
    return [
        row
        for row in chosen
        if not any(other is not row and set(row.region.nodes) < set(other.region.nodes) for other in chosen)
    ]


def price_of(chosen: Sequence[RankedRegion]) -> float:
    """Price of a set."""
    return sum(row.price for row in disjoint(chosen))


def made_of(regions: Sequence[RankedRegion], nodes: frozenset[str]) -> list[RankedRegion] | None:
    """Regions that make up ``nodes``, large ones first; None where none do."""
    inside = sorted((row for row in regions if set(row.region.nodes) <= nodes), key=lambda row: -len(row.region.nodes))
    chosen: list[RankedRegion] = []
    for row in inside:
        if not set(row.region.nodes) <= union(chosen):
            chosen.append(row)
    return chosen if union(chosen) == nodes else None


def ordered(
    regions: Sequence[RankedRegion],
    gains: Mapping[str, float],
    fits: Callable[[Sequence[RankedRegion]], bool],
) -> list[RankedRegion]:
    """Regions in the order to add them: next comes what regains most, for its price, of what is not yet regained.

    Args:
        regions: With estimates.
        gains: Loss regained by regions that were measured alone, by name; corrects the estimates of their layers.
        fits: Whether a set can be within the limits; regions that would break them are left out.
    """
    weights = _weights(regions, gains)
    chosen: list[RankedRegion] = []
    covered: set[str] = set()
    rest = list(regions)
    while rest:
        best = max(rest, key=lambda row: _worth(row, weights, covered, chosen))
        rest.remove(best)
        if fits([*chosen, best]):
            chosen.append(best)
            covered.update(best.region.nodes)
            rest = [row for row in rest if not set(row.region.nodes) <= covered]
    return chosen


def _worth(row: RankedRegion, weights: Mapping[str, float], covered: set[str], chosen: Sequence[RankedRegion]) -> float:
    gain = sum(weights.get(node, 0.0) for node in row.region.nodes if node not in covered)
    paid = sum(other.price for other in chosen if set(other.region.nodes) < set(row.region.nodes))
    return gain / max(row.price - paid, LEAST_PRICE)


def _weights(regions: Sequence[RankedRegion], gains: Mapping[str, float]) -> dict[str, float]:
    """The estimates by node; large measured regions correct them first, small ones last."""
    weights = {node: share for row in regions for node, share in row.noise.items()}
    measured = [row for row in regions if row.region.name in gains and row.regained > 0]
    ratios = [gains[row.region.name] / row.regained for row in measured if gains[row.region.name] > 0]
    usual = float(np.median(ratios)) if ratios else 1.0
    for row in sorted(measured, key=lambda row: -len(row.region.nodes)):
        factor = min(max(gains[row.region.name] / (usual * row.regained), 0.0), _MOST_CORRECTION)
        weights |= {node: share * factor for node, share in row.noise.items()}
    return weights
