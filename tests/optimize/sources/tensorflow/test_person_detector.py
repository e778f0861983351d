"""The person detector three times: our PyTorch definition, the frozen graph by TensorFlow, and rebuilt in Keras."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edgewright.optimize.sources import FloatModel, load_source, load_spec
from edgewright.optimize.sources.tf.names import GraphNames
from edgewright.runtime.decode import make_decoder
from edgewright.runtime.preprocess import Preprocessor
from edgewright.runtime.types import Detections

ROOT = Path(__file__).parents[4]
FRAMES = (0, 150, 300, 450)


@pytest.fixture(scope="module")
def frames(clip: str) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Some frames of the street."""
    capture = cv2.VideoCapture(clip)
    found = []
    for index in range(max(FRAMES) + 1):
        frame = capture.read()[1]
        if index in FRAMES:
            found.append(frame)
    return found


@pytest.fixture(scope="module")
def rebuilt(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the example writes."""
    folder = tmp_path_factory.mktemp("keras_detector")
    weights = samples / "frozen_inference_graph.pb"
    command = [sys.executable, "-m", "examples.keras_detector.build", str(weights), str(folder), "--keras-only"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module", params=["frozen graph", "keras"])
def read_by_tensorflow(request: pytest.FixtureRequest, samples: Path, rebuilt: Path, frames: list[Any]) -> FloatModel:
    """The detector as TensorFlow reads it."""
    if request.param == "keras":
        return load_source(str(rebuilt / "model.keras"), spec=load_spec(rebuilt / "spec.toml"), images=frames)
    names = GraphNames(("Preprocessor/sub:0",), ("concat:0", "concat_1:0"))
    spec = load_spec(rebuilt / "frozen_graph.toml")
    return load_source(str(samples / "frozen_inference_graph.pb"), spec=spec, images=frames, graph=names)


def detections(model: FloatModel, frame: Any, outputs: Any) -> Detections:
    """Boxes by the device's own decoding."""
    spec = model.spec
    placement = Preprocessor(spec.preprocess, model.inputs[0])(frame)[1]
    tensors = {tensor.name: tensor for tensor in model.outputs}
    decode = make_decoder(spec.decode, spec.preprocess, spec.arrays, tensors)
    found = decode(dict(zip(tensors, outputs, strict=True)), placement)
    assert isinstance(found, Detections)
    return found


def test_tensorflow_finds_the_same_people_as_pytorch(
    person: FloatModel, read_by_tensorflow: FloatModel, frames: list[Any]
) -> None:
    assert person.module is not None
    seen = 0
    for index, frame in enumerate(frames):
        picture = Preprocessor(person.spec.preprocess, person.inputs[0])(frame)[0].copy()
        with torch.no_grad():
            codes = [tensor.numpy() for tensor in person.module.module(torch.from_numpy(picture))]
        by_torch = detections(person, frame, codes)
        by_tensorflow = detections(read_by_tensorflow, frame, read_by_tensorflow.reference[index])
        assert len(by_torch) == len(by_tensorflow)
        assert np.abs(by_torch.boxes - by_tensorflow.boxes).max() < 0.01  # pixels
        assert np.abs(by_torch.scores - by_tensorflow.scores).max() < 1e-4
        seen += len(by_torch)
    assert seen > 10
    assert read_by_tensorflow.max_difference is not None
    assert read_by_tensorflow.max_difference < 1e-5


def test_it_is_the_same_network_to_the_optimizer(person: FloatModel, read_by_tensorflow: FloatModel) -> None:
    from collections import Counter

    import onnx

    from edgewright.optimize.passes.prepare import prepare_graph

    kinds = [
        Counter(
            node.op_type for node in onnx.load_model_from_string(prepare_graph(m.model, m.feeds[:1]).model).graph.node
        )
        for m in (person, read_by_tensorflow)
    ]
    assert kinds[1].keys() == kinds[0].keys()
    assert {op: kinds[1][op] for op in ("Conv", "Clip", "Add", "Concat")} == {
        op: kinds[0][op] for op in ("Conv", "Clip", "Add", "Concat")
    }
    assert read_by_tensorflow.spec.preprocess.scale == pytest.approx(2 / 255)
    assert read_by_tensorflow.spec.preprocess.mean == pytest.approx((1.0, 1.0, 1.0))
