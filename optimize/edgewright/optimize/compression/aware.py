"""Quantization-aware training as the last resort of the chain: offered where the contract would be missed without it."""

from __future__ import annotations

import dataclasses
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.chain.goal import standing_of
from edgewright.optimize.chain.mixed import OUT_OF_TIME
from edgewright.optimize.chain.trial import Trial
from edgewright.optimize.compression.steps import QatWhen
from edgewright.optimize.errors import OptimizeError
from edgewright.optimize.qat.train import QatStart, train_quantized
from edgewright.optimize.selection import improves
from edgewright.optimize.spec import SourceModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgewright.optimize.chain.run import ChainResult, State
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.compression.learning import Learning
    from edgewright.optimize.compression.steps import Compression
    from edgewright.optimize.contract import Contract

__all__ = ["QAT", "train_aware"]

QAT = "qat"
"""Name of the step among what was tried."""


def train_aware(
    chained: ChainResult,
    bench: Workbench,
    compression: Compression,
    contract: Contract,
    learn: Callable[[SourceModel], Learning],
) -> ChainResult:
    """Trains the chain's best candidate with simulated integers, and keeps the result where it helps.

    Args:
        chained: What the chain came to.
        bench: Runs candidates on the selection pictures.
        compression: When to train, and how.
        contract: What must be met.
        learn: Opens the training pictures for a network.

    Returns:
        The same, with one more trial and perhaps another candidate in front.

    Raises:
        OptimizeError: It was asked for always, and cannot be done: the graph holds what cannot be trained, there are no
            pictures to choose weights by, or the training cannot go on. Where it was to help only if needed, the run
            ends with what there is, and says so.
        MissingExtraError: Likewise; PyTorch is not installed.
    """
    choice = compression.qat
    if choice.when is QatWhen.NEVER:
        return chained
    best = chained.best
    reason = None if choice.when is QatWhen.ALWAYS else _idle(bench, best, contract)
    if reason is None and bench.deadline.passed:
        reason = OUT_OF_TIME
    if reason is not None:
        bench.progress.note(f"--qat {choice.when.value}: {reason}; not trained")
        return _with(chained, Trial(QAT, kept=False, why=f"not trained: {reason}"))
    started = time.monotonic()
    try:
        with bench.progress.stage("quantization-aware training"):
            new, told, training = _trained(best, bench, compression, learn)
    except (OptimizeError, MissingExtraError) as error:
        if choice.when is QatWhen.ALWAYS:
            raise
        why = f"not trained to the end: {error}"
        bench.progress.note(f"quantization-aware training: {why}; the candidate from before it is kept")
        return _with(chained, Trial(QAT, kept=False, why=why, seconds=time.monotonic() - started))
    comparison = improves(best.losses, new.losses, bench.selection.block)
    kept = comparison.accepted or choice.when is QatWhen.ALWAYS
    forced = "" if comparison.accepted or not kept else ", kept as it was asked for always"
    trial = Trial(
        QAT,
        kept=kept,
        why=f"{comparison.sentence}{forced}; {told}",
        loss=comparison.new,
        before=comparison.old,
        seconds=time.monotonic() - started,
        bytes=len(new.graph.model),
    )
    row = {"label": QAT, "sentence": trial.why, **training}
    found = _with(chained, trial)
    details = {**found.details, "training": [row]}
    return dataclasses.replace(found, best=new if kept else best, details=details)


def _idle(bench: Workbench, best: State, contract: Contract) -> str | None:
    """Why nothing needs to be trained; None where the contract would be missed."""
    if contract.max_drop is None and contract.min_agreement is None:
        return "nothing of accuracy is promised (--max-drop, --min-agreement), so nothing can be missed"
    standing = standing_of(contract, bench, best.graph)
    if standing is None:
        return "the selection pictures cannot tell of what is promised (--max-drop, --min-agreement)"
    return f"the contract is met without it: {standing.sentence}" if standing.met else None


def _trained(
    best: State, bench: Workbench, compression: Compression, learn: Callable[[SourceModel], Learning]
) -> tuple[State, str, Mapping[str, Any]]:
    """The candidate after training, what is told of it in a line, and what the report has of it."""
    if find_spec("torch") is None:
        what = "PyTorch, which quantization-aware training needs, is not installed"
        raise MissingExtraError(what, "torch")
    from edgewright.optimize.qat.build import float_network

    reference = float_network(best.model)
    names = tuple(reference.output_names)
    network = SourceModel(reference, bench.spec, names)
    learning = learn(network)
    start = QatStart(best.model, best.ranges, best.graph, best.keep_float, bench.scheme)
    result = train_quantized(
        start,
        learning.pictures,
        compression.qat.settings,
        decode=bench.spec.decode,
        evaluate=learning.metric(network),
        extra=learning.describe(),
        folder=compression.checkpoints,
        progress=bench.progress,
    )
    state = dataclasses.replace(
        best,
        model=result.model,
        ranges=result.ranges,
        graph=result.graph,
        losses=bench.losses(result.graph),
        passes=(*best.passes, QAT),
        uncorrected=None,
        by_passes=False,
        untrained=best,
    )
    for note in result.notes:
        bench.progress.note(f"quantization-aware training: {note}")
    same = ", ".join(f"{share:.2%} of the answers of {name}" for name, share in result.agreement.same_top.items())
    agreed = (f"simulation and file agree on {same}",) if same else ()
    notes = (*result.notes, *learning.notes)
    told = "; ".join((f"{result.trained.steps} steps", *agreed, *notes))
    # A training's own notes were told while it ran; they name folders, which a report that travels does not.
    trainings = [{**result.trained.to_json(), "notes": []}]
    settings = compression.qat.settings.to_json()
    return state, told, {"notes": list(notes), "failures": [], "settings": settings, "trainings": trainings}


def _with(chained: ChainResult, trial: Trial) -> ChainResult:
    return dataclasses.replace(chained, trials=(*chained.trials, trial))
