"""The chain's search for regions that are worth keeping in float (see ``edgewright.optimize.sensitivity``)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.optimize.feeds import evenly
from edgewright.optimize.quantization.transplant import transplant_rounding
from edgewright.optimize.selection.losses import loss_for
from edgewright.optimize.sensitivity.influence import measure_influence
from edgewright.optimize.sensitivity.latency import profile_nodes
from edgewright.optimize.sensitivity.rank import rank_regions
from edgewright.optimize.sensitivity.regions import find_regions
from edgewright.optimize.sensitivity.search import Budget, Goal, search
from edgewright.optimize.sensitivity.sqnr import measure_sqnr

if TYPE_CHECKING:
    from edgewright.optimize.chain.run import State
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.contract import Contract
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.selection import Fidelity
    from edgewright.optimize.sensitivity.evaluations import Evaluation
    from edgewright.optimize.types import FeedSource

__all__ = ["MixedResult", "agreement_of", "search_regions", "sqnr_rows"]

_PICTURES = 6


@dataclass(frozen=True, eq=False)
class MixedResult:
    """What the search came to.

    Attributes:
        graph: The INT8 file with regions in float; None where nothing is worth it.
        keep_float: Nodes of those regions.
        regions: Their names.
        status: How the search ended.
        table: For the report: regions in order, SQNR of every tensor, what was measured.
        notes: What the user should know.
    """

    graph: QuantizedGraph | None
    keep_float: frozenset[str]
    regions: tuple[str, ...]
    status: str
    table: dict[str, Any]
    notes: tuple[str, ...] = ()


def search_regions(bench: Workbench, now: State, contract: Contract) -> MixedResult:
    """Looks for the smallest set of regions in float that the contract needs, or as many as pay.

    Args:
        bench: What steps work with.
        now: The candidate so far.
        contract: Its ``min_agreement`` and ``max_size`` are the goal; without the former, regions are taken as long
            as they pay.

    Raises:
        JudgeError: The graphs cannot be run.
    """
    errors = sqnr_rows(bench, now)
    with bench.progress.stage("measure what each layer does to the answers", _PICTURES) as advance:
        influences = measure_influence(now.model, now.graph, _few(bench), loss_for(bench.spec), advance)
    with bench.progress.stage("time each operator in float and in INT8"):
        times = profile_nodes(now.model, now.graph, threads=bench.threads)
    own = {row["node"]: row["own_sqnr"] for row in errors if row["own_sqnr"] is not None}
    ranked = rank_regions(find_regions(now.model), influences, len(now.graph.model), times, own)
    made: dict[frozenset[str], QuantizedGraph] = {}

    def quantize(nodes: frozenset[str]) -> QuantizedGraph:
        fresh = bench.quantize(now.model, now.ranges, now.keep_float | nodes)
        made[nodes] = transplant_rounding(now.graph, fresh) if nodes else now.graph
        return made[nodes]

    def accept(evaluation: Evaluation) -> bool:
        if not math.isfinite(evaluation.loss):
            return False  # nothing was left to quantize
        graph = made.get(evaluation.nodes) or quantize(evaluation.nodes)
        seen = agreement_of(bench.describe(graph))
        return seen is not None and contract.min_agreement is not None and seen >= contract.min_agreement

    # Whatever is promised, a model that is no faster than float would not be shipped.
    slack = times.float_total / max(contract.min_speedup or 1.0, 1.0) - times.int8_total
    goal = Goal(
        accept=accept if contract.min_agreement is not None else None,
        max_bytes=contract.max_size,
        max_extra_ms=max(slack, 0.0),
        block=bench.selection.block,
    )
    budget, evaluated = Budget(deadline=bench.deadline), itertools.count(1)
    with bench.progress.stage("search for regions to keep in float", budget.evaluations) as advance:
        found = search(ranked, quantize, bench.losses, goal, budget, on_state=lambda _state: advance(next(evaluated)))
    nodes = frozenset(found.keep_float)
    table: dict[str, Any] = {"regions": [dict(row) for row in found.rows], "tensors": errors, "how_timed": times.how}
    table |= {"status": found.status.value, "evaluations": found.evaluations}
    graph = (made.get(nodes) or quantize(nodes)) if nodes else None
    return MixedResult(graph, nodes, found.kept, found.status.value, table)


def sqnr_rows(bench: Workbench, now: State) -> list[dict[str, Any]]:
    """SQNR of every tensor, for the report and for ranking.

    Raises:
        JudgeError: The graphs cannot be run.
    """
    with bench.progress.stage("measure the error of every tensor", _PICTURES) as advance:
        rows = measure_sqnr(now.model, now.graph, _few(bench), advance)
    return [row.to_json() for row in rows]


def agreement_of(seen: Fidelity) -> float | None:
    """Percent of float's answers kept on the selection pictures; None when float saw nothing."""
    if seen.float_boxes is not None and seen.kept_boxes is not None:
        return 100.0 * seen.kept_boxes / seen.float_boxes if seen.float_boxes else None
    return None if seen.same_top is None else 100.0 * seen.same_top


def _few(bench: Workbench) -> FeedSource:
    return evenly(bench.selection.feeds, bench.selection.count, _PICTURES)
