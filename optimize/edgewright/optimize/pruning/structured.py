"""Structured pruning: channels are taken out of a PyTorch network until it is as small as asked for."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import PassError, SpecError
from edgewright.optimize.progress import SilentProgress
from edgewright.optimize.pruning.importance import score_channels
from edgewright.optimize.pruning.latency import macs_for_latency
from edgewright.optimize.pruning.network import ModuleCost, NetworkCost, network_cost
from edgewright.optimize.pruning.ratios import Plan, by_ranking, by_sensitivity, uniform
from edgewright.optimize.pruning.sensitivity import measure_sensitivity
from edgewright.optimize.pruning.settings import PruneTarget, Ratios, TargetKind
from edgewright.optimize.pruning.step import (
    choose,
    culprits,
    find_candidates,
    freeze_again,
    own_copy,
    parameters_frozen,
    take_out,
)
from edgewright.optimize.pruning.tracing import probe_input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edgewright.optimize.progress import Progress
    from edgewright.optimize.pruning.groups import Skipped
    from edgewright.optimize.pruning.importance import Scores
    from edgewright.optimize.pruning.settings import PruneSettings
    from edgewright.optimize.pruning.step import Candidates
    from edgewright.optimize.spec import SourceModel
    from edgewright.optimize.training.types import Batch, Objective

    Batches = Callable[[], Iterable[Batch]]
    Tune = Callable[[SourceModel, int, int], None]

__all__ = ["GroupChange", "Pruned", "prune"]


@dataclass(frozen=True)
class GroupChange:
    """What became of one group.

    Attributes:
        name: The layer that names it.
        layers: The layers whose weights make its channels.
        before: Channels as the network came.
        after: Channels that are left.
    """

    name: str
    layers: tuple[str, ...]
    before: int
    after: int

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {"name": self.name, "layers": list(self.layers), "before": self.before, "after": self.after}


@dataclass(frozen=True, eq=False)
class Pruned:
    """A smaller network.

    Attributes:
        source: With a module of its own; the one given is as it was.
        before: Cost of the layers with weights as the network came.
        after: The same now.
        groups: What became of each group that can be pruned.
        skipped: What cannot be pruned, and why.
        notes: What a reader of the report should know.
    """

    source: SourceModel
    before: ModuleCost
    after: ModuleCost
    groups: tuple[GroupChange, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values by name, without the network."""
        return {
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "groups": [group.to_json() for group in self.groups],
            "skipped": [{"layers": list(row.layers), "reason": row.reason} for row in self.skipped],
            "notes": list(self.notes),
        }


def prune(
    source: SourceModel,
    settings: PruneSettings,
    *,
    batches: Batches | None = None,
    objective: Objective | None = None,
    tune: Tune | None = None,
    progress: Progress | None = None,
) -> Pruned:
    """Prunes a copy of the network in ``settings.rounds`` steps.

    Args:
        source: Not changed.
        settings: What is asked for.
        batches: Pictures, each call from the start; needed by importances and ratios that look at pictures.
        objective: The loss; Taylor needs it, and sensitivity without it looks at how far the outputs move.
        tune: Fine-tunes the module in place after a step; called with the step from 1 and the number of steps.
        progress: Told what is done.

    Raises:
        ModelError: The network cannot be run or traced, or its weights or losses are not numbers.
        PassError: Nothing can be pruned, or the target cannot be reached.
        SpecError: The settings do not fit the network, or need pictures that were not given.
        DataError: There are no pictures.
        MissingExtraError: Torch-Pruning is not installed.
    """
    if settings.ratios is Ratios.SENSITIVITY and batches is None:
        msg = "ratios 'sensitivity' look at pictures; give batches, or take 'global'"
        raise SpecError(msg)
    said = progress or SilentProgress()
    if settings.target.kind is TargetKind.LATENCY:
        return _for_latency(source, settings, batches=batches, objective=objective, tune=tune, progress=said)
    return _Run(source, settings, batches, objective, said).run(tune)


def _for_latency(
    source: SourceModel,
    settings: PruneSettings,
    *,
    batches: Batches | None,
    objective: Objective | None,
    tune: Tune | None,
    progress: Progress,
) -> Pruned:
    """Looks for the MACs that are as fast as asked for, on trial networks without fine-tuning, and prunes to those."""

    def trial(share: float) -> SourceModel:
        once = replace(settings, target=PruneTarget(macs=share), rounds=1)
        return _Run(source, once, batches, objective, SilentProgress()).run(None).source

    share, note = macs_for_latency(source, trial, settings.target.share, settings.threads, progress)
    aimed = replace(settings, target=PruneTarget(macs=share))
    done = _Run(source, aimed, batches, objective, progress).run(tune)
    return replace(done, notes=(note, *done.notes))


class _Run:
    """One call of ``prune``."""

    def __init__(
        self,
        source: SourceModel,
        settings: PruneSettings,
        batches: Batches | None,
        objective: Objective | None,
        progress: Progress,
    ) -> None:
        self._source = own_copy(source)
        self._settings = settings
        self._batches = batches
        self._objective = objective
        self._progress = progress
        self._excluded: dict[str, str] = {}
        self._original: Mapping[str, int] = {}
        self._layers: Mapping[str, tuple[str, ...]] = {}

    def run(self, tune: Tune | None) -> Pruned:
        settings, where = self._settings, self._source.spec.name
        frozen = parameters_frozen(self._source.module)
        candidates = self._candidates()
        self._original = {group.name: group.size for group in candidates.traced.groups}
        self._layers = {group.name: tuple(member.name for member in group.makers) for group in candidates.traced.groups}
        before = whole = self._cost(candidates).now
        with self._progress.stage(f"pruning {where}", settings.rounds) as advance:
            for number in range(1, settings.rounds + 1):
                share = settings.target.share ** (number / settings.rounds)
                candidates = self._step(candidates, whole, share)
                if tune is not None:
                    freeze_again(self._source.module, frozen)  # tracing made all of them trainable
                    tune(self._source, number, settings.rounds)
                    self._source.module.eval()
                    candidates = self._candidates()
                advance(number)
        after = self._cost(candidates).now
        sizes = {group.name: group.size for group in candidates.traced.groups}
        freeze_again(self._source.module, frozen)
        notes = self._notes(before, after)
        changes = tuple(
            GroupChange(name, self._layers[name], size, sizes.get(name, size)) for name, size in self._original.items()
        )
        return Pruned(self._source, before, after, changes, candidates.skipped, notes)

    def _notes(self, before: ModuleCost, after: ModuleCost) -> tuple[str, ...]:
        target = self._settings.target
        was, now = self._counted(before), self._counted(after)
        note = (
            f"{target.kind.value}: {now / was:.1%} remain ({target.share:.1%} asked for), in multiples of "
            f"{self._settings.round_to} channels, by {self._settings.importance.value} and "
            f"{self._settings.ratios.value} ratios, in {self._settings.rounds} step(s)"
        )
        return (note,)

    def _counted(self, cost: ModuleCost) -> int:
        return cost.macs if self._settings.target.kind is TargetKind.MACS else cost.bytes

    def _candidates(self) -> Candidates:
        candidates = find_candidates(self._source, self._settings, self._original, self._excluded)
        if not candidates.traced.groups:
            reasons = "; ".join(map(str, candidates.skipped[:12])) or "it has no layers with weights"
            msg = f"{self._source.spec.name}: no channels can be pruned: {reasons}"
            raise PassError(msg)
        return candidates

    def _cost(self, candidates: Candidates) -> NetworkCost:
        picture = probe_input(self._source, self._settings.seed)
        return network_cost(candidates.traced, picture, self._source.spec.name)

    def _step(self, candidates: Candidates, whole: ModuleCost, share: float) -> Candidates:
        """Brings the module down to a share of the whole; groups found impossible are left out and it is tried anew."""
        while True:
            scores = score_channels(candidates.traced, self._settings.importance, self._batches, self._objective)
            counts = self._counts(candidates, scores, self._counted(whole) * share)
            removals = choose(candidates.traced.groups, counts, scores)
            backup = copy.deepcopy(self._source.module)
            if take_out(self._source, candidates, removals, self._settings.seed):
                return self._candidates()
            self._source = replace(self._source, module=backup)
            self._excluded |= culprits(self._source, self._settings, removals, self._excluded)
            self._progress.note(f"left as they are: {', '.join(self._excluded)}")
            candidates = self._candidates()

    def _counts(self, candidates: Candidates, scores: Scores, budget: float) -> Mapping[str, int]:
        model, groups = self._cost(candidates), candidates.traced.groups

        def cost(counts: Sequence[int]) -> float:
            return float(self._counted(model.of(counts)))

        names = tuple(group.name for group in groups)
        plan = Plan(names, self._original, candidates.allowed, cost, budget, self._settings.target.kind.value)
        if self._settings.ratios is Ratios.UNIFORM:
            return uniform(plan)
        if self._settings.ratios is Ratios.GLOBAL:
            return by_ranking(plan, scores, {group.name: group.units.shape[1] for group in groups})
        plan.check()
        assured = self._batches or (lambda: ())
        curves = measure_sensitivity(candidates.traced, scores, assured, self._objective, self._progress)
        return by_sensitivity(plan, curves)
