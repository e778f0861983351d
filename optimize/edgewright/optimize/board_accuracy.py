"""Judges the answers that a board gave: how much of a model's accuracy is lost on that board.

The workstation sends pictures, the board runs its own ``Session`` over them and sends its answers back. They are held
against labels, paired with the answers of the bundle's float variant on this workstation (of the same variant where the
bundle carries no float one), by the judge that judged the bundle itself. Without labels, the agreement is measured.

Pictures go in batches, so that neither machine holds more than some of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.manifest import ClassifyDecode, SsdDecode, Task
from edgewright.optimize.data.digest import DatasetDigest, frame_digest
from edgewright.optimize.data.labels import labelled_samples, load_box_labels, load_class_labels
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.errors import DataError, LabelsError
from edgewright.optimize.evaluate.observe import CURVE_THRESHOLD, Observation, Seen
from edgewright.optimize.evaluate.quality import FLOAT, INT8, agreement_quality, labelled_quality
from edgewright.runtime.candidates import read_candidate, without_engine
from edgewright.runtime.results.schema import BoardAccuracy, Figure
from edgewright.runtime.session import open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Manifest
    from edgewright.bundle.reader import Bundle
    from edgewright.optimize.data.labels import LabelledFrame
    from edgewright.optimize.data.samples import Sample, SampleSource
    from edgewright.optimize.evaluate.coco import GroundTruth
    from edgewright.optimize.evaluate.quality import Quality
    from edgewright.runtime.results.answers import Answer
    from edgewright.runtime.session import Session

__all__ = ["AskBoard", "BoardPictures", "judge_board"]

_BATCH_BYTES = 64 << 20
_BATCH_PICTURES = 1000

if TYPE_CHECKING:
    AskBoard = Callable[[Sequence[NDArray[np.uint8]]], Mapping[str, Sequence[Answer]]]


@dataclass(frozen=True)
class BoardPictures:
    """What the board is asked about.

    Attributes:
        images: Source of pictures, as ``optimize --images`` takes it; None takes the folder of ``labels``.
        labels: Label file or folder; None measures agreement.
        metric: For detectors, the AP that the drop is about: ``ap50`` or ``ap``.
    """

    images: str | None
    labels: Path | None = None
    metric: str = "ap50"


def judge_board(
    bundle: Bundle, candidates: Sequence[str], pictures: BoardPictures, ask: AskBoard
) -> tuple[BoardAccuracy, ...]:
    """Asks the board about every picture and judges what it says.

    Args:
        bundle: Opened; the board has the same one.
        candidates: What the board runs: ``VARIANT`` or ``VARIANT@BACKEND`` each.
        pictures: Which pictures.
        ask: Sends pictures (H, W, 3) uint8 BGR to the board and gives its answers by candidate, one a picture.

    Raises:
        DataError: Pictures cannot be used.
        LabelsError: The labels cannot, or belong to other pictures.
        MissingExtraError: This workstation has no engine for the reference.
    """
    source, rows = _rows(bundle.manifest, pictures)
    threshold = CURVE_THRESHOLD if isinstance(bundle.manifest.decode, SsdDecode) else None
    references = _references(bundle.manifest, candidates)
    sessions = {name: open_session(bundle, name, threads=1) for name in dict.fromkeys(references.values())}
    try:
        found = _observed(rows, references, sessions, ask, threshold)
    finally:
        for session in sessions.values():
            session.close()
    if not found.truth:
        msg = f"{source.expression} gives no pictures to ask the board about"
        raise DataError(msg)
    return tuple(
        _accuracy(
            name,
            f"{references[name]} on this workstation",
            found.quality(name, source, bundle.manifest, pictures),
            source,
        )
        for name in candidates
    )


@dataclass(frozen=True, eq=False)
class _Found:
    seen: dict[str, list[Seen]]
    truth: list[GroundTruth | int | None]
    digest: str

    def quality(self, name: str, source: SampleSource, manifest: Manifest, pictures: BoardPictures) -> Quality:
        decode = manifest.decode
        threshold = decode.score_threshold if isinstance(decode, SsdDecode) else None
        seen = Observation(tuple(self.seen[name]), self.digest, source.spacing_s, source.title)
        if pictures.labels is None:
            return agreement_quality(seen, threshold)
        truth = [label for label in self.truth if label is not None]
        classes = len(manifest.labels) or None if isinstance(decode, ClassifyDecode) else None
        return labelled_quality(seen, truth, pictures.metric, threshold, classes)


def _rows(
    manifest: Manifest, pictures: BoardPictures
) -> tuple[SampleSource, Iterator[tuple[Sample, LabelledFrame | None]]]:
    labels, images = pictures.labels, pictures.images
    if labels is None:
        if images is None:
            msg = "a board is asked about pictures: give --images, and --labels to know what is right"
            raise DataError(msg)
        source = open_samples(images)
        return source, ((sample, None) for sample in source)
    known = (load_box_labels if manifest.task is Task.DETECT else load_class_labels)(labels, manifest.labels)
    if images is None and labels.is_dir():
        images = str(labels)
    if images is None:
        msg = f"--labels {labels} needs --images: the folder or video that was labelled"
        raise LabelsError(msg)
    source = open_samples(images)
    return source, iter(labelled_samples(known, source))


def _references(manifest: Manifest, candidates: Sequence[str]) -> dict[str, str]:
    """By candidate, the variant that it is held against: a float one that has an engine here, else itself."""
    missing = without_engine(manifest.variants)
    floats = [row for row in manifest.variants if row.precision.value.startswith("float") and row.name not in missing]
    own = {row.name: row.format for row in manifest.variants}
    found = {}
    for name in candidates:
        variant = read_candidate(name).variant
        like = [row.name for row in floats if row.format is own[variant]]
        found[name] = (like or [row.name for row in floats] or [variant])[0]
    return found


def _observed(
    rows: Iterator[tuple[Sample, LabelledFrame | None]],
    references: Mapping[str, str],
    sessions: Mapping[str, Session],
    ask: AskBoard,
    threshold: float | None,
) -> _Found:
    digest, known = DatasetDigest(), set[bytes]()
    seen: dict[str, list[Seen]] = {name: [] for name in references}
    truth: list[GroundTruth | int | None] = []
    for batch in _batches(rows):
        fresh = []
        for sample, frame in batch:
            pixels = frame_digest(sample.image)
            if pixels in known:  # a copy would count twice
                continue
            known.add(pixels)
            digest.add(pixels, b"" if frame is None else frame.content)
            truth.append(None if frame is None else frame.truth)
            fresh.append(sample)
        if not fresh:
            continue
        said = ask([sample.image for sample in fresh])
        missing = [name for name in references if len(said.get(name, ())) != len(fresh)]
        if missing:
            msg = f"the board gave no answer of {missing[0]} for each of {len(fresh)} pictures; measure again"
            raise DataError(msg)
        here = {
            name: [session.infer(sample.image, score_threshold=threshold) for sample in fresh]
            for name, session in sessions.items()
        }
        for name in references:
            for number, sample in enumerate(fresh):
                seen[name].append(Seen(sample.index, sample.name, here[references[name]][number], said[name][number]))
    return _Found(seen, truth, digest.hexdigest())


def _batches(
    rows: Iterator[tuple[Sample, LabelledFrame | None]],
) -> Iterator[list[tuple[Sample, LabelledFrame | None]]]:
    batch: list[tuple[Sample, LabelledFrame | None]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += row[0].image.nbytes
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_PICTURES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _accuracy(name: str, reference: str, quality: Quality, source: SampleSource) -> BoardAccuracy:
    metric = str(quality.details["headline"])
    rows = {row.variant: row for row in quality.metrics if row.name == metric}
    lost, board = quality.headline, rows.get(INT8)
    if lost is None or board is None:
        msg = f"{reference} saw nothing in {source.title}, so nothing can be said of the board; give other pictures"
        raise DataError(msg)
    float_ = rows.get(FLOAT)
    drop = Figure(lost.value, lost.low, lost.high, lost.samples)
    if float_ is None:  # agreement: what is not kept is lost
        drop = Figure(100 - lost.value, 100 - lost.high, 100 - lost.low, lost.samples)
    return BoardAccuracy(
        variant=name,
        metric=metric,
        title=quality.title,
        reference=reference,
        board=Figure(board.value, board.low, board.high, board.samples),
        reference_value=None if float_ is None else float_.value,
        drop=drop,
        source=source.title,
        doubt=quality.doubt,
    )
