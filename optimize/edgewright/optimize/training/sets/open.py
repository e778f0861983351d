"""From what the user names to a training set: the one door of this package.

Sources are written as everywhere in this tool (``edgewright.optimize.data.samples``), or ``package.module:factory``.
Pictures that anything is judged on are left out by their pixels, whatever they are called and wherever they lie.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.manifest import SsdDecode
from edgewright.optimize.data.arrays_source import ArraysSource
from edgewright.optimize.data.digest import DatasetDigest, frame_digest
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.data.source import Slice
from edgewright.optimize.errors import DataError, LabelsError
from edgewright.optimize.progress import SilentProgress
from edgewright.optimize.sources.factory import is_factory_reference
from edgewright.optimize.training.sets.distort import Distort
from edgewright.optimize.training.sets.factory import call_data_factory, items
from edgewright.optimize.training.sets.pictures import Held, PictureSet
from edgewright.optimize.training.sets.prepare import Fitter
from edgewright.optimize.training.sets.store import MEMORY_BYTES, PictureStore
from edgewright.optimize.training.sets.truths import network_boxes, npz_labels, walk_labelled
from edgewright.optimize.training.types import Boxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.data.source import Sample, SampleSource
    from edgewright.optimize.progress import Advance, Progress
    from edgewright.optimize.spec import ModelSpec
    from edgewright.optimize.training.sets.factory import Item
    from edgewright.optimize.training.sets.truths import Truth
    from edgewright.optimize.training.types import TrainingSet
    from edgewright.runtime.preprocess import Placement

__all__ = ["TrainingData", "open_training_set"]

_TOLD_EVERY = 256


@dataclass(frozen=True)
class TrainingData:
    """What is trained on.

    Attributes:
        source: A folder, video or ``.npz`` file, with ``#start:stop:step`` where only a part is meant; or
            ``package.module:factory``, which returns a ``TrainingSet`` or a sequence of (image, label).
        labels: COCO file for detectors; CSV or folder of class folders for classifiers. None takes the ``labels`` of
            an ``.npz`` file, what the factory says, or trains without labels.
        distort: What happens to the pictures.
        memory_bytes: More than this and the pictures move to a temporary file.
    """

    source: str
    labels: Path | None = None
    distort: Distort = field(default_factory=Distort)
    memory_bytes: int = MEMORY_BYTES


def open_training_set(
    data: TrainingData,
    spec: ModelSpec,
    exclude: frozenset[bytes] = frozenset(),
    progress: Progress | None = None,
) -> PictureSet | TrainingSet:
    """Reads all pictures once, fits them into the network's size, and finds their labels.

    Args:
        data: What is trained on.
        spec: How pictures enter the network, and which labels it knows.
        exclude: ``frame_digest`` of pictures that are judged on; they are left out.
        progress: Where to tell of it.

    Returns:
        The set with its notes; a factory's own ``TrainingSet`` comes back as it is, nothing left out of it.

    Raises:
        DataError: Pictures cannot be read, or none are left.
        LabelsError: Labels are malformed, or do not belong to the pictures or the model.
    """
    progress = progress or SilentProgress()
    if is_factory_reference(data.source) and not Path(data.source).exists():
        return _from_factory(data, spec, exclude, progress)
    source = open_samples(data.source)
    collector = _Collector(spec, exclude, source.estimate(), data.memory_bytes)
    notes: list[str] = []
    with progress.stage(f"reading training pictures of {source.title}", source.estimate()) as advance:
        collector.advance = advance
        truths: dict[int, Truth] = {}
        if data.labels is not None:
            truths, notes = walk_labelled(source, data.labels, spec, collector.take)
        else:
            for sample in source:
                collector.take(sample)
            truths = _stacked_labels(source, collector.indices, spec)
    notes += source.notes
    return collector.finish([truths.get(index) for index in collector.indices], data, notes, source.spacing_s)


class _Collector:
    """Takes pictures one by one and becomes a ``PictureSet``."""

    def __init__(self, spec: ModelSpec, exclude: frozenset[bytes], expected: int | None, memory_bytes: int) -> None:
        pre = spec.preprocess
        self._spec, self._exclude = spec, exclude
        self._fit = Fitter(pre)
        self._store = PictureStore((3, pre.height, pre.width), expected, memory_bytes)
        self._digests: list[bytes] = []
        self._names: list[str] = []
        self._left_out = 0
        self.indices: list[int] = []
        self.advance: Advance | None = None

    def take(self, sample: Sample) -> Placement | None:
        """Keeps a picture of a source; None where it is left out."""
        placement = self.add(sample.name, sample.image)
        if placement is not None:
            self.indices.append(sample.index)
        return placement

    def add(self, name: str, image: NDArray[np.uint8]) -> Placement | None:
        """Keeps a picture; None where it is left out."""
        seen = frame_digest(image)
        if seen in self._exclude:
            self._left_out += 1
            return None
        fitted, placement = self._fit(image)
        self._store.add(fitted)
        self._digests.append(seen)
        self._names.append(name)
        if self.advance is not None and len(self._names) % _TOLD_EVERY == 0:
            self.advance(len(self._names))
        return placement

    def finish(
        self, truths: list[Truth], data: TrainingData, notes: list[str], spacing_s: float | None = None
    ) -> PictureSet:
        """The set."""
        if not self._names:
            why = f"all {self._left_out} are judged on" if self._left_out else "there are none"
            msg = f"{data.source} leaves no pictures to train on: {why}; name others"
            raise DataError(msg)
        self._store.seal()
        if self._left_out:
            notes.append(f"{self._left_out} pictures of {data.source} are judged on and were left out of training")
        if self._store.mapped:
            notes.append(f"{len(self._names)} training pictures lie in a temporary file, not in memory")
        detect = isinstance(self._spec.decode, SsdDecode)
        labelled = any(truth is not None for truth in truths)
        classes = None if detect or not labelled else np.array([_class_of(truth) for truth in truths], np.int64)
        boxes = [truth if isinstance(truth, Boxes) else None for truth in truths] if detect and labelled else None
        notes += _label_notes(self._spec, classes, boxes, len(truths))
        digest = DatasetDigest()
        for seen, truth in zip(self._digests, truths, strict=True):
            digest.add(seen, _bytes_of(truth))
        indices = np.array(self.indices, np.int64) if self.indices else None
        held = Held(
            self._store, self._names, classes, boxes, digest.hexdigest(), tuple(notes), indices, spacing_s=spacing_s
        )
        return PictureSet(held, self._spec, data.distort)


def _class_of(truth: Truth) -> int:
    return truth if isinstance(truth, int) else -1


def _bytes_of(truth: Truth) -> bytes:
    if isinstance(truth, Boxes):
        return b"boxes" + truth.corners.tobytes() + truth.classes.tobytes() + truth.weights.tobytes()
    return b"" if truth is None else b"class %d" % truth


def _stacked_labels(source: SampleSource, indices: list[int], spec: ModelSpec) -> dict[int, Truth]:
    """The ``labels`` beside the pictures of an ``.npz`` file, where there are some."""
    if not isinstance(source, ArraysSource) or isinstance(spec.decode, SsdDecode):
        return {}
    whole = ArraysSource(source.expression, source.path, Slice()).estimate() or 0
    values = npz_labels(source.path, whole, spec.labels)
    if values is None:
        return {}
    return {index: int(values[index]) for index in indices if values[index] >= 0}


def _from_factory(
    data: TrainingData, spec: ModelSpec, exclude: frozenset[bytes], progress: Progress
) -> PictureSet | TrainingSet:
    if data.labels is not None:
        msg = f"{data.source} makes pictures and labels alike; leave {data.labels} out"
        raise LabelsError(msg)
    made: Any = call_data_factory(data.source)
    if callable(getattr(made, "batch", None)) and hasattr(made, "digest") and hasattr(made, "__len__"):
        return made  # type: ignore[no-any-return]  # the protocol cannot be checked further
    total = len(made) if hasattr(made, "__len__") else None
    collector = _Collector(spec, exclude, total, data.memory_bytes)
    truths: list[Truth] = []
    with progress.stage(f"reading training pictures of {data.source}", total) as collector.advance:
        for item in items(made, data.source):
            placement = collector.add(item.name, item.image)
            if placement is not None:
                truths.append(_truth(item, placement, spec))
    return collector.finish(truths, data, [])


def _truth(item: Item, placement: Placement, spec: ModelSpec) -> Truth:
    """The label of a user's picture, checked."""
    label, detect = item.label, isinstance(spec.decode, SsdDecode)
    if label is None:
        return None
    if isinstance(label, Boxes) != detect:
        wanted = "Boxes" if detect else "a class"
        msg = f"{item.name} has a label of type {type(label).__name__}; {spec.name} learns from {wanted}"
        raise LabelsError(msg)
    if isinstance(label, Boxes):
        return _boxes(item.name, label, placement, spec)
    number = spec.labels.index(label) if isinstance(label, str) and label in spec.labels else label
    if isinstance(number, str) or not -1 <= number < (len(spec.labels) or number + 1):
        msg = f"{item.name} is labelled {label!r}, which the model does not know; its labels are {_some(spec.labels)}"
        raise LabelsError(msg)
    return None if number < 0 else number


def _boxes(name: str, label: Boxes, placement: Placement, spec: ModelSpec) -> Boxes:
    """A user's boxes, from parts of the picture to parts of what the network sees."""
    corners = np.asarray(label.corners, np.float64)
    count = len(corners)
    if corners.shape != (count, 4) or np.shape(label.classes) != (count,) or np.shape(label.weights) != (count,):
        shapes = f"corners {corners.shape}, classes {np.shape(label.classes)}, weights {np.shape(label.weights)}"
        msg = f"{name} has boxes of shapes {shapes}; give (n, 4), (n,) and (n,)"
        raise LabelsError(msg)
    slack = 0.01
    bad = ~np.isfinite(corners).all(axis=1) | (corners[:, 2:] <= corners[:, :2]).any(axis=1)
    bad |= (corners < -slack).any(axis=1) | (corners > 1 + slack).any(axis=1)
    if bad.any():
        box = [float(number) for number in corners[np.flatnonzero(bad)[0]]]
        msg = f"{name} has the box {box}; write x1 < x2 and y1 < y2 as parts of the picture's width and height, 0..1"
        raise LabelsError(msg)
    classes = np.asarray(label.classes, np.int64)
    unknown = (classes < 0) | (classes >= (len(spec.labels) or np.iinfo(np.int64).max))
    if unknown.any():
        msg = f"{name} has a box of class {classes[unknown][0]}; the model's labels are {_some(spec.labels)}"
        raise LabelsError(msg)
    pixels = corners * np.array([placement.width, placement.height] * 2)
    return network_boxes(placement.to_network(pixels.astype(np.float32)), classes, np.asarray(label.weights), spec)


def _label_notes(
    spec: ModelSpec, classes: NDArray[np.int64] | None, boxes: list[Boxes | None] | None, count: int
) -> list[str]:
    if classes is None and boxes is None:
        return [f"none of the {count} training pictures has labels"]
    if classes is not None:
        present, missing = classes[classes >= 0], int((classes < 0).sum())
    else:
        known = [row for row in boxes or () if row is not None]
        present = np.concatenate([row.classes for row in known])
        missing = count - len(known)
    notes = [f"{missing} of {count} training pictures have no labels"] if missing else []
    found = np.unique(present)
    name = dict(enumerate(spec.labels))
    never = [label for number, label in name.items() if number not in found]
    if len(found) == 1 and len(name) != 1:
        notes.append(
            f"all labels of the training pictures are of one class, {name.get(int(found[0]), int(found[0]))!r}"
        )
    elif never and len(present):
        notes.append(f"{len(never)} classes are never seen in training: {_some(never)}")
    if boxes is not None and not len(present):
        notes.append("no training picture holds an object")
    return notes


def _some(names: tuple[str, ...] | list[str]) -> str:
    most = 3
    shown = ", ".join(names[:most]) or "numbers from 0"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
