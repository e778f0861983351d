"""Labels of evaluation pictures: COCO boxes for detectors, one class a picture for classifiers.

- Boxes: a COCO JSON file. ``file_name`` is matched against the files of an image folder, or, for a video, its last
  number is the frame (``clip_000007.png`` is frame 7). Categories are matched to the model's labels by name.
- Classes: a CSV of ``file,label`` rows, or a folder with one sub-folder a class. A label is a name of the model's or
  its number.

Whatever does not fit is refused by name: a label file for other pictures would otherwise just read as a bad model.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.data.samples import picture_files
from edgewright.optimize.errors import LabelsError
from edgewright.optimize.evaluate.coco import GroundTruth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edgewright.optimize.data.samples import Sample, SampleSource

__all__ = ["BoxLabels", "ClassLabels", "LabelledFrame", "labelled_samples", "load_box_labels", "load_class_labels"]

_LAST_NUMBER = re.compile(r"(\d+)\D*$")
_SHOWN = 3
_LONGEST_NUMBER = 10


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """One labelled picture.

    Attributes:
        file_name: As the label file names it.
        size: (width, height) in pixels as labelled, None when not stated.
        truth: Its boxes, or its class id.
        content: Bytes that change when the labels do.
    """

    file_name: str
    size: tuple[int, int] | None
    truth: GroundTruth | int
    content: bytes


@dataclass(frozen=True, eq=False)
class BoxLabels:
    """Labelled boxes, by frame."""

    source: str
    frames: tuple[LabelledFrame, ...]


@dataclass(frozen=True, eq=False)
class ClassLabels:
    """Labelled classes, by picture."""

    source: str
    frames: tuple[LabelledFrame, ...]


def labelled_samples(labels: BoxLabels | ClassLabels, images: SampleSource) -> Iterator[tuple[Sample, LabelledFrame]]:
    """The pictures that have labels, in the order of the pictures.

    Args:
        labels: What is labelled.
        images: Where the pictures are.

    Yields:
        A picture and its labels.

    Raises:
        LabelsError: A labelled picture is missing or has another size.
        DataError: A picture cannot be read.
    """
    waiting = _by_key(labels, by_number=images.consecutive)
    if not images.consecutive:
        _check_names(labels, images)
    for sample in images:
        frame = _take(waiting, sample, by_number=images.consecutive)
        if frame is None:
            continue
        size = (sample.image.shape[1], sample.image.shape[0])
        if frame.size is not None and frame.size != size:
            msg = (
                f"{labels.source} says {frame.file_name} is {frame.size[0]}x{frame.size[1]} pixels, "
                f"{sample.name} is {size[0]}x{size[1]}; these labels belong to other pictures"
            )
            raise LabelsError(msg)
        yield sample, frame
        if not waiting:
            return
    if waiting:
        names = _some(frame.file_name for frame in waiting.values())
        msg = (
            f"{len(waiting)} of {len(labels.frames)} labelled pictures are not in {images.expression}: {names}; "
            "name the pictures that were labelled, without a slice"
        )
        raise LabelsError(msg)


def _by_key(labels: BoxLabels | ClassLabels, *, by_number: bool) -> dict[str | int, LabelledFrame]:
    keyed: dict[str | int, LabelledFrame] = {}
    for frame in labels.frames:
        match = _LAST_NUMBER.search(PurePosixPath(frame.file_name).stem)
        if by_number and match is None:
            msg = f"{labels.source}: {frame.file_name} holds no frame number; name frames like clip_000007.png"
            raise LabelsError(msg)
        key: str | int = int(match.group(1)) if by_number and match else frame.file_name
        if key in keyed:
            msg = f"{labels.source} lists {frame.file_name} twice (as {keyed[key].file_name}); keep one"
            raise LabelsError(msg)
        keyed[key] = frame
    return keyed


def _check_names(labels: BoxLabels | ClassLabels, images: SampleSource) -> None:
    """Refuses a label whose file name, without folders, belongs to several pictures."""
    exact, bare = set(images.names), Counter(PurePosixPath(name).name for name in images.names)
    for frame in labels.frames:
        if frame.file_name not in exact and bare[frame.file_name] > 1:
            msg = (
                f"{labels.source} labels {frame.file_name}, and {bare[frame.file_name]} pictures of {images.expression} "
                "have that name; write the folder before it"
            )
            raise LabelsError(msg)


def _take(waiting: dict[str | int, LabelledFrame], sample: Sample, *, by_number: bool) -> LabelledFrame | None:
    if by_number:
        return waiting.pop(sample.index, None)
    return waiting.pop(sample.name, None) or waiting.pop(PurePosixPath(sample.name).name, None)


def load_box_labels(path: Path, names: Sequence[str]) -> BoxLabels:
    """Reads a COCO file.

    Args:
        path: The JSON file.
        names: The model's labels, by class id.

    Returns:
        Its frames; pictures without boxes count as empty.

    Raises:
        LabelsError: It is not COCO, or names classes the model does not have, or boxes outside their picture.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        classes = {entry["id"]: str(entry["name"]) for entry in data["categories"]}
        images = {entry["id"]: entry for entry in data["images"]}
        boxes: dict[Any, list[tuple[list[float], int, bool]]] = {identity: [] for identity in images}
        used = {identity: classes[identity] for identity in {entry["category_id"] for entry in data["annotations"]}}
        class_ids = _class_ids(path, used, names)
        for entry in data["annotations"]:
            ignore = bool(entry.get("ignore", 0) or entry.get("iscrowd", 0))
            box = [float(number) for number in entry["bbox"]]
            _check_box(path, images.get(entry["image_id"]), box)
            boxes[entry["image_id"]].append((box, class_ids[entry["category_id"]], ignore))
        frames = tuple(_labelled_frame(entry, boxes[identity]) for identity, entry in images.items())
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise LabelsError(msg) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"{path} is not a COCO label file ({type(error).__name__}: {error}); it needs images, annotations, categories"
        raise LabelsError(msg) from error
    if not any(rows for rows in boxes.values()):
        msg = f"{path} holds no boxes at all; average precision needs some"
        raise LabelsError(msg)
    if all(ignore for rows in boxes.values() for _, _, ignore in rows):
        msg = f"every box of {path} is marked ignore or iscrowd; average precision needs some that count"
        raise LabelsError(msg)
    return BoxLabels(str(path), frames)


def _class_ids(path: Path, classes: Mapping[int, str], names: Sequence[str]) -> dict[int, int]:
    found = {identity: _class_number(path, name, names) for identity, name in classes.items()}
    unknown = [classes[identity] for identity, number in found.items() if number is None]
    if unknown:
        msg = f"{path} labels {_some(unknown)}, which the model does not know; {_known(names)}"
        raise LabelsError(msg)
    return {identity: number for identity, number in found.items() if number is not None}


def _class_number(path: Path, label: str, names: Sequence[str]) -> int | None:
    """The class that a name or a number means, None when the model has none such."""
    named = [number for number, name in enumerate(names) if name.casefold() == label.casefold()]
    if len(named) > 1:
        numbers = " and ".join(map(str, named[:_SHOWN]))
        msg = (
            f"{path} labels {label!r}, and the model has {len(named)} classes of that name; use the number ({numbers})"
        )
        raise LabelsError(msg)
    if named:
        return named[0]
    numeric = (
        label.isascii()
        and label.isdecimal()
        and len(label) < _LONGEST_NUMBER
        and (not names or int(label) < len(names))
    )
    return int(label) if numeric else None


def _check_box(path: Path, image: Mapping[str, Any] | None, box: Sequence[float]) -> None:
    if image is None:
        msg = f"{path} has a box for a picture that it does not list; the file is cut or edited"
        raise LabelsError(msg)
    x, y, width, height = box
    if not all(math.isfinite(number) for number in box):
        msg = f"{path}: {image['file_name']} has the box {list(box)}; write finite numbers"
        raise LabelsError(msg)
    slack = 1.0
    outside = x < -slack or y < -slack or width <= 0 or height <= 0
    if "width" in image and "height" in image:
        outside = outside or x + width > image["width"] + slack or y + height > image["height"] + slack
    if outside:
        msg = f"{path}: {image['file_name']} has the box {list(box)} (x, y, width, height) outside the picture"
        raise LabelsError(msg)


def _labelled_frame(entry: Mapping[str, Any], rows: Sequence[tuple[list[float], int, bool]]) -> LabelledFrame:
    boxes = np.array([box for box, _, _ in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    truth = GroundTruth(
        boxes=boxes,
        class_ids=np.array([label for _, label, _ in rows], np.int64),
        ignore=np.array([ignore for _, _, ignore in rows], np.bool_),
    )
    size = (int(entry["width"]), int(entry["height"])) if "width" in entry and "height" in entry else None
    return LabelledFrame(str(entry["file_name"]), size, truth, json.dumps(rows).encode())


def load_class_labels(path: Path, names: Sequence[str]) -> ClassLabels:
    """Reads one class a picture from a CSV (``file,label``) or from a folder of class folders.

    Args:
        path: The CSV file, or the folder.
        names: The model's labels, by class id.

    Returns:
        Its pictures.

    Raises:
        LabelsError: Nothing is labelled, or a label is none of the model's.
    """
    rows = _rows_of_folders(path) if path.is_dir() else _rows_of_csv(path)
    frames = []
    numbers = {label: _class_number(path, label, names) for label in dict.fromkeys(label for _, label in rows)}
    for name, label in rows:
        number = numbers[label]
        if number is None:
            msg = f"{path}: {name} is labelled {label!r}, which the model does not know; {_known(names)}"
            raise LabelsError(msg)
        frames.append(LabelledFrame(name, None, number, str(number).encode()))
    if not frames:
        msg = f"{path} labels no pictures; give rows of file,label or a folder with one sub-folder a class"
        raise LabelsError(msg)
    return ClassLabels(str(path), tuple(frames))


def _rows_of_folders(path: Path) -> list[tuple[str, str]]:
    names = [file.relative_to(path) for file in picture_files(path)]
    return [(name.as_posix(), name.parts[0]) for name in names if len(name.parts) > 1]


def _rows_of_csv(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise LabelsError(msg) from error
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{path} is not a CSV file: {error}; write rows of file,label"
        raise LabelsError(msg) from error
    if rows and [cell.strip().casefold() for cell in rows[0]] == ["file", "label"]:
        rows = rows[1:]
    for number, row in enumerate(rows, start=1):
        if len(row) != 2:
            msg = f"{path}: row {number} has {len(row)} columns; write file,label"
            raise LabelsError(msg)
    return [(row[0].strip(), row[1].strip()) for row in rows]


def _known(names: Sequence[str]) -> str:
    if names:
        return f"its labels are {_some(names)}"
    return "it has no class names: give them (--class-names), or label with the numbers of classes, from 0"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:_SHOWN])
    return shown if len(listed) <= _SHOWN else f"{shown} and {len(listed) - _SHOWN} more"
