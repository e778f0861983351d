"""``edgewright optimize``: a float model goes in, a judged bundle and its report come out.

    load -> prepare the graph -> observe ranges -> quantize -> judge through ``Session`` -> bundle -> report

The bundle is written whatever the verdict, and carries it: on FAIL and INCONCLUSIVE the candidate is there to be looked
at, labelled so. Nothing is written before everything is measured.

Example:
    >>> request = OptimizeRequest(                                       # doctest: +SKIP
    ...     model="person.onnx", output=Path("person.edge"), data=DataChoice(calibrate="clip.avi#1::8"))
    >>> result = run_optimize(request)                                   # doctest: +SKIP
    >>> result.verdict.status.exit_code                                  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import OutputError
from edgewright.bundle.manifest import Calibration, Provenance, Variant
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.rules import MANIFEST_FILE
from edgewright.bundle.writer import BUNDLE_SUFFIX, write_bundle
from edgewright.optimize.calibrate import RangeCollector, RangeMethod
from edgewright.optimize.candidate import Candidate, golden_vectors, shrink
from edgewright.optimize.contract import Contract, Verdict
from edgewright.optimize.data.digest import DatasetDigest
from edgewright.optimize.data.plan import DataChoice, DataPlan, calibration_samples, open_plan
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.evaluate.observe import open_pair
from edgewright.optimize.evaluate.quality import FLOAT, INT8
from edgewright.optimize.judge import Judgement, JudgeSettings, check_contract, judge_candidate
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.progress import Progress, SilentProgress
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.optimize.report.data import ReportInput, build_report
from edgewright.optimize.report.write import report_payload, staged_report
from edgewright.optimize.sources import FloatModel, load_source
from edgewright.optimize.speed import latency_of
from edgewright.runtime.bench import BenchSettings
from edgewright.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.bundle.manifest import Golden, Manifest
    from edgewright.optimize.spec import ClassifierOptions, ModelSpec

__all__ = ["OptimizeRequest", "OptimizeResult", "run_optimize"]

_TOOLS = ("edgewright", "numpy", "onnx", "onnxruntime", "opencv-python-headless", "pycocotools", "scipy")
_FEW_PICTURES = 8
_COMPARED_PICTURES = 2


@dataclass(frozen=True, eq=False)
class OptimizeRequest:
    """What is to be done.

    Attributes:
        model: Path of an ``.onnx`` file, or ``package.module:factory``.
        output: The bundle; ``NAME.edge`` for one file, else a directory.
        data: Pictures and labels.
        weights: For a factory.
        spec: How the model is fed and read, where the source does not say.
        contract: What is promised.
        metric: For detectors, the AP that ``max_drop`` is about: ``ap50`` or ``ap``.
        method: How observed extremes become ranges.
        timing: How long and how to time; its threads are used everywhere.
        keep_float: Put the float variant into the bundle as well.
        name: Of the bundle; None takes the spec's.
        version: Of the bundle.
        report: Folder for the report; None takes the output's name with ``-report``.
        recipe: What determined the result, JSON values, for the bundle's provenance.
    """

    model: str
    output: Path
    data: DataChoice
    weights: Path | None = None
    spec: ModelSpec | ClassifierOptions | None = None
    contract: Contract = field(default_factory=Contract)
    metric: str = "ap50"
    method: RangeMethod = RangeMethod.MINMAX
    timing: BenchSettings = field(default_factory=BenchSettings)
    keep_float: bool = False
    name: str | None = None
    version: str = "1"
    report: Path | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def report_folder(self) -> Path:
        """Where the report goes."""
        return self.report or self.output.with_name(f"{self.output.stem}-report")


@dataclass(frozen=True, eq=False)
class OptimizeResult:
    """What came of it.

    Attributes:
        bundle: The bundle written.
        manifest: Its description.
        verdict: What became of the contract; ``verdict.status.exit_code`` is the command's.
        report: The report as JSON values.
        report_files: The files written for people, HTML first.
    """

    bundle: Path
    manifest: Manifest
    verdict: Verdict
    report: Mapping[str, Any]
    report_files: tuple[Path, ...]


def run_optimize(request: OptimizeRequest, progress: Progress | None = None) -> OptimizeResult:
    """Does all of it.

    Args:
        request: What is to be done.
        progress: Where stages are announced; nothing is said when None.

    Raises:
        ModelError: The model cannot be used.
        SpecError: Its description does not fit, or the contract means nothing.
        DataError: Pictures or labels cannot be used.
        JudgeError: The candidate cannot be measured.
        OutputError: The result cannot be written; nothing is.
    """
    told = progress or SilentProgress()
    _check_output(request)
    check_contract(request.contract, labelled=request.data.labels is not None)
    with _room_for_temporary_files():
        return _optimize(request, told)


def _optimize(request: OptimizeRequest, progress: Progress) -> OptimizeResult:
    source, prepared, notes = _load(request, progress)
    with progress.stage("look at the pictures"):
        plan = open_plan(request.data, source.spec.task, source.spec.labels)
    for note in plan.notes:
        progress.note(note)
    calibrated = _calibrate(request, source, prepared, plan, progress)
    with progress.stage("quantize to INT8"):
        int8 = quantize_graph(prepared, calibrated.ranges)
    candidate = Candidate(source, prepared, int8, request.name or source.spec.name, request.version)
    notes += [*plan.notes, *calibrated.notes, *int8.notes]
    with tempfile.TemporaryDirectory(prefix="edgewright-optimize-") as folder:
        draft = Path(folder) / "draft"
        manifest = candidate.manifest(candidate.variants(with_float=True), _provenance(request, source, "UNJUDGED"))
        write_bundle(draft, manifest, candidate.payload(with_float=True))
        settings = JudgeSettings(request.contract, request.metric, request.timing)
        judgement = judge_candidate(draft, plan, calibrated.digests, settings, progress)
        golden = _golden(draft, judgement, request)
    return _finish(
        request, candidate, judgement, golden=golden, calibration=calibrated.record, notes=notes, progress=progress
    )


@contextlib.contextmanager
def _room_for_temporary_files() -> Iterator[None]:
    """Says where room is missing when a library fails to write a temporary file; other failures pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            raise
        msg = (
            f"cannot write temporary files in {tempfile.gettempdir()}: {error.strerror}; make room there, or set TMPDIR "
            "to a folder that has some; nothing was written to the output"
        )
        raise OutputError(msg) from error


def _check_output(request: OptimizeRequest) -> None:
    """Refuses an output that could never be written, before minutes of work."""
    output, folder = request.output, request.report_folder
    if output.suffix == BUNDLE_SUFFIX and output.is_dir():
        msg = f"cannot write bundle {output}: a directory of that name is there; choose another name"
        raise OutputError(msg)
    if folder.exists() and not folder.is_dir():
        msg = f"cannot write the report to {folder}: a file of that name is there; choose another folder with --report"
        raise OutputError(msg)
    if output.is_dir() and not (output / MANIFEST_FILE).is_file():
        msg = f"cannot write bundle {output}: it exists and is not a bundle; remove it or choose another name"
        raise OutputError(msg)
    for target in (output, folder):
        parent = next(parent for parent in target.absolute().parents if parent.exists())
        try:
            tempfile.TemporaryFile(dir=parent).close()
        except OSError as error:
            msg = f"cannot write {target}: {error.strerror or error} ({parent}); choose another place or make room"
            raise OutputError(msg) from error


def _load(request: OptimizeRequest, progress: Progress) -> tuple[FloatModel, bytes, list[str]]:
    with progress.stage("load the model"):
        pictures = open_samples(request.data.calibrate, request.data.calibrate_every)
        images = [sample.image for sample in itertools.islice(pictures, _COMPARED_PICTURES)]
        source = load_source(request.model, weights=request.weights, spec=request.spec, images=images)
    with progress.stage("prepare the float graph"):
        prepared = prepare_graph(source.model, source.feeds)
    return source, prepared.model, [*source.notes, *prepared.notes]


@dataclass(frozen=True, eq=False)
class _Calibrated:
    ranges: Mapping[str, tuple[float, float]]
    digests: frozenset[bytes]
    record: Calibration
    notes: tuple[str, ...]


def _calibrate(
    request: OptimizeRequest, source: FloatModel, prepared: bytes, plan: DataPlan, progress: Progress
) -> _Calibrated:
    collector = RangeCollector(prepared, request.timing.threads)
    preprocessor = Preprocessor(source.spec.preprocess, source.inputs[0])
    digest, digests, notes = DatasetDigest(), set(), list[str]()
    with progress.stage("observe activation ranges", plan.calibration.estimate()) as advance:
        for sample, content in calibration_samples(plan, notes.append):
            tensor, _ = preprocessor(sample.image)
            collector.observe({source.inputs[0].name: tensor})
            digest.add(content)
            digests.add(content)
            advance(collector.samples)
    if collector.samples < _FEW_PICTURES:
        notes.append(f"only {collector.samples} calibration pictures; 20 to 50 that look like the real scene do better")
    for note in notes:
        progress.note(note)
    record = Calibration(digest.hexdigest(), collector.samples, request.method.value, plan.calibration.title)
    return _Calibrated(collector.ranges(request.method), frozenset(digests), record, tuple(notes))


def _golden(draft: Path, judgement: Judgement, request: OptimizeRequest) -> tuple[bytes, Golden]:
    frames = [shrink(sample.image) for sample in judgement.golden]
    with open_bundle(draft) as bundle:
        # One thread, whatever was timed: `verify` repeats these on boards of any size.
        pair = open_pair(bundle, FLOAT, INT8, 1)
    return golden_vectors(frames, pair, with_float=request.keep_float)


def _provenance(request: OptimizeRequest, source: FloatModel, verdict: str) -> Provenance:
    installed = {package: _version(package) for package in _TOOLS}
    tools = {**source.tools, **{package: version for package, version in installed.items() if version is not None}}
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Provenance(source.source, source.source_sha256, dict(request.recipe), tools, created, verdict)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _finish(
    request: OptimizeRequest,
    candidate: Candidate,
    judgement: Judgement,
    *,
    golden: tuple[bytes, Golden],
    calibration: Calibration,
    notes: list[str],
    progress: Progress,
) -> OptimizeResult:
    provenance = _provenance(request, candidate.source, judgement.verdict.status.value)
    variants = tuple(_timed(variant, judgement) for variant in candidate.variants(with_float=request.keep_float))
    manifest = dataclasses.replace(
        candidate.manifest(variants, provenance),
        calibration=calibration,
        metrics=(*(judgement.labelled.metrics if judgement.labelled else ()), *judgement.agreement.metrics),
        golden=golden[1],
    )
    sizes = {FLOAT: len(candidate.float_model), INT8: len(candidate.int8.model)}
    if sizes[INT8] >= sizes[FLOAT]:
        notes.append("the INT8 file is no smaller than the float one: too little of the model could be quantized")
        progress.note(notes[-1])
    for note in judgement.notes:
        progress.note(note)
    with progress.stage("draw the report and write the bundle"):
        report = build_report(ReportInput(manifest, judgement, sizes, (*notes, *judgement.notes)))
        payload = candidate.payload(with_float=request.keep_float)
        payload |= {golden[1].file: golden[0], **report_payload(report)}
        # Both or neither: the report waits beside its place until the bundle stands.
        with staged_report(report, request.report_folder) as files:
            written = write_bundle(request.output, manifest, payload)
    return OptimizeResult(request.output, written, judgement.verdict, report.data, files)


def _timed(variant: Variant, judgement: Judgement) -> Variant:
    return dataclasses.replace(variant, latency=(latency_of(judgement.bench, variant.name),))
