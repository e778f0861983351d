"""Counts fit the budget, and are not lower than it asks for."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.optimize.errors import PassError
from edgewright.optimize.pruning.groups import counts_allowed
from edgewright.optimize.pruning.ratios import Plan, by_ranking, by_sensitivity, uniform

SIZES = st.lists(st.integers(2, 12).map(lambda eighths: 8 * eighths), min_size=2, max_size=6)


def plan_for(sizes: Sequence[int], share: float) -> Plan:
    names = tuple(f"g{index}" for index in range(len(sizes)))

    def cost(counts: Sequence[int]) -> float:
        return float(sum(a * b for a, b in zip([3, *counts], [*counts, 10], strict=True)))

    allowed = {name: counts_allowed(size, 1, 8, 0.9) for name, size in zip(names, sizes, strict=True)}
    return Plan(names, dict(zip(names, sizes, strict=True)), allowed, cost, share * cost(sizes), "macs")


@given(SIZES, st.floats(0.05, 0.99), st.integers(0, 100))
def test_every_way_meets_the_budget_or_says_that_none_can(sizes: list[int], share: float, seed: int) -> None:
    plan = plan_for(sizes, share)
    rng = np.random.default_rng(seed)
    scores = {name: rng.random(size) for name, size in zip(plan.names, sizes, strict=True)}
    curves = {name: [(0.25, rng.random()), (0.5, rng.random()), (0.75, rng.random())] for name in plan.names}
    ways = (
        lambda: uniform(plan),
        lambda: by_ranking(plan, scores, dict.fromkeys(plan.names, 1)),
        lambda: by_sensitivity(plan, curves),
    )
    if plan.price(plan.least) > plan.budget:
        for way in ways:
            with pytest.raises(PassError, match="the least that can be had"):
                way()
        return
    for way in ways:
        counts = way()
        assert plan.price(counts) <= plan.budget
        assert all(counts[name] in plan.allowed[name] for name in plan.names)


def test_uniform_keeps_the_same_share_everywhere() -> None:
    plan = plan_for((64, 64, 64), 0.3)
    assert len(set(uniform(plan).values())) <= 2
    assert max(uniform(plan).values()) - min(uniform(plan).values()) <= 8


def test_the_ranking_spares_the_group_that_matters() -> None:
    plan = plan_for((64, 64), 0.5)
    counts = by_ranking(plan, {"g0": np.full(64, 5.0), "g1": np.linspace(0, 1, 64)}, {"g0": 1, "g1": 1})
    assert counts["g0"] == 64


def test_sensitivity_takes_from_the_group_that_does_not_care() -> None:
    plan = plan_for((64, 64), 0.5)
    cares, calm = [(0.25, 1.0), (0.5, 2.0), (0.75, 4.0)], [(0.25, 0.0), (0.5, -0.1), (0.75, 0.01)]
    assert by_sensitivity(plan, {"g0": cares, "g1": calm})["g0"] == 64
    assert by_sensitivity(plan, {"g0": calm, "g1": cares})["g1"] == 64
