"""One judge for all files: fidelity on pictures that nothing else saw, and times in alternating processes."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from bench_quantize.engines import Candidate
from bench_quantize.prepare import Prepared, pictures_of
from edgewright.bundle.arrays import npy_bytes
from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.manifest import Format, Manifest, Precision, Provenance, SsdDecode, Task, Variant
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.optimize.data.labels import labelled_samples, load_box_labels, load_class_labels
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.evaluate.accuracy import compare_accuracy
from edgewright.optimize.evaluate.agreement import box_agreement, top_agreement
from edgewright.optimize.evaluate.coco import GroundTruth, compare_precision
from edgewright.optimize.evaluate.intervals import measured_ratio
from edgewright.optimize.evaluate.observe import CURVE_THRESHOLD, Observation, Seen
from edgewright.runtime.bench import BenchReport, BenchSettings, time_variants
from edgewright.runtime.bench_ratio import ratio_of
from edgewright.runtime.session import Session, open_session
from edgewright.runtime.types import Classification, Detections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from edgewright.optimize.contract import Measured
    from edgewright.optimize.data.samples import Sample

__all__ = ["FLOAT", "NAIVE", "Judge", "baselines", "time_all", "write_draft"]

FLOAT = "float"
NAIVE = "float-naive"
_TIMED_PICTURES = 8


@dataclass(frozen=True, eq=False)
class _Looked:
    """What one model said about pictures."""

    indices: tuple[int, ...]
    answers: tuple[Detections | Classification, ...]
    scores: tuple[NDArray[np.float32], ...]


def baselines(prepared: Prepared) -> dict[str, Candidate]:
    """The float graph, folded and as exported."""
    source = prepared.source
    return {
        FLOAT: Candidate(prepared.prepared, "folded", source.inputs, source.outputs),
        NAIVE: Candidate(prepared.naive, "as exported", source.inputs, source.outputs),
    }


def write_draft(target: Path, prepared: Prepared, candidates: Mapping[str, Candidate]) -> None:
    """A bundle of all candidates, so that they run through the device's code path.

    Args:
        target: Folder to write.
        prepared: Whose they are.
        candidates: By name; the float graph is among them.
    """
    spec = prepared.source.spec
    variants, payload = [], {path: npy_bytes(array) for path, array in spec.arrays.items()}
    for name, made in candidates.items():
        file = f"models/{name}.onnx"
        payload[file] = made.model
        precision = Precision.FLOAT32 if name in (FLOAT, NAIVE) else Precision.INT8
        size, digest = len(made.model), sha256_hex(made.model)
        variants.append(
            Variant(name, Format.ONNX, precision, file, size, digest, made.inputs, made.outputs, made.options)
        )
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    provenance = Provenance(prepared.source.source, prepared.source.source_sha256, {}, {}, created, "UNJUDGED")
    manifest = Manifest(
        name=spec.name,
        version="bench",
        task=spec.task,
        variants=tuple(variants),
        preprocess=spec.preprocess,
        decode=spec.decode,
        labels=spec.labels,
        provenance=provenance,
        files=(),
    )
    write_bundle(target, manifest, payload)


@dataclass(eq=False)
class Judge:
    """Judges candidates of one subject against its float graph, which is looked at once."""

    prepared: Prepared
    _float: dict[tuple[str, int], _Looked] = field(default_factory=dict)
    _total: dict[str, int] = field(default_factory=dict)

    def fidelity(self, candidate: Candidate, role: str, most: int | None = None) -> dict[str, Any]:
        """Agreement with float.

        Args:
            candidate: The file.
            role: ``select`` or ``report``.
            most: At most so many pictures, evenly spread.

        Returns:
            Figure name to [value, low, high], or to a count; ``headline`` is the share that ranks candidates.
        """
        pictures = self._pictures(role, most)
        float_, theirs = self._float_on(role, pictures), self._look(candidate, pictures)
        block = self._block(role, float_, theirs, self._total[role] / len(pictures))
        if isinstance(self.prepared.source.spec.decode, SsdDecode):
            return _boxes(float_, theirs, self.prepared.source.spec.decode.score_threshold, block)
        return _classes(float_, theirs, block)

    def accuracy(self, candidate: Candidate) -> dict[str, Any]:
        """Against labels; empty where there are none."""
        subject, spec = self.prepared.subject, self.prepared.source.spec
        if subject.labels is None or subject.images is None:
            return {}
        load = load_box_labels if spec.task is Task.DETECT else load_class_labels
        rows = list(labelled_samples(load(subject.labels, spec.labels), open_samples(subject.images)))
        truth, pictures = [frame.truth for _, frame in rows], [sample for sample, _ in rows]
        float_, theirs = self._float_on("labelled", pictures), self._look(candidate, pictures)
        if spec.task is Task.DETECT:
            boxes = [frame for frame in truth if isinstance(frame, GroundTruth)]
            block = _observation(float_, theirs, open_samples(subject.images).spacing_s).block
            pair = compare_precision(boxes, _found(float_), _found(theirs), block=block)
            return {"ap50": _row(pair.int8.ap50), "ap50_float": _row(pair.float_.ap50), "drop": _row(pair.drop.ap50)}
        classes = [frame for frame in truth if isinstance(frame, int)]
        top = compare_accuracy(classes, _classified(float_), _classified(theirs))
        return {"top1": _row(top.int8), "top1_float": _row(top.float_), "drop": _row(top.drop)}

    def timed_pictures(self) -> list[NDArray[np.uint8]]:
        """Report pictures, evenly spread, of one size."""
        pictures = self._pictures("report", _TIMED_PICTURES)
        return [picture.image for picture in pictures]

    def _float_on(self, role: str, pictures: list[Sample]) -> _Looked:
        key = (role, len(pictures))
        if key not in self._float:
            self._float[key] = self._look(baselines(self.prepared)[FLOAT], pictures)
        return self._float[key]

    def _all(self, role: str) -> list[Sample]:
        return list(pictures_of(getattr(self.prepared.subject, role), self.prepared.reserved))

    def _pictures(self, role: str, most: int | None) -> list[Sample]:
        pictures = self._all(role)
        self._total[role] = len(pictures)
        if most is None or len(pictures) <= most:
            return pictures
        return [pictures[int((2 * k + 1) * len(pictures) / (2 * most))] for k in range(most)]

    def _block(self, role: str, float_: _Looked, theirs: _Looked, thinned: float) -> int:
        subject = self.prepared.subject
        if subject.block is not None:
            return max(1, round(subject.block / thinned))  # so many of one photograph are left
        return _observation(float_, theirs, open_samples(getattr(subject, role)).spacing_s).block

    def _look(self, candidate: Candidate, pictures: Iterable[Sample]) -> _Looked:
        draft = self.prepared.folder / "draft"
        write_draft(draft, self.prepared, {"candidate": candidate})
        with open_bundle(draft) as opened:
            session = open_session(opened, "candidate", 1)
        decode = self.prepared.source.spec.decode
        threshold = CURVE_THRESHOLD if isinstance(decode, SsdDecode) else None
        seen = [(sample.index, *_answer(session, sample.image, decode.scores, threshold)) for sample in pictures]
        return _Looked(tuple(row[0] for row in seen), tuple(row[1] for row in seen), tuple(row[2] for row in seen))


def _answer(
    session: Session, image: NDArray[np.uint8], scores: str, threshold: float | None
) -> tuple[Detections | Classification, NDArray[np.float32]]:
    answer = session.infer(image, score_threshold=threshold)
    if threshold is not None:
        return answer, np.zeros(0, np.float32)
    return answer, np.asarray(session.raw(image)[scores], np.float32).ravel()


def _observation(float_: _Looked, theirs: _Looked, spacing_s: float | None) -> Observation:
    rows = zip(float_.indices, float_.answers, theirs.answers, strict=True)
    return Observation(tuple(Seen(index, "", a, b) for index, a, b in rows), "", spacing_s, "")


def _found(looked: _Looked) -> list[Detections]:
    return [answer for answer in looked.answers if isinstance(answer, Detections)]


def _classified(looked: _Looked) -> list[Classification]:
    return [answer for answer in looked.answers if isinstance(answer, Classification)]


def _row(figure: Measured | None) -> list[float] | None:
    return None if figure is None else [figure.value, figure.low, figure.high]


def _boxes(float_: _Looked, theirs: _Looked, threshold: float, block: int) -> dict[str, Any]:
    agreed = box_agreement(_found(float_), _found(theirs), threshold, block=block)
    both = np.array([2.0 * match.kept for match in agreed.per_frame])
    all_ = np.array([float(match.float_boxes + match.int8_boxes) for match in agreed.per_frame])
    return {
        # Kept boxes alone would praise a model that sees boxes everywhere: F1 counts missed and extra ones.
        "headline": _row(measured_ratio(both, all_, block=block)),
        "kept": _row(agreed.kept),
        "float_boxes": agreed.float_boxes,
        "kept_boxes": agreed.kept_boxes,
        "extra_boxes": agreed.extra_boxes,
        "agreement_ap50": _row(agreed.agreement_ap50),
        "score_rmse": _row(agreed.score_rmse),
        "pictures": agreed.frames,
    }


def _classes(float_: _Looked, theirs: _Looked, block: int) -> dict[str, Any]:
    agreed = top_agreement(_classified(float_), _classified(theirs), block=block)
    cosines = np.array([_cosine(a, b) for a, b in zip(float_.scores, theirs.scores, strict=True)])
    cosine = measured_ratio(cosines, np.ones(len(cosines)), block=block)
    return {"headline": _row(agreed.share), "top1_agreement": _row(agreed.share), "cosine": _row(cosine)} | {
        "differing": len(agreed.differing),
        "pictures": agreed.frames,
    }


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    lengths = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    return float(first @ second) / max(lengths, 1e-12)


def time_all(
    draft: Path,
    names: list[str],
    frames: list[NDArray[np.uint8]],
    settings: BenchSettings,
    on_block: Callable[[int, int], None],
) -> dict[str, Any]:
    """Frame to answer, each candidate in a process of its own, all taking turns.

    Args:
        draft: Bundle with all of them, ``FLOAT`` and ``NAIVE`` among them.
        names: Of the variants.
        frames: Pictures that go round.
        settings: How long, how many threads.
        on_block: Told how far it is.

    Returns:
        Name to milliseconds, and ratios [value, low, high] against both float graphs; and the conditions.
    """
    report = time_variants(draft, names, frames, settings, baseline=FLOAT, on_block=on_block)
    medians = {row.variant: _medians(row.totals_ms, settings.frames_per_block) for row in report.variants}
    rows = {row.variant: _timed(row.variant, report, medians) for row in report.variants}
    told = report.conditions
    conditions = {"machine": str(told.machine), "engine": told.engine, "load": [told.load_before, told.load_after]}
    return {"threads": settings.threads, "rows": rows, "conditions": conditions}


def _timed(name: str, report: BenchReport, medians: Mapping[str, list[float]]) -> dict[str, Any]:
    times = next(row for row in report.variants if row.variant == name)
    against = {base: ratio_of(base, name, medians) for base in (FLOAT, NAIVE) if base != name}
    return {
        "p50_ms": times.stages["total"].p50,
        "inference_ms": times.stages["inference"].p50,
        "peak_memory_bytes": times.peak_memory_bytes,
        **{f"against_{base}": [ratio.value, ratio.low, ratio.high] for base, ratio in against.items()},
    }


def _medians(totals: tuple[float, ...], block: int) -> list[float]:
    return [statistics.median(totals[k : k + block]) for k in range(0, len(totals), block)]
