"""Reads a ``ModelSpec`` from TOML, for ``.onnx`` files that come without one.

    [model]
    name = "face-retinaface"
    task = "detect"                 # detect or classify
    layout = "NCHW"                 # optional; needed only where the file leaves it open
    labels = ["face"]               # or labels_file = "classes.txt", one name a line

    [preprocess]                    # value = (pixel * scale - mean) / std
    resize = "stretch"              # stretch, letterbox, crop
    width = 320
    height = 320
    color = "BGR"                   # RGB or BGR
    scale = 1.0
    mean = [104.0, 117.0, 127.0]    # in the order of color
    std = [1.0, 1.0, 1.0]

    [decode]
    head = "ssd"                    # ssd or classify
    boxes = "loc"                   # names of the model's outputs
    scores = "conf"
    anchors = "anchors.npy"         # float (n, 4): cx, cy, w, h as fractions; beside this file
    order = "xywh"
    activation = "none"             # none, sigmoid, softmax
    background = 0                  # false where no column means "nothing"

Optional keys have the defaults of ``edgewright.bundle.manifest``. An unknown key is an error: a misspelt threshold
must not be a default in disguise. Files are looked for beside the TOML file.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from edgewright.bundle.arrays import read_npy
from edgewright.bundle.errors import IntegrityError
from edgewright.bundle.manifest import (
    Box,
    ClassifyDecode,
    ColorOrder,
    Layout,
    Preprocess,
    ResizeMode,
    ScoreActivation,
    SsdDecode,
    Task,
)
from edgewright.optimize.errors import SpecError
from edgewright.optimize.spec import ModelSpec, shape_for

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from enum import Enum
    from pathlib import Path

    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Decode

__all__ = ["ANCHORS_PATH", "load_labels", "load_spec"]

ANCHORS_PATH = "arrays/anchors.npy"
"""Where anchors lie in the bundle."""

_MAX_TEXT_BYTES = 4 << 20
_MAX_ARRAY_BYTES = 64 << 20

E_ = TypeVar("E_", bound="Enum")


def load_spec(path: Path) -> ModelSpec:
    """Reads a spec.

    Args:
        path: The TOML file.

    Raises:
        SpecError: Naming the file, the key, and what is allowed.
    """
    try:
        document = tomllib.loads(_read(path, _MAX_TEXT_BYTES, "spec").decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is not TOML: {error}"
        raise SpecError(msg) from error
    sections = {name: _Section(path, name, document.pop(name, None)) for name in ("model", "preprocess", "decode")}
    if document:
        msg = f"{path}: unknown section or key {min(document)!r}; allowed: [model], [preprocess], [decode]"
        raise SpecError(msg)
    model, decode_section = sections["model"], sections["decode"]
    preprocess = _preprocess(sections["preprocess"])
    decode, arrays = _decode(decode_section)
    layout = model.choice("layout", Layout, None)
    shape = None if layout is None else shape_for(preprocess, layout)
    name, task, labels = model.text("name"), model.required_choice("task", Task), _labels(model)
    for section in sections.values():
        section.refuse_the_rest()
    try:
        return ModelSpec(name, task, preprocess, decode, labels, arrays, shape)
    except SpecError as error:
        msg = f"{path}: {error}"
        raise SpecError(msg) from error


def load_labels(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one a line, in the order of the class ids.

    Raises:
        SpecError: The file cannot be read, is not UTF-8, or holds no names.
    """
    try:
        text = _read(path, _MAX_TEXT_BYTES, "labels file").decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8 text; give class names, one a line"
        raise SpecError(msg) from error
    labels = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not labels:
        msg = f"{path} holds no names; give class names, one a line"
        raise SpecError(msg)
    return labels


class _Missing:
    """Stands for "no default: the key must be there"."""


_REQUIRED = _Missing()


class _Section:
    """One table of the file; every key that is asked for is ticked off."""

    def __init__(self, path: Path, name: str, table: object) -> None:
        self.path = path
        self.name = name
        if not isinstance(table, dict):
            msg = f"{path}: the section [{name}] is missing"
            raise SpecError(msg)
        self._rest: dict[str, Any] = dict(table)
        self._known: list[str] = []

    def fail(self, key: str, problem: str) -> SpecError:
        return SpecError(f"{self.path}: {key!r} under [{self.name}] {problem}")

    def take(self, key: str, default: object = _REQUIRED) -> Any:
        self._known.append(key)
        if key in self._rest:
            return self._rest.pop(key)
        if default is _REQUIRED:
            raise self.fail(key, "is missing")
        return default

    def text(self, key: str, default: object = _REQUIRED) -> str:
        value = self.take(key, default)
        if not isinstance(value, str) or (not value and default is _REQUIRED):
            raise self.fail(key, f"must be text in quotes, found {value!r}")
        return value

    def number(self, key: str, default: object = _REQUIRED, low: float = -1e9, high: float = 1e9) -> float:
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise self.fail(key, f"must be a number from {low:g} to {high:g}, found {value!r}")
        return float(value)

    def integer(self, key: str, default: object = _REQUIRED, low: int = 1, high: int = 16384) -> int:
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fail(key, f"must be a whole number from {low} to {high}, found {value!r}")
        return value

    def triple(self, key: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
        value = self.take(key, list(default))
        numbers = isinstance(value, list) and all(
            isinstance(item, (int, float)) and not isinstance(item, bool) for item in value
        )
        if not numbers or len(value) != len(default):
            raise self.fail(key, f"must be three numbers, one a channel, found {value!r}")
        return (float(value[0]), float(value[1]), float(value[2]))

    def choice(self, key: str, kind: type[E_], default: E_ | None) -> E_ | None:
        value = self.take(key, None)
        if value is None:
            return default
        allowed = [member.value for member in kind]
        if value not in allowed:
            raise self.fail(key, f"must be one of {', '.join(map(repr, allowed))}, found {value!r}")
        return kind(value)

    def required_choice(self, key: str, kind: type[E_]) -> E_:
        found = self.choice(key, kind, None)
        if found is None:
            raise self.fail(key, f"is missing; it must be one of {', '.join(repr(m.value) for m in kind)}")
        return found

    def beside(self, key: str) -> Path:
        """A file named by the value, relative to the TOML file."""
        return self.path.parent / self.text(key)

    def refuse_the_rest(self) -> None:
        if self._rest:
            raise self.fail(min(self._rest), f"is unknown; allowed: {', '.join(self._known)}")


def _preprocess(section: _Section) -> Preprocess:
    resize = section.required_choice("resize", ResizeMode)
    crop_from = section.integer("crop_from") if resize is ResizeMode.CROP else None
    return Preprocess(
        resize=resize,
        width=section.integer("width"),
        height=section.integer("height"),
        color=section.choice("color", ColorOrder, ColorOrder.RGB) or ColorOrder.RGB,
        scale=section.number("scale", 1.0 / 255.0),
        mean=section.triple("mean", (0.0, 0.0, 0.0)),
        std=section.triple("std", (1.0, 1.0, 1.0)),
        pad_value=section.integer("pad_value", 114, 0, 255),
        crop_from=crop_from,
    )


def _decode(section: _Section) -> tuple[Decode, dict[str, NDArray[np.float32]]]:
    head = section.text("head")
    if head == "classify":
        return _classify(section), {}
    if head != "ssd":
        raise section.fail("head", f"must be one of 'ssd', 'classify', found {head!r}")
    anchors = _read_anchors(section.beside("anchors"))
    decode = SsdDecode(
        boxes=section.text("boxes"),
        scores=section.text("scores"),
        anchors=ANCHORS_PATH,
        order=section.choice("order", Box, Box.XYWH) or Box.XYWH,
        variance_xy=section.number("variance_xy", 0.1, 0.0),
        variance_wh=section.number("variance_wh", 0.2, 0.0),
        activation=section.choice("activation", ScoreActivation, ScoreActivation.SIGMOID) or ScoreActivation.SIGMOID,
        background=_background(section),
        score_threshold=section.number("score_threshold", 0.5, 0.0, 1.0),
        iou_threshold=section.number("iou_threshold", 0.6, 0.0, 1.0),
        max_detections=section.integer("max_detections", 100, 1, 100_000),
    )
    return decode, {ANCHORS_PATH: anchors}


def _classify(section: _Section) -> ClassifyDecode:
    return ClassifyDecode(
        scores=section.text("scores"),
        activation=section.choice("activation", ScoreActivation, ScoreActivation.SOFTMAX) or ScoreActivation.SOFTMAX,
        top_k=section.integer("top_k", 5),
    )


def _background(section: _Section) -> int | None:
    value = section.take("background", 0)
    if value is False:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise section.fail("background", f"must be the number of a column, or false for none, found {value!r}")
    return value


def _labels(section: _Section) -> tuple[str, ...]:
    names, file = section.take("labels", None), section.take("labels_file", None)
    if names is not None and file is not None:
        raise section.fail("labels_file", "stands beside 'labels'; keep one of the two")
    if file is not None:
        if not isinstance(file, str):
            raise section.fail("labels_file", f"must be a path in quotes, found {file!r}")
        return load_labels(section.path.parent / file)
    if names is None:
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise section.fail("labels", "must be a list of names in quotes")
    return tuple(names)


def _read_anchors(path: Path) -> NDArray[np.float32]:
    try:
        array = read_npy(_read(path, _MAX_ARRAY_BYTES, "anchors file"), str(path))
    except IntegrityError as error:
        raise SpecError(str(error)) from error
    if array.dtype.kind != "f":
        msg = f"{path} holds {array.dtype} values; anchors are fractions, save them as float32"
        raise SpecError(msg)
    return array.astype(np.float32)


def _read(path: Path, limit: int, what: str) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        msg = f"cannot read the {what} {path}: {error.strerror or error}"
        raise SpecError(msg) from error
    if len(data) > limit:
        msg = f"the {what} {path} is larger than {limit} bytes; that is not one"
        raise SpecError(msg)
    return data
