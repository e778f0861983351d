"""Mixed precision by cost: the smallest set of regions in float that meets a goal, in few evaluations.

Regions come ordered by a first-order estimate (``rank``). The search

1. measures the all-integer network; if that meets the goal, nothing is kept in float;
2. measures the most promising regions alone, and corrects the order by what it saw (the estimate is good at ranking
   and bad at absolute figures);
3. doubles the prefix of the ordered list until the goal is met, then bisects until the price hardly changes: about
   2 log2(n) evaluations;
4. takes out again, dearest first, what is not needed: accuracy is not monotone in the set, and a prefix may carry
   passengers. A few tries at most, and none for what costs next to nothing.

Without a target it goes on as long as regions pay: each further one must regain at least the share of the loss that it
costs in bytes and time, and more than chance.

Example:
    >>> result = search(ranked, quantize, losses, Goal(max_loss=0.4), Budget())   # doctest: +SKIP
    >>> result.keep_float                                                    # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.selection.compare import improves
from edgewright.optimize.sensitivity.evaluations import Evaluation, Evaluations, OutOfTimeError
from edgewright.optimize.sensitivity.order import disjoint, made_of, ordered, price_of, union
from edgewright.optimize.sensitivity.regions import RegionKind
from edgewright.optimize.steps.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.sensitivity.rank import RankedRegion

_PRUNES = 4
_FINE = 0.005  # of file and time together; finer differences in price are not worth an evaluation
_FINE_SHARE = 0.1  # nor is a tenth of the set's own price

__all__ = ["Budget", "Goal", "SearchResult", "SearchStatus", "search"]


class SearchStatus(str, Enum):
    """How a search ended."""

    MET = "met"
    BEST_EFFORT = "goal not reached: best found"
    OUT_OF_TIME = "out of time: best so far"
    IMPROVED = "no target: kept what pays"


@dataclass(frozen=True)
class Goal:
    """What a candidate must reach.

    Attributes:
        max_loss: Largest mean loss; None with ``accept`` None means "as long as it pays".
        accept: Decides instead of ``max_loss`` (a contract on the selection split, say); asked once for each set.
        max_bytes: Largest file.
        max_extra_ms: Milliseconds that regions in float may cost together.
        block: Consecutive pictures that show the same scene; 1 for unrelated ones.
    """

    max_loss: float | None = None
    accept: Callable[[Evaluation], bool] | None = None
    max_bytes: int | None = None
    max_extra_ms: float | None = None
    block: int = 1

    @property
    def open(self) -> bool:
        """Whether there is no target."""
        return self.max_loss is None and self.accept is None


@dataclass(frozen=True, eq=False)
class Budget:
    """How much may be spent.

    Attributes:
        deadline: Looked at before each evaluation.
        probes: Regions measured alone.
        evaluations: At most so many new ones in all.
    """

    deadline: Deadline = field(default_factory=Deadline)
    probes: int = 4
    evaluations: int = 24


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What came of it.

    Attributes:
        status: How it ended.
        keep_float: Nodes to keep in float, sorted; the recipe's ``keep_float``.
        kept: Names of the regions they make up.
        base: The all-integer network.
        best: The network with ``keep_float``.
        rows: The ordered table as JSON values: regions with estimates, what was measured, whether they were kept.
        evaluations: How many were made in this run.
        state: Everything measured, to resume from.
    """

    status: SearchStatus
    keep_float: tuple[str, ...]
    kept: tuple[str, ...]
    base: Evaluation
    best: Evaluation
    rows: tuple[Mapping[str, Any], ...]
    evaluations: int
    state: Mapping[str, Any]


def search(
    regions: Sequence[RankedRegion],
    quantize: Callable[[frozenset[str]], QuantizedGraph],
    losses: Callable[[QuantizedGraph], NDArray[np.float64]],
    goal: Goal,
    budget: Budget | None = None,
    *,
    state: Mapping[str, Any] | None = None,
    on_state: Callable[[Mapping[str, Any]], None] | None = None,
) -> SearchResult:
    """Looks for the cheapest set of regions in float.

    Args:
        regions: Ordered, best first (``rank_regions``).
        quantize: Makes the candidate that keeps these nodes in float, everything else as the chain has it.
        losses: (n,) losses of a candidate on the selection pictures, always the same ones; smaller is better.
        goal: What is wanted.
        budget: What may be spent.
        state: Of an interrupted search over the same model, chain and pictures; nothing in it is measured again.
        on_state: Given the state after each evaluation.

    Returns:
        The result; when the goal is out of reach the best found, labelled so.

    Raises:
        DataError: The state is damaged.
    """
    spent = budget or Budget()
    measured = Evaluations(quantize, losses, left=lambda: spent.deadline.left, state=state, on_state=on_state)
    return _Search(tuple(regions), measured, goal, spent).run()


class _Search:
    def __init__(self, regions: tuple[RankedRegion, ...], measured: Evaluations, goal: Goal, budget: Budget) -> None:
        self._regions, self._measured, self._goal, self._budget = regions, measured, goal, budget
        self._gains: dict[str, float] = {}
        self._accepted: dict[frozenset[str], bool] = {}
        self._base = measured(frozenset())

    def run(self) -> SearchResult:
        chosen: list[RankedRegion] = []
        try:
            if self._goal.open:
                status, chosen = SearchStatus.IMPROVED, self._improve()
            elif self._meets([]):
                status = SearchStatus.MET
            else:
                found = self._shortest()
                status = SearchStatus.BEST_EFFORT if found is None else SearchStatus.MET
                chosen = self._best() if found is None else self._pruned(found)
        except OutOfTimeError:
            chosen = self._best()
            status = SearchStatus.OUT_OF_TIME
            if not self._goal.open and self._meets(chosen):
                status = SearchStatus.MET
        return self._result(status, chosen)

    def _measure(self, chosen: Sequence[RankedRegion]) -> Evaluation:
        nodes = union(chosen)
        if nodes not in self._measured and self._measured.fresh >= self._budget.evaluations:
            raise OutOfTimeError
        return self._measured(nodes)

    def _meets(self, chosen: Sequence[RankedRegion]) -> bool:
        evaluation = self._measure(chosen)
        return self._allowed(chosen, evaluation) and self._good(evaluation)

    def _good(self, evaluation: Evaluation) -> bool:
        if self._goal.accept is not None:
            if evaluation.nodes not in self._accepted:
                self._accepted[evaluation.nodes] = self._goal.accept(evaluation)
            return self._accepted[evaluation.nodes]
        return self._goal.max_loss is not None and evaluation.loss <= self._goal.max_loss

    def _allowed(self, chosen: Sequence[RankedRegion], evaluation: Evaluation) -> bool:
        small = self._goal.max_bytes is None or evaluation.bytes <= self._goal.max_bytes
        return small and self._fast(chosen)

    def _fast(self, chosen: Sequence[RankedRegion]) -> bool:
        extra = sum(row.extra_ms for row in disjoint(chosen))
        return self._goal.max_extra_ms is None or not chosen or extra <= self._goal.max_extra_ms

    def _fits(self, chosen: Sequence[RankedRegion]) -> bool:
        """Whether a set can be within the limits, going by estimates."""
        size = self._base.bytes + sum(row.region.weight_bytes for row in disjoint(chosen))
        return (self._goal.max_bytes is None or size <= self._goal.max_bytes) and self._fast(chosen)

    def _order(self) -> list[RankedRegion]:
        return ordered(self._regions, self._gains, self._fits)

    def _probe(self) -> None:
        """Measures the most valuable regions alone, a head among them; what is seen corrects the estimates."""
        able = self._order()
        best = able[: self._budget.probes]
        heads = [row for row in self._regions if row.region.kind is RegionKind.HEAD and self._fits([row])]
        if heads and not any(row.region.kind is RegionKind.HEAD for row in best):
            best = [*best[: max(self._budget.probes - 1, 0)], heads[0]]
        for row in best:
            if not self._goal.open and row is not best[0] and any(self._meets([other]) for other in self._alone()):
                break
            self._gains[row.region.name] = self._base.loss - self._measure([row]).loss

    def _alone(self) -> list[RankedRegion]:
        return [row for row in self._regions if row.region.name in self._gains]

    def _shortest(self) -> list[RankedRegion] | None:
        """The cheapest of a prefix and single regions that meet the goal, None where nothing does."""
        self._probe()
        good = [[row] for row in self._alone() if self._meets([row])]
        prefix = self._order()
        low, high, size = 0, 0, 1
        while not high and low < len(prefix):
            size = min(size, len(prefix))
            if self._meets(prefix[:size]):
                high = size
            else:
                low, size = size, size * 2
        while high - low > 1 and self._matters(prefix[:low], prefix[:high]):
            middle = (low + high) // 2
            if self._meets(prefix[:middle]):
                high = middle
            else:
                low = middle
        return min([*good, *([prefix[:high]] if high else [])], key=price_of, default=None)

    def _matters(self, less: Sequence[RankedRegion], more: Sequence[RankedRegion]) -> bool:
        """Whether the difference in price is worth an evaluation."""
        return price_of(more) - price_of(less) > max(_FINE, _FINE_SHARE * price_of(more))

    def _pruned(self, chosen: list[RankedRegion]) -> list[RankedRegion]:
        """Takes out members that the goal does not need, dearest first; the budget may end it early."""
        kept = disjoint(chosen)
        for row in sorted(kept, key=lambda row: -row.price)[:_PRUNES]:
            rest = [other for other in kept if other is not row]
            if not rest or not self._matters(rest, kept):
                break
            try:
                if self._meets(rest):
                    kept = rest
            except OutOfTimeError:
                break
        return kept

    def _improve(self) -> list[RankedRegion]:
        """Adds regions as long as they pay."""
        self._probe()
        kept: list[RankedRegion] = []
        refused = 0
        for row in self._order():
            try:
                before, after = self._measure(kept), self._measure([*kept, row])
            except OutOfTimeError:
                break
            if self._allowed([*kept, row], after) and self._pays(before, after, row):
                kept, refused = disjoint([*kept, row]), 0
            else:
                refused += 1
            if refused >= self._budget.probes:
                break
        return kept

    def _pays(self, before: Evaluation, after: Evaluation, row: RankedRegion) -> bool:
        if not np.isfinite(after.losses).all():
            return False
        compared = improves(np.array(before.losses), np.array(after.losses), self._goal.block)
        return compared.accepted and before.loss - after.loss >= row.price * self._base.loss

    def _best(self) -> list[RankedRegion]:
        """The measured set within the limits that meets the goal most cheaply, else that loses least."""
        sets = [found for one in self._measured if (found := made_of(self._regions, one.nodes)) is not None]
        allowed = [chosen for chosen in sets if self._allowed(chosen, self._measure(chosen))] or [[]]
        met = [] if self._goal.open else [chosen for chosen in allowed if self._good(self._measure(chosen))]
        if met:
            return min(met, key=price_of)
        return min(allowed, key=lambda chosen: self._measure(chosen).loss)

    def _result(self, status: SearchStatus, chosen: Sequence[RankedRegion]) -> SearchResult:
        names = {row.region.name for row in chosen}
        table = self._order()
        table += [row for row in self._regions if row not in table]
        return SearchResult(
            status=status,
            keep_float=tuple(sorted(union(chosen))),
            kept=tuple(row.region.name for row in chosen),
            base=self._base,
            best=self._measured(union(chosen)),
            rows=tuple(self._row(row, kept=row.region.name in names) for row in table),
            evaluations=self._measured.fresh,
            state=self._measured.to_json(),
        )

    def _row(self, row: RankedRegion, *, kept: bool) -> dict[str, Any]:
        nodes = union([row])
        alone = self._measured(nodes) if nodes in self._measured else None
        return {
            **row.to_json(),
            "measured_loss": None if alone is None else alone.loss,
            "measured_bytes": None if alone is None else alone.bytes - self._base.bytes,
            "kept": kept,
        }
