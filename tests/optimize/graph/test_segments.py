"""A graph in pieces computes what it computes whole, and can be watched and changed between them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import SIDE, classifier_onnx, detector_onnx

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.graph.segments import Segments, node_id

MODEL = detector_onnx()
NODES = [node_id(node) for node in onnx.load_model_from_string(MODEL).graph.node]
IMAGE = np.random.default_rng(0).uniform(0, 1, (1, 3, SIDE, SIDE)).astype(np.float32)


def whole(model: bytes) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"image": IMAGE}), strict=True))


@given(st.sets(st.sampled_from(NODES)))
def test_any_cuts_give_the_same_outputs(cuts: set[str]) -> None:
    pieces = Segments(MODEL, cuts)
    assert len(pieces) <= len(cuts) + 1
    for name, value in pieces.run({"image": IMAGE}).items():
        np.testing.assert_allclose(value, whole(MODEL)[name], rtol=1e-5, atol=1e-6)


def test_values_at_cuts_and_named_ones_are_shown_once() -> None:
    seen: list[str] = []
    Segments(MODEL, ["mean"], show=["bright"]).run({"image": IMAGE}, lambda name, _value: seen.append(name))
    assert seen == ["cells", "bright"]


def test_a_value_can_be_replaced_for_all_later_pieces() -> None:
    answers = Segments(MODEL, ["mean"]).run({"image": IMAGE}, lambda _name, value: np.zeros_like(value))
    np.testing.assert_allclose(answers["logits"][0, :, 1], -6.0, atol=1e-6)


def test_an_unknown_type_at_a_cut_is_told() -> None:
    model = onnx.load_model_from_string(classifier_onnx())
    model.graph.node[0].domain = "unheard.of"
    model.opset_import.append(onnx.helper.make_opsetid("unheard.of", 1))
    with pytest.raises(JudgeError, match="the type of tensor 'map' is not known"):
        Segments(model.SerializeToString(), ["conv"])


def test_a_piece_the_engine_refuses_is_told() -> None:
    model = onnx.load_model_from_string(classifier_onnx())
    model.graph.node[1].op_type = "Gelu"
    with pytest.raises(JudgeError, match="the engine refuses a piece of the model"):
        Segments(model.SerializeToString(), ["conv"])
