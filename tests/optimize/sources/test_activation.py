"""A classifier's scores become probabilities once, whatever the graph ends in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgewright.bundle.manifest import ClassifyDecode, ScoreActivation
from edgewright.optimize.sources import load_source
from edgewright.optimize.spec import ClassifierOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Nodes = list[onnx.NodeProto]


def one(operator: str, **attributes: Any) -> Nodes:
    return [helper.make_node(operator, ["logits"], ["scores"], **attributes)]


def handed_on(operator: str, **attributes: Any) -> Nodes:
    """The operator, then a reshape, an identity and a cast."""
    return [
        helper.make_node(operator, ["logits"], ["p"], **attributes),
        helper.make_node("Unsqueeze", ["p", "axis"], ["p1"]),
        helper.make_node("Squeeze", ["p1", "axis"], ["p2"]),
        helper.make_node("Identity", ["p2"], ["p3"]),
        helper.make_node("Cast", ["p3"], ["scores"], to=TensorProto.FLOAT),
    ]


def spelt_out() -> Nodes:
    """A softmax of single operators."""
    return [
        helper.make_node("Exp", ["logits"], ["e"]),
        helper.make_node("ReduceSum", ["e", "last"], ["sum"], keepdims=1),
        helper.make_node("Div", ["e", "sum"], ["scores"]),
    ]


def write(path: Path, end: Nodes) -> Path:
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
        *end,
    ]
    graph = helper.make_graph(
        nodes,
        "c",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])],
        [
            helper.make_tensor("axis", TensorProto.INT64, [1], [2]),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("end", "activation", "why"),
    [
        pytest.param(lambda: one("Softmax"), ScoreActivation.NONE, "ends in a softmax", id="softmax"),
        pytest.param(lambda: handed_on("Softmax"), ScoreActivation.NONE, "ends in a softmax", id="softmax, reshaped"),
        pytest.param(lambda: one("Sigmoid"), ScoreActivation.NONE, "ends in a sigmoid", id="sigmoid"),
        pytest.param(lambda: handed_on("Sigmoid"), ScoreActivation.NONE, "ends in a sigmoid", id="sigmoid, reshaped"),
        pytest.param(lambda: one("LogSoftmax"), ScoreActivation.SOFTMAX, "log-softmax", id="log-softmax"),
        pytest.param(spelt_out, ScoreActivation.NONE, "sum to 1", id="softmax of single operators"),
        pytest.param(lambda: one("Identity"), ScoreActivation.SOFTMAX, "not probabilities yet", id="logits"),
    ],
)
def test_the_graph_decides(tmp_path: Path, end: Callable[[], Nodes], activation: ScoreActivation, why: str) -> None:
    path = write(tmp_path / "c.onnx", end())
    images = [np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)]
    made = load_source(str(path), spec=ClassifierOptions(), images=images)
    assert isinstance(made.spec.decode, ClassifyDecode)
    assert made.spec.decode.activation is activation
    assert any(why in note and f"'{activation.value}'" in note for note in made.notes)


def test_what_was_said_wins(tmp_path: Path) -> None:
    path = write(tmp_path / "c.onnx", one("Softmax"))
    made = load_source(str(path), spec=ClassifierOptions(activation=ScoreActivation.SIGMOID))
    assert isinstance(made.spec.decode, ClassifyDecode)
    assert made.spec.decode.activation is ScoreActivation.SIGMOID
