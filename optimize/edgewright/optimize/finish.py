"""The end of a run: golden vectors, the manifest with every figure, the report, and the files, all or none."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Calibration, Precision, Provenance
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.optimize.candidate import golden_vectors, shrink
from edgewright.optimize.evaluate.quality import FLOAT
from edgewright.optimize.recipe import recipe_text
from edgewright.optimize.report.data import ReportInput, build_report
from edgewright.optimize.report.write import report_payload, staged_report
from edgewright.optimize.request import OptimizeResult
from edgewright.optimize.speed import latency_of
from edgewright.runtime.session import open_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgewright.bundle.manifest import Golden, Metric, Variant
    from edgewright.optimize.candidate import Candidate
    from edgewright.optimize.judge import Judgement
    from edgewright.optimize.progress import Progress
    from edgewright.optimize.report.story import Story
    from edgewright.optimize.request import OptimizeRequest
    from edgewright.optimize.roles import Roles
    from edgewright.optimize.shipping import Choice
    from edgewright.optimize.sources import FloatModel

__all__ = ["Outcome", "finish", "provenance_of"]

_TOOLS = ("edgewright", "numpy", "onnx", "onnxruntime", "opencv-python-headless", "pycocotools", "scipy")


@dataclass(frozen=True, eq=False)
class Outcome:
    """Everything that the bundle and the report are made of.

    Attributes:
        candidate: All forms of the model.
        choice: Which of them is shipped, and which was judged.
        judgement: What was measured of that one.
        story: How it came about, for the report.
        roles: The pictures.
        method: How the ranges of the integer forms were set.
        recipe: The settings that make the result again.
        notes: What the user should know, in order.
        foreign: Whether the board has another kind of processor than this machine.
    """

    candidate: Candidate
    choice: Choice
    judgement: Judgement
    story: Story
    roles: Roles
    method: str
    recipe: Mapping[str, Any]
    notes: tuple[str, ...]
    foreign: bool = False


def finish(request: OptimizeRequest, draft: Path, outcome: Outcome, progress: Progress) -> OptimizeResult:
    """Writes the bundle and its report.

    Args:
        request: What was asked for.
        draft: Bundle with all forms, unjudged.
        outcome: What came of it.
        progress: Where stages are announced.

    Raises:
        OutputError: Something cannot be written; then nothing is.
    """
    judgement, choice = outcome.judgement, outcome.choice
    shipped = outcome.candidate.only(choice.name, *((FLOAT,) if request.keep_float else ()))
    golden_data, golden = _golden(draft, shipped, judgement)
    notes = [*outcome.notes, *_size_notes(outcome), *judgement.notes]
    for note in notes[len(outcome.notes) :]:
        progress.note(note)
    calibrated = outcome.roles.calibrated
    provenance = provenance_of(request, outcome.candidate.source, judgement.verdict.status.value)
    manifest = dataclasses.replace(
        shipped.manifest(tuple(_timed(variant, judgement) for variant in shipped.variants()), provenance),
        calibration=Calibration(calibrated.digest, calibrated.count, outcome.method, calibrated.source),
        # Figures of a form that is not in the bundle would mislead whoever reads them there.
        metrics=tuple(row for row in _metrics(judgement) if row.variant in {FLOAT, choice.name}),
        golden=golden,
    )
    with progress.stage("draw the report and write the bundle"):
        given = ReportInput(
            manifest, judgement, outcome.candidate, choice, outcome.story, tuple(notes), outcome.foreign
        )
        report = build_report(given)
        payload = shipped.payload() | {golden.file: golden_data, **report_payload(report)}
        # Both or neither: the report waits beside its place until the bundle stands.
        recipe = {"recipe.toml": recipe_text(outcome.recipe).encode()}
        with staged_report(report, request.report_folder, beside=recipe) as files:
            written = write_bundle(request.output, manifest, payload)
    beside = tuple(request.report_folder / name for name in recipe)
    return OptimizeResult(request.output, written, judgement.verdict, report.data, (*files, *beside))


def provenance_of(request: OptimizeRequest, source: FloatModel, verdict: str) -> Provenance:
    """Where the bundle came from.

    Args:
        request: What was asked for.
        source: The model.
        verdict: Of the contract.
    """
    installed = {package: _version(package) for package in _TOOLS}
    tools = {**source.tools, **{package: version for package, version in installed.items() if version is not None}}
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Provenance(source.source, source.source_sha256, dict(request.recipe), tools, created, verdict)


def _golden(draft: Path, shipped: Candidate, judgement: Judgement) -> tuple[bytes, Golden]:
    frames = [shrink(sample.image) for sample in judgement.golden]
    with open_bundle(draft) as bundle:
        # One thread, whatever was timed: `verify` repeats these on boards of any size.
        sessions = {form.name: open_session(bundle, form.name, 1) for form in shipped.forms}
    return golden_vectors(frames, sessions, {f.name for f in shipped.forms if f.precision is not Precision.FLOAT32})


def _metrics(judgement: Judgement) -> Sequence[Metric]:
    labelled = judgement.labelled.metrics if judgement.labelled is not None else ()
    return (*labelled, *judgement.agreement.metrics)


def _size_notes(outcome: Outcome) -> Sequence[str]:
    size = len(outcome.candidate.form(outcome.choice.judged).model)
    if size >= len(outcome.candidate.form(FLOAT).model):
        return ("the INT8 file is no smaller than the float one: too little of the model could be quantized",)
    return ()


def _timed(variant: Variant, judgement: Judgement) -> Variant:
    timed = {row.variant for row in judgement.bench.variants}
    if variant.name not in timed:
        return variant
    return dataclasses.replace(variant, latency=(latency_of(judgement.bench, variant.name),))


def _version(package: str) -> Any:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
