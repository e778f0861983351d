"""What a run would do, how long it would take and how much memory: told before anything runs.

Time is reckoned in float inferences of this machine (``Probe``); what earlier runs of a step really took, per
evaluation, counts more where the cache still knows it. A prediction is a guess, and is shown as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from edgewright.optimize.durations import format_seconds
from edgewright.optimize.sizes import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.optimize.steps.cache import StepCache
    from edgewright.optimize.steps.entry import StepCost
    from edgewright.optimize.steps.key import StepKey
    from edgewright.optimize.steps.probe import Probe

__all__ = ["Plan", "PlannedStep", "Workload", "make_plan", "predict"]

_NO_CACHE_HISTORY: tuple[StepCost, ...] = ()


@dataclass(frozen=True)
class Workload:
    """What a step costs, in the units of a ``Probe``.

    Attributes:
        name: Of the step, as in its key.
        title: What it does, in a few words.
        evaluations: Samples, trials or pictures it goes through; 0 where none count.
        inferences: Float inferences that one evaluation is worth (0.5 for an INT8 one that is twice as fast).
        fixed_seconds: What it takes besides.
        models: How many models of the float one's size it holds at once.
        activations: How many sets of all intermediate values it holds at once.
        further_bytes: What it holds besides, such as histograms.
        key: Where it is known already: to see whether it is cached.
    """

    name: str
    title: str
    evaluations: int = 0
    inferences: float = 1.0
    fixed_seconds: float = 0.0
    models: float = 2.0
    activations: float = 1.0
    further_bytes: int = 0
    key: StepKey | None = None


@dataclass(frozen=True)
class PlannedStep:
    """One step of a plan.

    Attributes:
        name: Of the step.
        title: What it does, in a few words.
        evaluations: Samples, trials or pictures it goes through.
        seconds: Predicted; 0.0 for a cached one.
        memory_bytes: Predicted peak of the process while it runs.
        cached: Its result is known already.
        measured: The prediction rests on earlier runs of this very step.
    """

    name: str
    title: str
    evaluations: int
    seconds: float
    memory_bytes: int
    cached: bool
    measured: bool = False


@dataclass(frozen=True)
class Plan:
    """Steps in order."""

    steps: tuple[PlannedStep, ...]

    @property
    def seconds(self) -> float:
        """Predicted, of all that is not cached."""
        return sum(step.seconds for step in self.steps)

    @property
    def memory_bytes(self) -> int:
        """Predicted peak."""
        return max((step.memory_bytes for step in self.steps if not step.cached), default=0)

    def lines(self) -> list[str]:
        """A table for people, one text a line."""
        rows = [("step", "what", "evaluations", "time", "memory")]
        rows += [
            (
                step.name,
                step.title,
                str(step.evaluations or "-"),
                "cached" if step.cached else ("" if step.measured else "~") + format_seconds(step.seconds),
                "-" if step.cached else f"~{format_bytes(step.memory_bytes)}",
            )
            for step in self.steps
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        table = [
            "  ".join((row[0].ljust(widths[0]), row[1].ljust(widths[1]), *map(str.rjust, row[2:], widths[2:])))
            for row in rows
        ]
        cached = sum(step.cached for step in self.steps)
        known = f", {cached} of {len(self.steps)} steps cached" if cached else ""
        total = f"together about {format_seconds(self.seconds)}, peak memory about {format_bytes(self.memory_bytes)}"
        return [*table, f"{total}{known}"]

    def values(self) -> dict[str, Any]:
        """The same as JSON values."""
        steps = [
            {
                "name": step.name,
                "title": step.title,
                "evaluations": step.evaluations,
                "seconds": step.seconds,
                "memory_bytes": step.memory_bytes,
                "cached": step.cached,
                "measured": step.measured,
            }
            for step in self.steps
        ]
        return {"steps": steps, "seconds": self.seconds, "memory_bytes": self.memory_bytes}


def make_plan(workloads: Sequence[Workload], probe: Probe, cache: StepCache | None = None) -> Plan:
    """Predicts a run.

    Args:
        workloads: Its steps in order.
        probe: What one float inference costs here.
        cache: Knows what is done already, and what earlier runs took.
    """
    planned = []
    for work in workloads:
        cached = cache is not None and work.key is not None and cache.has(work.key)
        history = _NO_CACHE_HISTORY if cache is None else cache.costs(work.name)
        planned.append(predict(work, probe, history, cached=cached))
    return Plan(tuple(planned))


def predict(work: Workload, probe: Probe, history: Sequence[StepCost] = (), *, cached: bool = False) -> PlannedStep:
    """Predicts one step.

    Args:
        work: What it costs in units of the probe.
        probe: The units.
        history: What steps of this name took in earlier runs.
        cached: Its result is known.
    """
    seconds = work.fixed_seconds + work.evaluations * work.inferences * probe.inference_seconds
    measured = _from_history(work, history, probe.inference_seconds)
    memory = (
        probe.process_bytes
        + int(work.models * probe.model_bytes + work.activations * probe.activation_bytes)
        + work.further_bytes
    )
    return PlannedStep(
        name=work.name,
        title=work.title,
        evaluations=work.evaluations,
        seconds=0.0 if cached else (seconds if measured is None else measured),
        memory_bytes=memory,
        cached=cached,
        measured=measured is not None and not cached,
    )


def _from_history(work: Workload, history: Sequence[StepCost], unit_seconds: float) -> float | None:
    """The median of earlier runs, per evaluation where evaluations count, by this model's speed where both are known."""
    count = work.evaluations
    costs = [cost for cost in history if bool(cost.evaluations) is bool(count)]
    if not costs:
        return None
    return median(
        cost.seconds / (cost.evaluations or 1) * (unit_seconds / cost.unit_seconds if cost.unit_seconds else 1.0)
        for cost in costs
    ) * (count or 1)
