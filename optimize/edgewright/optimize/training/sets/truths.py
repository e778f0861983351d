"""Labels of training pictures: read by the same readers as evaluation labels, and the ``labels`` of an ``.npz`` file.

Unlike an evaluation, training takes pictures without labels too, and labels of pictures that a slice leaves out are no
mistake.
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.arrays import read_npy
from edgewright.bundle.errors import IntegrityError
from edgewright.bundle.manifest import SsdDecode
from edgewright.optimize.data.arrays_source import NPZ_SUFFIX
from edgewright.optimize.data.labels import LabelledFrame, labelled_samples, load_box_labels, load_class_labels
from edgewright.optimize.data.source import Slice
from edgewright.optimize.errors import LabelsError
from edgewright.optimize.training.sets.watched import Watched
from edgewright.optimize.training.types import Boxes
from edgewright.runtime.preprocess import Placement  # noqa: TC001 - a public signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgewright.optimize.data.labels import BoxLabels, ClassLabels
    from edgewright.optimize.data.source import Sample, SampleSource
    from edgewright.optimize.evaluate.coco import GroundTruth
    from edgewright.optimize.spec import ModelSpec

__all__ = ["LEAST_VISIBLE", "Truth", "check_labels", "network_boxes", "npz_labels", "transformed", "walk_labelled"]

LEAST_VISIBLE = 0.3
"""Objects of which less is to be seen count neither as there nor as absent."""

_MOST_LABELS = 1 << 28
_LAST_NUMBER = re.compile(r"(\d+)\D*$")

Truth = int | Boxes | None
"""A class, boxes in network fractions, or nothing known."""


@dataclass(frozen=True, eq=False)
class _File:
    """A label file with the scores that pseudo-labels carry."""

    labels: BoxLabels | ClassLabels
    scores: Mapping[str, NDArray[np.float32]]


def walk_labelled(
    source: SampleSource,
    labels: Path,
    spec: ModelSpec,
    take: Callable[[Sample], Placement | None],
) -> tuple[dict[int, Truth], list[str]]:
    """Walks all pictures once and finds the labels of those that have any.

    Args:
        source: The pictures.
        labels: COCO file, CSV, or folder of class folders.
        spec: Says whether classes or boxes are wanted, and gives the names.
        take: Told each picture; says where it lies in the network's, None where it is left out.

    Returns:
        Truth by ``Sample.index``, and notes.

    Raises:
        LabelsError: Labels are malformed, or do not belong to the pictures.
        DataError: A picture cannot be read.
    """
    file = _read(labels, spec)
    inside = _inside(file.labels, source)
    outside = len(file.labels.frames) - len(inside.frames)
    if not inside.frames:
        msg = f"none of the {outside} labelled pictures of {labels} is in {source.expression}; widen its slice"
        raise LabelsError(msg)
    placements: dict[int, Placement | None] = {}

    def watch(sample: Sample) -> None:
        placements[sample.index] = take(sample)

    watched = Watched(source, watch)
    truths: dict[int, Truth] = {}
    for sample, frame in labelled_samples(inside, watched):
        placement = placements[sample.index]
        if placement is None:
            continue
        if isinstance(frame.truth, int):
            truths[sample.index] = frame.truth
        else:
            _check_inside(str(labels), frame, placement)
            weights = file.scores.get(frame.file_name)
            truths[sample.index] = _of_ground_truth(frame.truth, weights, placement, spec)
    watched.rest()
    note = f"{outside} labelled pictures of {labels.name} lie outside the slice of {source.expression}"
    return truths, [note] if outside else []


def check_labels(path: Path, spec: ModelSpec) -> None:
    """Reads a label file for what is wrong with it, whatever the pictures are.

    Args:
        path: COCO file, CSV, or folder of class folders.
        spec: Says whether classes or boxes are wanted, and gives the names.

    Raises:
        LabelsError: It is malformed, or knows other classes than the network.
    """
    _read(path, spec)


def npz_labels(path: Path, count: int, names: Sequence[str]) -> NDArray[np.int64] | None:
    """The ``labels`` of an ``.npz`` file, one class a picture, -1 where unknown; None where it holds none.

    Args:
        path: The file.
        count: How many pictures the file holds.
        names: The model's labels.

    Raises:
        LabelsError: They are no such classes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = next((row for row in archive.infolist() if row.filename == "labels.npy"), None)
            if member is None:
                return None
            if member.file_size > _MOST_LABELS:
                msg = f"{path}: labels take {member.file_size} bytes; that is more than one number a picture"
                raise LabelsError(msg)
            with archive.open(member) as stream:
                values = read_npy(stream.read(member.file_size + 1), f"{path}: labels")
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, IntegrityError) as error:
        msg = f"{path}: its labels cannot be read: {error}; write it again with numpy.savez"
        raise LabelsError(msg) from error
    if values.dtype.kind not in "iu" or values.shape != (count,):
        msg = f"{path}: labels are {values.dtype} {values.shape}; give one whole number for each of {count} pictures"
        raise LabelsError(msg)
    found = values.astype(np.int64)
    wrong = np.flatnonzero((found < -1) | (found >= (len(names) or np.iinfo(np.int64).max)))
    if len(wrong):
        known = f"the model knows 0 to {len(names) - 1}" if names else "classes count from 0"
        msg = f"{path}: picture {wrong[0]} is labelled {found[wrong[0]]}; {known}, and -1 stands for no label"
        raise LabelsError(msg)
    return found


def network_boxes(corners: NDArray[Any], classes: NDArray[Any], weights: NDArray[Any], spec: ModelSpec) -> Boxes:
    """Boxes in network pixels, clipped to what the network sees; those out of sight are dropped, slivers weigh 0.

    Args:
        corners: (n, 4) xyxy network pixels.
        classes: (n,) class ids.
        weights: (n,).
        spec: Gives the size.
    """
    size = np.array([spec.preprocess.width, spec.preprocess.height] * 2, np.float64)
    return _clipped(corners / size, Boxes(np.zeros((0, 4), np.float32), classes, weights))


def transformed(boxes: Boxes, matrix: NDArray[np.float64], size: tuple[int, int]) -> Boxes:
    """Boxes of a distorted picture.

    Args:
        boxes: Of the picture as it was.
        matrix: (2, 3) from old to new network pixels; each axis by itself.
        size: (width, height) of the network's picture.
    """
    width, height = size
    x = boxes.corners[:, [0, 2]] * width * matrix[0, 0] + matrix[0, 2]
    y = boxes.corners[:, [1, 3]] * height * matrix[1, 1] + matrix[1, 2]
    # A mirror exchanges left and right.
    x, y = np.sort(x, axis=1) / width, np.sort(y, axis=1) / height
    return _clipped(np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1), boxes)


def _clipped(corners: NDArray[Any], boxes: Boxes) -> Boxes:
    seen = np.clip(corners, 0.0, 1.0)
    whole, left = _areas(corners), _areas(seen)
    kept = left > 0
    sliver = left < LEAST_VISIBLE * whole
    weights = np.where(sliver, 0.0, boxes.weights)
    return Boxes(
        seen[kept].astype(np.float32),
        np.asarray(boxes.classes, np.int64)[kept],
        weights[kept].astype(np.float32),
    )


def _areas(corners: NDArray[Any]) -> NDArray[Any]:
    areas: NDArray[Any] = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    return areas


def _read(path: Path, spec: ModelSpec) -> _File:
    if path.suffix.lower() == NPZ_SUFFIX:
        msg = f"{path}: labels of an .npz file go with the pictures of that file; name it as the source"
        raise LabelsError(msg)
    if not path.exists():
        msg = f"there are no labels at {path}"
        raise LabelsError(msg)
    if isinstance(spec.decode, SsdDecode):
        return _File(load_box_labels(path, spec.labels), _scores(path))
    return _File(load_class_labels(path, spec.labels), {})


def _scores(path: Path) -> dict[str, NDArray[np.float32]]:
    """By file name, how much each box counts: ``score`` of pseudo-labels, 1 where nothing is said."""
    data = json.loads(path.read_text(encoding="utf-8"))
    found: dict[Any, list[float]] = {entry["id"]: [] for entry in data["images"]}
    for number, entry in enumerate(data["annotations"]):
        score = entry.get("score", 1.0)
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0.0 <= score <= 1.0:
            msg = f"{path}: annotation {number} has the score {score!r}; it must lie between 0 and 1"
            raise LabelsError(msg)
        found[entry["image_id"]].append(float(score))
    return {str(entry["file_name"]): np.array(found[entry["id"]], np.float32) for entry in data["images"]}


def _of_ground_truth(
    truth: GroundTruth, scores: NDArray[np.float32] | None, placement: Placement, spec: ModelSpec
) -> Boxes:
    weights = np.ones(len(truth.boxes), np.float32) if scores is None else scores
    weights = np.where(truth.ignore, np.float32(0.0), weights)
    return network_boxes(placement.to_network(truth.boxes.astype(np.float32)), truth.class_ids, weights, spec)


def _check_inside(source: str, frame: LabelledFrame, placement: Placement) -> None:
    """Refuses boxes outside their picture, where the file itself did not say how large that is."""
    if isinstance(frame.truth, int) or not len(frame.truth.boxes):
        return
    slack = 1.0
    limit = np.array([placement.width, placement.height]) + slack
    wrong = np.flatnonzero((frame.truth.boxes[:, 2:] > limit).any(axis=1))
    if len(wrong):
        box = [float(number) for number in frame.truth.boxes[wrong[0]]]
        msg = (
            f"{source}: {frame.file_name} has the box {box} (x1, y1, x2, y2) outside the picture of "
            f"{placement.width}x{placement.height} pixels"
        )
        raise LabelsError(msg)


def _inside(labels: BoxLabels | ClassLabels, source: SampleSource) -> BoxLabels | ClassLabels:
    """Without the labels of pictures that the slice leaves out."""
    if source.slice == Slice() and source.wanted is None:
        return labels
    takes = source.slice.takes
    if source.consecutive:

        def wanted(name: str) -> bool:
            match = _LAST_NUMBER.search(PurePosixPath(name).stem)
            return match is None or takes(int(match.group(1)))
    else:
        left = {name for index, name in enumerate(source.names) if not takes(index)}
        left |= {PurePosixPath(name).name for name in left}

        def wanted(name: str) -> bool:
            return name not in left

    return replace(labels, frames=tuple(frame for frame in labels.frames if wanted(frame.file_name)))
