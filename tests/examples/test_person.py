"""The person detector: the published weights give the published boxes, in PyTorch and as the exported file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from examples.person.anchors import GRIDS, ssd_anchors
from examples.person.frozen_graph import read_float_constants
from examples.person.model import PersonDetector, factory, load_frozen_weights, same_padding
from hypothesis import given
from hypothesis import strategies as st

from edgewright.bundle.manifest import SsdDecode
from edgewright.optimize.errors import ModelError
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.passes.runner import run_onnx
from edgewright.optimize.sources import FloatModel, load_source

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FRAME = 300
FRAME_SCORES = [0.949, 0.834, 0.821, 0.556, 0.417, 0.376]  # TensorFlow's own on that frame


@pytest.fixture(scope="module")
def frame(samples: Path) -> NDArray[np.uint8]:
    """Frame 300 of the street clip."""
    clip = cv2.VideoCapture(str(samples / "vtest.avi"))
    for _ in range(FRAME):
        assert clip.grab()
    found, image = clip.read()
    clip.release()
    assert found
    return np.asarray(image, np.uint8)


@pytest.fixture(scope="module")
def person(samples: Path, root: Path, frame: NDArray[np.uint8]) -> FloatModel:
    """The exported detector."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        weights = samples / "frozen_inference_graph.pb"
        return load_source("examples.person.model:factory", weights=weights, images=[frame])


def decoded_scores(codes: NDArray[np.float32], logits: NDArray[np.float32], decode: SsdDecode) -> list[float]:
    """Scores of the boxes left after suppression; the decoding of the paper written out once more, on its own."""
    cx, cy, width, height = ssd_anchors().T
    ty, tx, th, tw = codes.reshape(-1, 4).T
    w, h = np.exp(tw * decode.variance_wh) * width, np.exp(th * decode.variance_wh) * height
    x, y = tx * decode.variance_xy * width + cx, ty * decode.variance_xy * height + cy
    scores = 1 / (1 + np.exp(-logits.reshape(-1, 2)[:, 1]))
    boxes = np.stack([x - w / 2, y - h / 2, w, h], 1)
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.3, decode.iou_threshold)
    return [float(scores[index]) for index in np.asarray(kept).reshape(-1)]


def test_torch_gives_tensorflows_scores(samples: Path, person: FloatModel) -> None:
    import torch

    source = factory(samples / "frozen_inference_graph.pb")
    with torch.no_grad():
        codes, logits = source.module(torch.from_numpy(person.feeds[0]["input"]))
    assert isinstance(source.spec.decode, SsdDecode)
    found = decoded_scores(codes.numpy(), logits.numpy(), source.spec.decode)
    assert found == pytest.approx(FRAME_SCORES, abs=0.01)


def test_exported_file_gives_them_too(person: FloatModel) -> None:
    codes, logits = run_onnx(person.model, person.feeds[:1])[0]
    assert isinstance(person.spec.decode, SsdDecode)
    assert decoded_scores(codes, logits, person.spec.decode) == pytest.approx(FRAME_SCORES, abs=0.01)


def test_export_equals_torch_and_says_so(person: FloatModel) -> None:
    assert person.max_difference is not None
    assert person.max_difference < 1e-4
    assert "PyTorch" in person.notes[0]
    assert {tensor.name: tensor.shape for tensor in person.outputs} == {
        "box_codes": (1, 1917, 4),
        "class_logits": (1, 1917, 2),
    }


def test_prepared_graph_is_lean_and_the_same(person: FloatModel) -> None:
    import onnx

    prepared = prepare_graph(person.model, person.feeds)
    assert prepared.max_difference < 1e-4
    operators = {node.op_type for node in onnx.load_model_from_string(prepared.model).graph.node}
    assert not operators & {"Pad", "BatchNormalization", "Identity", "Constant"}
    assert len(prepared.model) < 12_200_000  # 3,045,126 float32 values are 12,180,504 bytes before folding


def test_session_of_the_device_reads_the_spec(person: FloatModel, frame: NDArray[np.uint8]) -> None:
    from edgewright.runtime.backends.onnx import OnnxBackend
    from edgewright.runtime.session import Session
    from edgewright.runtime.types import Detections

    session = Session(OnnxBackend(person.model), person.spec.preprocess, person.spec.decode, person.spec.arrays)
    found = session.infer(frame)
    assert isinstance(found, Detections)
    assert found.scores.tolist() == pytest.approx(FRAME_SCORES[:4], abs=0.01)
    assert set(found.class_ids.tolist()) == {0}
    assert person.spec.labels == ("person",)


def test_anchors_follow_the_rule() -> None:
    anchors = ssd_anchors()
    assert anchors.shape == (19 * 19 * 3 + sum(6 * grid * grid for grid in GRIDS[1:]), 4)
    np.testing.assert_allclose(anchors[0], [0.5 / 19, 0.5 / 19, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(anchors[-1], [0.5, 0.5, np.sqrt(0.95), np.sqrt(0.95)], rtol=1e-6)


@given(size=st.integers(1, 600), kernel=st.integers(1, 7), stride=st.integers(1, 4))
def test_same_padding_gives_the_ceiling(size: int, kernel: int, stride: int) -> None:
    before, behind = same_padding(size, kernel, stride)
    assert 0 <= before <= behind <= before + 1
    padded = size + before + behind
    if padded >= kernel:
        places = (padded - kernel) // stride + 1
        assert places == -(-size // stride)
        # No padding that the last place does not need, except where a stride jumps over the end anyway.
        assert before + behind == max((places - 1) * stride + kernel - size, 0)


def test_weights_of_another_graph_are_refused(samples: Path) -> None:
    constants = read_float_constants((samples / "frozen_inference_graph.pb").read_bytes())
    name = "BoxPredictor_3/ClassPredictor/biases"
    without = {key: value for key, value in constants.items() if key != name}
    with pytest.raises(ModelError, match=name):
        load_frozen_weights(PersonDetector(), without)
    with pytest.raises(ModelError, match="shape"):
        load_frozen_weights(PersonDetector(), {**constants, name: constants[name][:3]})
    with pytest.raises(ModelError, match="1 weights the network does not"):
        load_frozen_weights(PersonDetector(), {**constants, "BoxPredictor_6/extra": np.zeros(3, np.float32)})


@pytest.mark.parametrize("content", [None, b"", b"not a graph at all"], ids=["missing", "empty", "text"])
def test_bad_weights_are_a_message(tmp_path: Path, content: bytes | None) -> None:
    weights = tmp_path / "weights.pb"
    if content is not None:
        weights.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.pb|frozen graph"):
        factory(weights)
    with pytest.raises(ModelError, match="scripts/samples"):
        factory()


def test_labels_belong_to_the_clip(root: Path) -> None:
    labels = json.loads((root / "examples/person/vtest_person_dev.json").read_text())
    assert [image["id"] for image in labels["images"]] == [7 + 26 * j for j in range(30)]
    assert len(labels["annotations"]) == 186
    assert sum(1 for box in labels["annotations"] if not box.get("ignore")) == 170
