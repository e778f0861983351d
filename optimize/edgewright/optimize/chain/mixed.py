"""The chain's search for regions that are worth keeping in float (see ``edgewright.optimize.sensitivity``)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.optimize.chain.goal import standing_of
from edgewright.optimize.feeds import evenly
from edgewright.optimize.quantization.transplant import transplant_rounding
from edgewright.optimize.selection.losses import loss_for
from edgewright.optimize.sensitivity.influence import measure_influence
from edgewright.optimize.sensitivity.latency import estimate_nodes, profile_nodes
from edgewright.optimize.sensitivity.order import disjoint, union
from edgewright.optimize.sensitivity.rank import rank_regions
from edgewright.optimize.sensitivity.regions import find_regions
from edgewright.optimize.sensitivity.search import Budget, Goal, SearchStatus, search
from edgewright.optimize.sensitivity.sqnr import measure_sqnr

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgewright.optimize.chain.run import State
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.contract import Contract
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.sensitivity.evaluations import Evaluation
    from edgewright.optimize.sensitivity.latency import NodeTimes
    from edgewright.optimize.sensitivity.rank import RankedRegion
    from edgewright.optimize.sensitivity.search import SearchResult
    from edgewright.optimize.types import FeedSource

__all__ = ["OUT_OF_TIME", "MixedResult", "Wider", "search_regions", "sqnr_rows"]

OUT_OF_TIME = "the time budget was spent"
_PICTURES = 6
_WIDENINGS = 3


@dataclass(frozen=True, eq=False)
class Wider:
    """A larger set of regions, for when the one that was found falls short once it is made again.

    Attributes:
        keep_float: Nodes, those that were found included.
        regions: Names of the regions that came on top.
    """

    keep_float: frozenset[str]
    regions: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class MixedResult:
    """What the search came to.

    Attributes:
        keep_float: Nodes of the regions to keep in float; empty where nothing is worth it.
        regions: Their names.
        status: How the search ended.
        table: For the report: regions in order, SQNR of every tensor, what was measured.
        wider: Larger sets to go on with, smallest first; empty unless the goal was met.
    """

    keep_float: frozenset[str]
    regions: tuple[str, ...]
    status: str
    table: dict[str, Any]
    wider: tuple[Wider, ...] = ()


def search_regions(bench: Workbench, now: State, contract: Contract) -> MixedResult:
    """Looks for the smallest set of regions in float that the contract needs, or as many as pay.

    Args:
        bench: What steps work with.
        now: The candidate so far.
        contract: What it promises of accuracy is the goal (see ``chain.goal``), within its ``max_size``; without such a
            promise regions are taken as long as they pay.

    Raises:
        JudgeError: The graphs cannot be run.
    """
    start = standing_of(contract, bench, now.graph)
    errors = sqnr_rows(bench, now)
    if bench.deadline.passed:
        return _given_up(errors)
    with bench.progress.stage("measure what each layer does to the answers", _PICTURES) as advance:
        influences = measure_influence(now.model, now.graph, _few(bench), loss_for(bench.spec), advance)
    if not bench.deadline.left:
        return _given_up(errors)
    times = _times(bench, now)
    own = {row["node"]: row["own_sqnr"] for row in errors if row["own_sqnr"] is not None}
    ranked = rank_regions(find_regions(now.model), influences, len(now.graph.model), times, own)
    made = _Latest(bench, now)

    def accept(evaluation: Evaluation) -> bool:
        if not math.isfinite(evaluation.loss):
            return False  # nothing was left to quantize
        standing = standing_of(contract, bench, made(evaluation.nodes))
        return standing is not None and standing.met

    goal = Goal(
        accept=None if start is None else accept,
        max_bytes=contract.max_size,
        max_extra_ms=None if bench.foreign else _slack_ms(contract, times),
        block=bench.selection.block,
    )
    budget, evaluated = Budget(deadline=bench.deadline), itertools.count(1)
    with bench.progress.stage("search for regions to keep in float", budget.evaluations) as advance:
        found = search(ranked, made, bench.losses, goal, budget, on_state=lambda _state: advance(next(evaluated)))
    # Shares of a time that nobody took are no milliseconds.
    unknown = {"extra_ms": None} if bench.foreign else {}
    regions = [{**row, **unknown} for row in found.rows]
    table: dict[str, Any] = {"regions": regions, "tensors": errors, "how_timed": times.how}
    table |= {"status": found.status.value, "evaluations": found.evaluations}
    nodes = frozenset(found.keep_float)
    wider = tuple(_wider(found, ranked, goal)) if found.status is SearchStatus.MET and nodes else ()
    return MixedResult(nodes, found.kept, found.status.value, table, wider)


def _times(bench: Workbench, now: State) -> NodeTimes:
    """What each operator costs: measured here, or by its multiplications where the board is of another kind."""
    if bench.foreign:
        return estimate_nodes(now.model, "the board has another kind of processor than this machine")
    with bench.progress.stage("time each operator in float and in INT8"):
        return profile_nodes(now.model, now.graph, threads=bench.threads)


def _slack_ms(contract: Contract, times: NodeTimes) -> float:
    """Milliseconds that regions in float may cost; whatever is promised, none slower than float would be shipped."""
    return max(times.float_total / max(contract.min_speedup or 1.0, 1.0) - times.int8_total, 0.0)


class _Latest:
    """Makes candidates and holds on to the last one only: it is asked for again at once, the others hardly ever."""

    def __init__(self, bench: Workbench, now: State) -> None:
        self._bench, self._now = bench, now
        self._last: tuple[frozenset[str], QuantizedGraph] | None = None

    def __call__(self, nodes: frozenset[str]) -> QuantizedGraph:
        """The candidate so far with these nodes in float, too."""
        if not nodes:
            return self._now.graph
        if self._last is None or self._last[0] != nodes:
            now = self._now
            fresh = self._bench.quantize(now.model, now.ranges, now.keep_float | nodes)
            self._last = nodes, transplant_rounding(now.graph, fresh)
        return self._last[1]


def _wider(found: SearchResult, ranked: Sequence[RankedRegion], goal: Goal) -> Iterator[Wider]:
    """The next regions in the search's own order, twice as many each time, as far as the limits allow by estimate."""
    by_name = {row.region.name: row for row in ranked}
    chosen = [by_name[name] for name in found.kept]
    size, count = found.best.bytes, 1
    waiting = [by_name[row["name"]] for row in found.rows if not row["kept"]]
    for _ in range(_WIDENINGS):
        added: list[RankedRegion] = []
        while waiting and len(added) < count:
            row = waiting.pop(0)
            slower = sum(one.extra_ms for one in disjoint([*chosen, row]))
            fits = goal.max_bytes is None or size + row.region.weight_bytes <= goal.max_bytes
            quick = goal.max_extra_ms is None or slower <= goal.max_extra_ms
            if set(row.region.nodes) <= union(chosen) or not fits or not quick:
                continue
            added.append(row)
            chosen.append(row)
            size += row.region.weight_bytes
        if not added:
            return
        yield Wider(union(chosen), tuple(row.region.name for row in added))
        count *= 2


def _given_up(errors: list[dict[str, Any]]) -> MixedResult:
    return MixedResult(frozenset(), (), OUT_OF_TIME, {"regions": [], "tensors": errors})


def sqnr_rows(bench: Workbench, now: State) -> list[dict[str, Any]]:
    """SQNR of every tensor, for the report and for ranking.

    Raises:
        JudgeError: The graphs cannot be run.
    """
    with bench.progress.stage("measure the error of every tensor", _PICTURES) as advance:
        rows = measure_sqnr(now.model, now.graph, _few(bench), advance)
    return [row.to_json() for row in rows]


def _few(bench: Workbench) -> FeedSource:
    return evenly(bench.selection.feeds, bench.selection.count, _PICTURES)
