"""The search for the smallest set of regions in float, over made-up networks whose truth is known."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.optimize.errors import DataError, JudgeError
from edgewright.optimize.quantization.writer import QuantizedGraph
from edgewright.optimize.sensitivity.rank import RankedRegion
from edgewright.optimize.sensitivity.regions import Region, RegionKind
from edgewright.optimize.sensitivity.search import Budget, Goal, SearchStatus, search
from edgewright.optimize.steps.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from edgewright.optimize.sensitivity.search import SearchResult

FILE = 10_000


class World:
    """A network of layers that each add a known harm when they are integers."""

    def __init__(
        self, harms: Sequence[float], sizes: Sequence[int], rule: Callable[[frozenset[str]], float] | None = None
    ):
        self.harms = {f"layer{k}": harm for k, harm in enumerate(harms)}
        self.sizes = {f"layer{k}": size for k, size in enumerate(sizes)}
        self.rule = rule or (lambda nodes: sum(harm for node, harm in self.harms.items() if node not in nodes))
        self.asked: list[frozenset[str]] = []

    def quantize(self, nodes: frozenset[str]) -> QuantizedGraph:
        self.asked.append(nodes)
        return QuantizedGraph(bytes(FILE + sum(self.sizes[node] for node in nodes)), notes=tuple(nodes))

    def losses(self, graph: QuantizedGraph) -> NDArray[np.float64]:
        # Pictures differ, but in the same way for every candidate.
        return self.rule(frozenset(graph.notes)) * np.array([0.8, 0.9, 1.0, 1.1, 1.2])

    def regions(
        self, estimates: Sequence[float] | None = None, kind: RegionKind = RegionKind.LAYER
    ) -> list[RankedRegion]:
        told = self.harms if estimates is None else dict(zip(self.harms, estimates, strict=True))
        whole = sum(told.values()) or 1.0
        rows = [
            RankedRegion(
                Region(node, (node,), kind, self.sizes[node], 1),
                {node: told[node] / whole},
                0.0,
                max(self.sizes[node] / FILE, 1e-3),
            )
            for node in self.harms
        ]
        return sorted(rows, key=lambda row: -row.value)

    def search(self, goal: Goal, **options: Any) -> SearchResult:
        regions = options.pop("regions", None) or self.regions()
        budget = options.pop("budget", Budget(evaluations=100))
        return search(regions, self.quantize, self.losses, goal, budget, **options)


def test_nothing_is_kept_in_float_when_integers_will_do() -> None:
    world = World([1, 2, 3], [10, 10, 10])
    result = world.search(Goal(max_loss=6.1))
    assert (result.status, result.keep_float, result.evaluations) == (SearchStatus.MET, (), 1)


def test_the_one_bad_layer_is_found_among_many() -> None:
    harms = [0.01] * 60
    harms[37] = 5.0
    world = World(harms, [500] * 60)
    result = world.search(Goal(max_loss=1.0))
    assert (result.status, result.keep_float) == (SearchStatus.MET, ("layer37",))
    assert result.evaluations <= 3
    assert [row["name"] for row in result.rows if row["kept"]] == ["layer37"]


def test_a_wrong_estimate_is_overruled_by_what_is_measured() -> None:
    world = World([0.1, 0.1, 0.1, 4.0], [100] * 4)
    result = world.search(Goal(max_loss=0.5), regions=world.regions(estimates=[5, 1, 1, 2]))
    assert result.keep_float == ("layer3",)


@settings(max_examples=60, deadline=None)
@given(
    harms=st.lists(st.floats(0.0, 10.0), min_size=2, max_size=64),
    sizes=st.integers(1, 4000),
    share=st.floats(0.02, 0.98),
    seed=st.integers(0, 99),
)
def test_few_evaluations_meet_any_goal_that_can_be_met(harms: list[float], sizes: int, share: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    world = World(harms, [int(size) for size in random.integers(1, sizes + 1, len(harms))])
    goal = share * sum(harms)
    estimates = [harm * factor for harm, factor in zip(harms, random.uniform(0.3, 3, len(harms)), strict=True)]
    result = world.search(Goal(max_loss=goal), regions=world.regions(estimates))
    assert result.status is SearchStatus.MET
    assert result.best.loss <= goal
    assert result.evaluations <= 2 * math.log2(len(harms)) + Budget().probes + 8
    assert len(world.asked) == len(set(world.asked))


def test_passengers_are_taken_out_again_when_loss_is_not_monotone() -> None:
    """Keeping layer 0 in float helps alone and harms beside layer 1: errors that cancelled no longer do."""

    def rule(nodes: frozenset[str]) -> float:
        if "layer1" in nodes:
            return 1.0 if "layer0" not in nodes else 3.0
        return 5.0 if "layer0" in nodes else 10.0

    world = World([6, 5], [2000, 1000], rule)
    result = world.search(Goal(max_loss=1.5))
    assert (result.status, result.keep_float) == (SearchStatus.MET, ("layer1",))


def test_a_goal_out_of_reach_ends_with_the_best_found_and_says_so() -> None:
    world = World([4, 2, 1], [100] * 3, lambda nodes: 5.0 - len(nodes))
    result = world.search(Goal(max_loss=1.0))
    assert result.status is SearchStatus.BEST_EFFORT
    assert result.best.loss == pytest.approx(2.0)


def test_limits_on_size_and_time_are_kept() -> None:
    world = World([5, 4, 3], [6000, 900, 800])
    result = world.search(Goal(max_loss=0.1, max_bytes=FILE + 2000))
    assert result.status is SearchStatus.BEST_EFFORT
    assert result.keep_float == ("layer1", "layer2")
    assert result.best.bytes <= FILE + 2000
    slow = [RankedRegion(row.region, row.noise, 1.0, row.price) for row in world.regions()]
    assert len(world.search(Goal(max_loss=0.1, max_extra_ms=1.5), regions=slow).keep_float) == 1


def test_an_interrupted_search_resumes_without_measuring_anything_twice() -> None:
    harms, sizes = [3.0, 2, 2, 1, 1, 0.5, 0.5, 0.1], [1000, 800, 700, 600, 500, 400, 300, 200]
    whole = World(harms, sizes)
    expected = whole.search(Goal(max_loss=3.0))
    saved: list[str] = []
    first = World(harms, sizes)
    cut = first.search(Goal(max_loss=3.0), budget=Budget(evaluations=3), on_state=lambda s: saved.append(json.dumps(s)))
    assert cut.status is SearchStatus.OUT_OF_TIME
    assert len(saved) == 3
    second = World(harms, sizes)
    resumed = second.search(Goal(max_loss=3.0), state=json.loads(saved[-1]))
    assert resumed.keep_float == expected.keep_float
    assert not set(second.asked) & set(first.asked)
    third = World(harms, sizes)
    assert (
        third.search(Goal(max_loss=3.0), state=json.loads(json.dumps(resumed.state))).keep_float == expected.keep_float
    )
    assert third.asked == []


@pytest.mark.parametrize("state", [{"version": 9}, {"version": 1, "evaluations": [{"nodes": ["a"]}]}])
def test_a_damaged_state_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="state of the sensitivity search"):
        World([1], [1]).search(Goal(max_loss=0.5), state=state)


def test_the_deadline_ends_the_search_with_the_best_so_far() -> None:
    now = [0.0]
    world = World([5, 4, 3, 2, 1], [100] * 5)

    def slow(graph: QuantizedGraph) -> NDArray[np.float64]:
        now[0] += 10
        return world.losses(graph)

    budget = Budget(deadline=Deadline(25, lambda: now[0]))
    result = search(world.regions(), world.quantize, slow, Goal(max_loss=0.1), budget)
    assert result.status is SearchStatus.OUT_OF_TIME
    assert 2 <= result.evaluations <= 4
    assert result.best.loss == min(np.mean(world.losses(world.quantize(nodes))) for nodes in set(world.asked))


def test_without_a_target_regions_are_kept_as_long_as_they_pay() -> None:
    world = World([5.0, 3.0, 0.01, 0.01], [100, 100, 5000, 5000])
    result = world.search(Goal())
    assert (result.status, result.keep_float) == (SearchStatus.IMPROVED, ("layer0", "layer1"))


def test_a_contract_is_asked_once_for_each_candidate() -> None:
    world = World([5, 4, 3, 2], [100] * 4)
    asked: list[frozenset[str]] = []

    def accept(evaluation: Any) -> bool:
        asked.append(evaluation.nodes)
        return bool(evaluation.loss < 4)

    assert world.search(Goal(accept=accept)).status is SearchStatus.MET
    assert len(asked) == len(set(asked))


def test_a_region_inside_another_is_not_paid_twice() -> None:
    world = World([5, 4, 3], [1000, 1000, 1000])
    rows = world.regions()
    both = RankedRegion(
        Region("both", ("layer0", "layer1"), RegionKind.STAGE, 2000, 2), {"layer0": 5 / 12, "layer1": 4 / 12}, 0, 0.2
    )
    result = world.search(Goal(max_loss=3.1), regions=[*rows, both])
    assert set(result.keep_float) == {"layer0", "layer1"}
    assert result.best.bytes == FILE + 2000


def test_a_head_is_measured_even_where_the_estimate_forgets_it() -> None:
    world = World([5, 5, 5, 5, 5, 5], [100] * 6)
    rows = world.regions(estimates=[9, 8, 7, 6, 5, 0.001])
    last = rows[-1]
    rows[-1] = RankedRegion(Region("head", last.region.nodes, RegionKind.HEAD, 100, 1), last.noise, 0.0, last.price)
    result = world.search(Goal(max_loss=12.0), regions=rows)
    (head,) = [row for row in result.rows if row["name"] == "head"]
    assert head["measured_loss"] == pytest.approx(25.0)
    assert frozenset(last.region.nodes) in world.asked


def test_a_candidate_that_answers_nan_is_never_chosen() -> None:
    world = World([5, 4], [100, 100], lambda nodes: math.inf if "layer0" in nodes else 9.0 - 4 * len(nodes))
    result = world.search(Goal(max_loss=6.0))
    assert result.keep_float == ("layer1",)
    json.loads(json.dumps(result.state, allow_nan=False))


def test_a_set_that_the_quantizer_refuses_does_not_end_the_search() -> None:
    world = World([5, 4, 3], [100] * 3)

    def refusing(nodes: frozenset[str]) -> QuantizedGraph:
        if "layer0" in nodes:
            msg = "no"
            raise JudgeError(msg)
        return world.quantize(nodes)

    for goal in (Goal(max_loss=6.0), Goal()):
        result = search(world.regions(), refusing, world.losses, goal, Budget())
        assert "layer0" not in result.keep_float
        assert result.keep_float
