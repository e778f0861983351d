"""What became of the network after every step, measured on the exported files in the engines that devices run."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Format, Precision
from edgewright.bundle.writer import write_bundle
from edgewright.optimize.candidate import Candidate
from edgewright.optimize.contract import Contract, Measured
from edgewright.optimize.evaluate.quality import FLOAT
from edgewright.optimize.finish import provenance_of
from edgewright.optimize.graph.cost import cost_of
from edgewright.optimize.judge import JudgeSettings, judge_candidate
from edgewright.optimize.speed import latency_of, speedup_of
from edgewright.optimize.tflite import TfliteForm, write_tflite
from edgewright.optimize.variants.form import ModelForm, form_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.optimize.compression.run import Stepped
    from edgewright.optimize.delivery import Delivery
    from edgewright.optimize.judge import Judgement
    from edgewright.optimize.progress import Progress
    from edgewright.optimize.request import OptimizeRequest
    from edgewright.optimize.roles import Roles
    from edgewright.optimize.sources import FloatModel

__all__ = ["PathRow", "Way", "measure_path"]


@dataclass(frozen=True)
class PathRow:
    """One file on the way, against the float file that the way began with.

    Attributes:
        step: After which step, ``float`` for the beginning.
        format: Of the file.
        precision: Its arithmetic.
        parameters: Weights and biases.
        macs: Multiplications and additions for one picture.
        bytes: Of the file.
        p50_ms: Median time from frame to answer.
        speedup: Float time over its time.
        accuracy: Against labels; ``metric`` says what.
        accuracy_of: The format of the file that it was measured on, where that is another one: the network that was
            given is judged once, on its ONNX file, and its TFLite file is the same network.
        metric: Such as ``top1_accuracy``; None without labels.
        drop: Points of it that were lost.
        agreement: Percent of float's answers that were kept; None where float saw nothing.
        failures: What the step promised of the file and did not keep.
    """

    step: str
    format: str
    precision: str
    parameters: int
    macs: int
    bytes: int
    p50_ms: float
    speedup: Measured | None = None
    accuracy: Measured | None = None
    accuracy_of: str | None = None
    metric: str | None = None
    drop: Measured | None = None
    agreement: Measured | None = None
    failures: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values; figures as ``[value, low, high]``, without an interval where too little was measured for one."""
        spread = {name: _spread(getattr(self, name)) for name in ("speedup", "accuracy", "drop", "agreement")}
        return {**asdict(self), **spread, "failures": list(self.failures)}


def _spread(figure: Measured | None) -> list[float | None] | None:
    if figure is None:
        return None
    return [figure.value, None, None] if figure.enough is not None else [figure.value, figure.low, figure.high]


@dataclass(frozen=True, eq=False)
class Way:
    """From the network that was given to the one that is quantized.

    Attributes:
        original: The network that the way began with.
        prepared: Its float graph.
        steps: What each step came to.
    """

    original: FloatModel
    prepared: bytes
    steps: Sequence[Stepped]

    @property
    def last(self) -> bytes:
        """The float graph at its end."""
        return self.steps[-1].prepared if self.steps else self.prepared


def measure_path(
    way: Way, delivered: Sequence[Delivery], roles: Roles, request: OptimizeRequest, progress: Progress
) -> tuple[PathRow, ...]:
    """Judges the file of every step, as the last one was, in every format of the bundle.

    Args:
        way: The float graphs.
        delivered: What was measured of the integer files at its end.
        roles: The pictures.
        request: Timing and metric.
        progress: Where stages are announced.

    Returns:
        Rows by format, in the order of the steps.

    Raises:
        JudgeError: A file cannot be measured.
    """
    forms = [form for kind in request.formats for form in _forms(kind, way)]
    baseline = ModelForm(FLOAT, way.prepared, Precision.FLOAT32)
    forms = [baseline, *(form for form in forms if form.name != FLOAT)]
    candidate = Candidate(way.original, tuple(forms), request.name or way.original.spec.name, request.version)
    with tempfile.TemporaryDirectory(prefix="edgewright-path-") as folder:
        draft = Path(folder) / "path"
        manifest = candidate.manifest(candidate.variants(), provenance_of(request, way.original, "UNJUDGED"))
        write_bundle(draft, manifest, candidate.payload())
        measuring = _Measuring(draft, candidate, way, roles, request, progress)
        return tuple(row for one in delivered for row in measuring.rows(one))


def _forms(kind: Format, way: Way) -> list[ModelForm]:
    graphs = {FLOAT: way.prepared, **{_name(number): step.prepared for number, step in enumerate(way.steps, start=1)}}
    return [_form(name, graph, kind) for name, graph in graphs.items()]


def _name(number: int) -> str:
    return f"step{number}"


def _form(name: str, graph: bytes, kind: Format) -> ModelForm:
    if kind is Format.ONNX:
        return ModelForm(name, graph, Precision.FLOAT32)
    file = write_tflite(graph, form=TfliteForm.FLOAT32)
    return ModelForm(
        form_name(name, kind),
        file.model,
        Precision.FLOAT32,
        notes=file.notes,
        inputs=file.inputs,
        outputs=file.outputs,
        format=kind,
    )


@dataclass(frozen=True, eq=False)
class _Measuring:
    draft: Path
    candidate: Candidate
    way: Way
    roles: Roles
    request: OptimizeRequest
    progress: Progress

    def rows(self, one: Delivery) -> list[PathRow]:
        """Of one format: where it began, every step, and the integer file at the end."""
        final, way = one.judgement, self.way
        baseline = form_name(FLOAT, one.kind)
        rows = [_row(FLOAT, self.candidate.form(baseline), baseline, final, way.prepared)]
        for number, step in enumerate(way.steps, start=1):
            form = self.candidate.form(form_name(_name(number), one.kind))
            row = _row(step.label, form, form.name, self._judged(form, step), step.prepared)
            rows.append(replace(row, failures=(*step.failures_of(one.kind), *_no_gain(row, step))))
        judged = next(row for row in one.rows if row.name == one.choice.judged)
        end = _row(judged.name, None, judged.name, final, way.last)
        return [*rows, replace(end, format=one.kind.value, bytes=judged.bytes, precision=judged.precision)]

    def _judged(self, form: ModelForm, step: Stepped) -> Judgement:
        request, roles = self.request, self.roles
        settings = JudgeSettings(Contract(), request.metric, request.timing, variant=form.name, baseline=form.baseline)
        with self.progress.stage(f"measure the {form.format.value} file after step {step.label}"):
            return judge_candidate(self.draft, roles.plan, roles.used, settings, self.progress)


def _no_gain(row: PathRow, step: Stepped) -> tuple[str, ...]:
    """A step that promised speed has failed unless its file is surely faster than the one that the way began with."""
    if not step.promises_speed or row.speedup is None or row.speedup.enough is not None or row.speedup.low > 1.0:
        return ()
    found = f"{row.speedup.value:.2f}x [{row.speedup.low:.2f} to {row.speedup.high:.2f}]"
    said = "is not faster" if row.speedup.high <= 1.0 else "was not shown to be faster"
    return (f"the {row.format} file {said} than float: {found}",)


def _row(step: str, form: ModelForm | None, variant: str, judgement: Judgement, graph: bytes) -> PathRow:
    cost = cost_of(graph)
    float_ = step == FLOAT
    metric, accuracy = _accuracy(judgement, FLOAT if float_ else None)
    return PathRow(
        step=step,
        format="" if form is None else form.format.value,
        precision="" if form is None else form.precision.value,
        parameters=cost.parameters,
        macs=cost.macs,
        bytes=0 if form is None else len(form.model),
        p50_ms=latency_of(judgement.bench, variant).p50_ms,
        speedup=None if float_ else speedup_of(judgement.bench, variant),
        accuracy=accuracy,
        accuracy_of=Format.ONNX.value if _borrowed(form) and accuracy is not None else None,
        metric=metric,
        drop=None if float_ or judgement.labelled is None else judgement.labelled.headline,
        agreement=None if float_ else judgement.agreement.headline,
    )


def _borrowed(form: ModelForm | None) -> bool:
    """Whether the figure is that of the float ONNX file, which every judgement begins with."""
    return form is not None and form.name == form.baseline and form.format is not Format.ONNX


def _accuracy(judgement: Judgement, variant: str | None) -> tuple[str | None, Measured | None]:
    """The figure that the drop is about, of the float model or of the one beside it."""
    if judgement.labelled is None:
        return None, None
    name = str(judgement.labelled.details["headline"])
    rows = [row for row in judgement.labelled.metrics if row.name == name]
    wanted = [row for row in rows if (row.variant == FLOAT) == (variant == FLOAT)]
    if not wanted:
        return name, None
    return name, Measured(wanted[0].value, wanted[0].low, wanted[0].high, wanted[0].samples)
