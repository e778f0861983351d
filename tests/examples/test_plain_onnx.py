"""Models that arrive as plain ``.onnx`` files: a classifier by flags, a second detector by a spec file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from examples.face.anchors import face_anchors

from edgewright.bundle.manifest import ResizeMode
from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.sources import load_source, load_spec
from edgewright.optimize.sources.spec_file import load_labels
from edgewright.optimize.spec import ClassifierOptions
from edgewright.runtime.backends.onnx import OnnxBackend
from edgewright.runtime.session import Session
from edgewright.runtime.types import Classification, Detections

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def mobilenet(samples: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier as a plain file, made by the command of its README."""
    out = tmp_path_factory.mktemp("classifier") / "mobilenet_v2.onnx"
    command = [sys.executable, "-m", "examples.classifier.export_onnx"]
    command += [str(samples / "mobilenet_v2-b0353104.pth"), str(out)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return out


def test_classifier_by_flags_names_the_photographs(mobilenet: Path, samples: Path) -> None:
    labels = load_labels(samples / "imagenet_classes.txt")
    loaded = load_source(str(mobilenet), spec=ClassifierOptions(labels=labels))
    preprocess = loaded.spec.preprocess
    assert (preprocess.resize, preprocess.width, preprocess.crop_from) == (ResizeMode.CROP, 224, 256)
    prepared = prepare_graph(loaded.model, loaded.feeds)
    session = Session(OnnxBackend(prepared.model), preprocess, loaded.spec.decode, loaded.spec.arrays)
    for photo, word in {"dog.jpg": "malamute", "eagle.jpg": "bald eagle"}.items():
        found = session.infer(cv2.imread(str(samples / "photos" / photo)))
        assert isinstance(found, Classification)
        assert labels[int(found.class_ids[0])].startswith(word)
        assert found.scores[0] > 0.7


def test_wrong_number_of_labels_is_a_message(mobilenet: Path) -> None:
    with pytest.raises(SpecError, match="1000 classes apart, but 2 labels"):
        load_source(str(mobilenet), spec=ClassifierOptions(labels=("cat", "dog")))


def test_weights_of_another_network_are_a_message(samples: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    with pytest.raises(ModelError, match="does not hold the weights"):
        load_source("examples.classifier.model:factory", weights=samples / "frozen_inference_graph.pb")


def test_face_detector_by_spec_file(samples: Path, root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "examples/face/spec.toml", tmp_path)
    command = [sys.executable, "-m", "examples.face.anchors", "320", "320", str(tmp_path / "anchors.npy")]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    loaded = load_source(str(samples / "retinaface.onnx"), spec=load_spec(tmp_path / "spec.toml"))
    assert any("landmarks" in note for note in loaded.notes)
    assert any("from 11 to 17" in note for note in loaded.notes)
    prepared = prepare_graph(loaded.model, loaded.feeds)
    session = Session(OnnxBackend(prepared.model), loaded.spec.preprocess, loaded.spec.decode, loaded.spec.arrays)
    clip = cv2.VideoCapture(str(samples / "carphone_pristine.mp4"))
    found = session.infer(np.asarray(clip.read()[1], np.uint8))
    clip.release()
    assert isinstance(found, Detections)
    assert len(found) == 1
    assert found.scores[0] > 0.99


def test_anchors_of_another_size_are_a_message(samples: Path, root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "examples/face/spec.toml", tmp_path)
    np.save(tmp_path / "anchors.npy", face_anchors(256, 256))
    with pytest.raises(SpecError, match="not 4 codes for each of the 2688 anchors"):
        load_source(str(samples / "retinaface.onnx"), spec=load_spec(tmp_path / "spec.toml"))
