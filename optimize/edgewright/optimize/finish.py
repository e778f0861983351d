"""The end of a run: golden vectors, the manifest with every figure, the report, and the files, all or none."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Calibration, Format, Precision, Provenance
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.optimize.candidate import golden_vectors, shrink
from edgewright.optimize.contract import together
from edgewright.optimize.evaluate.quality import FLOAT
from edgewright.optimize.recipe import recipe_text
from edgewright.optimize.report.data import ReportInput, build_report
from edgewright.optimize.report.write import report_payload, staged_report
from edgewright.optimize.request import OptimizeResult
from edgewright.optimize.speed import latency_of
from edgewright.optimize.variants.form import form_name
from edgewright.runtime.backends.choice import EngineOptions
from edgewright.runtime.session import open_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgewright.bundle.manifest import Golden, Metric, Variant
    from edgewright.optimize.candidate import Candidate
    from edgewright.optimize.contract import Verdict
    from edgewright.optimize.delivery import Delivery
    from edgewright.optimize.judge import Judgement
    from edgewright.optimize.progress import Progress
    from edgewright.optimize.report.story import Story
    from edgewright.optimize.request import OptimizeRequest
    from edgewright.optimize.roles import Roles
    from edgewright.optimize.sources import FloatModel

__all__ = ["Outcome", "finish", "provenance_of"]

_PLAIN_KERNELS = EngineOptions(xnnpack=False)
_SMALL_FILE = 100_000  # bytes; above it, weights outweigh scales and further nodes
_ADDED = "what quantizing adds (scales, zero points, nodes) weighs more than what it saves in so small a file"
_TOOLS = (
    "edgewright",
    "numpy",
    "onnx",
    "onnxruntime",
    "ai-edge-litert",
    "opencv-python-headless",
    "pycocotools",
    "scipy",
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Everything that the bundle and the report are made of.

    Attributes:
        candidate: All forms of the model.
        delivered: Format by format, what is shipped and what was measured of it; a runtime takes the first.
        story: How it came about, for the report.
        roles: The pictures.
        method: How the ranges of the integer forms were set.
        recipe: The settings that make the result again.
        notes: What the user should know, in order.
        foreign: Whether the board has another kind of processor than this machine.
        route: Who wrote the TFLite files; None where there are none.
    """

    candidate: Candidate
    delivered: tuple[Delivery, ...]
    story: Story
    roles: Roles
    method: str
    recipe: Mapping[str, Any]
    notes: tuple[str, ...]
    foreign: bool = False
    route: str | None = None

    @property
    def verdict(self) -> Verdict:
        """Of the bundle: every promise holds for each of its formats."""
        return together({one.kind.value: one.judgement.verdict for one in self.delivered})


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
    delivered = outcome.delivered
    names = [one.choice.name for one in delivered]
    floats = [form_name(FLOAT, one.kind) for one in delivered] if request.keep_float else []
    shipped = outcome.candidate.only(*names, *floats)
    golden_data, golden = _golden(draft, shipped, delivered[0].judgement)
    told = [*_size_notes(outcome), *itertools.chain.from_iterable(one.judgement.notes for one in delivered)]
    notes = [*outcome.notes, *dict.fromkeys(told)]
    for note in notes[len(outcome.notes) :]:
        progress.note(note)
    calibrated = outcome.roles.calibrated
    provenance = provenance_of(request, outcome.candidate.source, outcome.verdict.status.value)
    manifest = dataclasses.replace(
        shipped.manifest(tuple(_timed(variant, delivered) for variant in shipped.variants()), provenance),
        calibration=Calibration(calibrated.digest, calibrated.count, outcome.method, calibrated.source),
        # Figures of a form that is not in the bundle would mislead whoever reads them there.
        metrics=_metrics(delivered),
        golden=golden,
    )
    with progress.stage("draw the report and write the bundle"):
        given = ReportInput(
            manifest=manifest,
            verdict=outcome.verdict,
            delivered=delivered,
            candidate=outcome.candidate,
            story=outcome.story,
            notes=tuple(notes),
            foreign=outcome.foreign,
            route=outcome.route,
        )
        report = build_report(given)
        payload = shipped.payload() | {golden.file: golden_data, **report_payload(report)}
        # Both or neither: the report waits beside its place until the bundle stands.
        recipe = {"recipe.toml": recipe_text(outcome.recipe).encode()}
        with staged_report(report, request.report_folder, beside=recipe) as files:
            written = write_bundle(request.output, manifest, payload)
    beside = tuple(request.report_folder / name for name in recipe)
    return OptimizeResult(request.output, written, outcome.verdict, report.data, (*files, *beside))


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
        # Not every device has XNNPACK for integers, and the interpreter's own kernels round otherwise.
        plain = {
            form.name: open_session(bundle, form.name, 1, options=_PLAIN_KERNELS)
            for form in shipped.forms
            if form.format is Format.TFLITE
        }
    reduced = {form.name for form in shipped.forms if form.precision is not Precision.FLOAT32}
    return golden_vectors(frames, sessions, reduced, plain)


def _metrics(delivered: Sequence[Delivery]) -> tuple[Metric, ...]:
    """Every figure once; those of a form that is not in the bundle would mislead whoever reads them there."""
    names = {FLOAT, *(one.choice.name for one in delivered)}
    rows: list[Metric] = []
    for one in delivered:
        labelled = one.judgement.labelled.metrics if one.judgement.labelled is not None else ()
        rows += [row for row in (*labelled, *one.judgement.agreement.metrics) if row.variant in names]
    return tuple({(row.name, row.variant): row for row in rows}.values())


def _size_notes(outcome: Outcome) -> Sequence[str]:
    for one in outcome.delivered:
        judged, float_ = (outcome.candidate.form(name) for name in (one.choice.judged, form_name(FLOAT, one.kind)))
        if judged.precision is Precision.INT8 and len(judged.model) >= len(float_.model):
            small = len(float_.model) < _SMALL_FILE
            why = _ADDED if small else "too little of the model could be quantized"
            return (f"the INT8 file is no smaller than the float one: {why}",)
    return ()


def _timed(variant: Variant, delivered: Sequence[Delivery]) -> Variant:
    benches = [one.judgement.bench for one in delivered]
    bench = next((bench for bench in benches if variant.name in {row.variant for row in bench.variants}), None)
    if bench is None:
        return variant
    return dataclasses.replace(variant, latency=(latency_of(bench, variant.name),))


def _version(package: str) -> Any:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
