"""Spec files: a whole one comes out as written, a wrong one names the file, the key and what is allowed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgewright.bundle.manifest import ClassifyDecode, ColorOrder, Layout, SsdDecode
from edgewright.optimize.errors import SpecError
from edgewright.optimize.sources import load_spec

DETECTOR = """
[model]
name = "faces"
task = "detect"
layout = "NHWC"
labels = ["face"]
[preprocess]
resize = "letterbox"
width = 32
height = 24
color = "BGR"
scale = 1.0
mean = [104, 117.0, 127.0]
pad_value = 0
[decode]
head = "ssd"
boxes = "loc"
scores = "conf"
anchors = "anchors.npy"
background = false
iou_threshold = 0.4
"""
CLASSIFIER = """
[model]
name = "things"
task = "classify"
labels_file = "names.txt"
[preprocess]
resize = "crop"
crop_from = 36
width = 32
height = 32
[decode]
head = "classify"
scores = "logits"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with anchors and names."""
    np.save(tmp_path / "anchors.npy", np.full((6, 4), 0.25))
    (tmp_path / "names.txt").write_text("cat\n\n dog \n", encoding="utf-8")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    """The spec file."""
    path = folder / "spec.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_detector(folder: Path) -> None:
    spec = load_spec(write(folder, DETECTOR))
    assert isinstance(spec.decode, SsdDecode)
    assert spec.decode.background is None
    assert (spec.decode.iou_threshold, spec.decode.score_threshold) == (0.4, 0.5)
    assert spec.preprocess.mean == (104.0, 117.0, 127.0)
    assert spec.preprocess.color is ColorOrder.BGR
    assert spec.layout is Layout.NHWC
    assert spec.input_shape == (1, 24, 32, 3)
    assert spec.arrays[spec.decode.anchors].dtype == np.float32


def test_classifier(folder: Path) -> None:
    spec = load_spec(write(folder, CLASSIFIER))
    assert spec.labels == ("cat", "dog")
    assert isinstance(spec.decode, ClassifyDecode)
    assert spec.input_shape is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param(
            'resize = "letterbox"', 'resize = "fit"', "'stretch', 'letterbox', 'crop', found 'fit'", id="choice"
        ),
        pytest.param('resize = "letterbox"', "", "'resize' under .preprocess. is missing", id="missing choice"),
        pytest.param("width = 32", "", "'width' under .preprocess. is missing", id="missing number"),
        pytest.param("width = 32", "width = 0", "whole number from 1 to 16384, found 0", id="too small"),
        pytest.param("width = 32", "width = true", "whole number", id="boolean"),
        pytest.param("width = 32", 'width = "32"', "whole number", id="text"),
        pytest.param("scale = 1.0", "scale = nan", "must be a number", id="nan"),
        pytest.param("mean = [104, 117.0, 127.0]", "mean = [104]", "three numbers", id="one mean"),
        pytest.param("pad_value = 0", "padvalue = 0", "'padvalue' .* is unknown; allowed: .*pad_value", id="misspelt"),
        pytest.param("[decode]", "[decoding]", r"unknown section .*'decoding'|\[decode\] is missing", id="section"),
        pytest.param('head = "ssd"', 'head = "yolo"', "'ssd', 'classify', found 'yolo'", id="head"),
        pytest.param("background = false", "background = true", "number of a column, or false", id="background"),
        pytest.param('labels = ["face"]', "labels = [1]", "list of names", id="labels"),
        pytest.param(
            'labels = ["face"]', 'labels = ["f"]\nlabels_file = "names.txt"', "keep one of the two", id="labels twice"
        ),
        pytest.param('task = "detect"', 'task = "classify"', "task is 'classify'", id="task"),
        pytest.param('"anchors.npy"', '"none.npy"', r"cannot read the anchors file .*none\.npy", id="no anchors"),
        pytest.param('"anchors.npy"', '"names.txt"', r"names\.txt is not a readable \.npy", id="text as anchors"),
        pytest.param('name = "faces"', "name = ", "is not TOML", id="no TOML"),
    ],
)
def test_refused(folder: Path, old: str, new: str, words: str) -> None:
    assert old in DETECTOR
    path = write(folder, DETECTOR.replace(old, new))
    with pytest.raises(SpecError, match=words) as caught:
        load_spec(path)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mark", "section"),
    [
        (DETECTOR, "[model]", "model"),
        (DETECTOR, "[preprocess]", "preprocess"),
        (DETECTOR, "[decode]", "decode"),
        (CLASSIFIER, "[preprocess]", "preprocess"),
        (CLASSIFIER, "[decode]", "decode"),
    ],
)
def test_every_key_is_documented(folder: Path, text: str, mark: str, section: str) -> None:
    path = write(folder, text.replace(mark, f"{mark}\nno_such_key = 1"))
    with pytest.raises(SpecError, match=f"'no_such_key' under .{section}. is unknown; allowed: ") as caught:
        load_spec(path)
    page = Path(__file__).parents[3] / "docs/how-to/bring-your-own-model.md"
    documented = page.read_text(encoding="utf-8")
    for key in str(caught.value).partition("allowed: ")[2].split(", "):
        assert f"`{key}`" in documented, f"{key} is missing in {page.name}"


def test_unusable_files(folder: Path) -> None:
    with pytest.raises(SpecError, match="cannot read the spec"):
        load_spec(folder / "none.toml")
    (folder / "names.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not UTF-8"):
        load_spec(write(folder, CLASSIFIER))
    (folder / "names.txt").write_bytes(b" \n\n")
    with pytest.raises(SpecError, match="holds no names"):
        load_spec(write(folder, CLASSIFIER))


def test_pickled_anchors_are_never_unpickled(folder: Path) -> None:
    np.save(folder / "anchors.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(SpecError, match=r"anchors\.npy"):
        load_spec(write(folder, DETECTOR))


def test_integers_are_no_anchors(folder: Path) -> None:
    np.save(folder / "anchors.npy", np.ones((6, 4), np.int64))
    with pytest.raises(SpecError, match="save them as float32"):
        load_spec(write(folder, DETECTOR))
