"""How long the training steps of a recipe would take: told before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.compression.steps import DistilStep, PruneStep, QatWhen
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.sources.factory import is_factory_reference
from edgewright.optimize.steps import Workload

if TYPE_CHECKING:
    from edgewright.optimize.compression.steps import Compression, Step

__all__ = ["planned_trainings"]

# In float inferences a picture; from trainings of the residual network and the person detector on one thread.
_TRAINED, _TEACHER, _AWARE = 8.0, 3.0, 16.0
_UNKNOWN = 1000
_EXPORT_SECONDS = 10.0


def planned_trainings(compression: Compression) -> tuple[Workload, ...]:
    """A row for each step.

    Args:
        compression: What would be trained.

    Raises:
        DataError: The training pictures cannot be opened.
    """
    source = compression.data.source
    known = None if is_factory_reference(source) else open_samples(source).estimate()
    count = _UNKNOWN if known is None else known
    rows = [_row(step, count) for step in compression.steps]
    if compression.qat.when is not QatWhen.NEVER:
        seen = round(count * compression.qat.settings.train.epochs)
        when = "" if compression.qat.when is QatWhen.ALWAYS else ", where it is needed"
        rows.append(Workload("qat", f"train with simulated integers{when}", seen, _AWARE, models=8.0, activations=64.0))
    return tuple(rows)


def _row(step: Step, count: int) -> Workload:
    epochs = step.train.epochs
    title = "tune the network"
    if isinstance(step, PruneStep):
        epochs += (step.prune.rounds - 1) * step.between
        title = f"prune to {step.prune.target.share:.0%} of its {step.prune.target.kind.value}, and tune"
    elif isinstance(step, DistilStep):
        title = "teach a student"
    taught = _TEACHER if step.terms.teacher or step.terms.features else 0.0
    seen = round(count * epochs)
    # Weights, gradients, two moments, a mean, the best and the teacher; activations of a batch are kept for the way back.
    batch = float(step.train.batch)
    return Workload(step.label, title, seen, _TRAINED + taught, _EXPORT_SECONDS, models=8.0, activations=batch)
