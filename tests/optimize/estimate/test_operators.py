"""Which operators are read out of files, and what they are taken for."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from chain_models import depthwise_classifier
from onnx import TensorProto, helper

from edgewright.optimize.errors import ModelError
from edgewright.optimize.estimate.onnx_operators import onnx_operators
from edgewright.optimize.estimate.operators import Kind
from edgewright.optimize.estimate.tflite_operators import tflite_operators
from edgewright.optimize.graph.cost import cost_of
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.optimize.tflite import TfliteForm, write_tflite

WEIGHTED = {Kind.POINTWISE, Kind.DENSE, Kind.STEM, Kind.DEPTHWISE, Kind.CONNECTED}


@pytest.fixture(scope="module")
def prepared() -> bytes:
    model = depthwise_classifier()
    graph = onnx.load_model_from_string(model).graph
    shape = [size.dim_value for size in graph.input[0].type.tensor_type.shape.dim]
    return prepare_graph(model, [{graph.input[0].name: np.zeros(shape, np.float32)}]).model


@pytest.fixture(scope="module")
def ranges(prepared: bytes) -> dict[str, tuple[float, float]]:
    graph = onnx.load_model_from_string(prepared).graph
    return {name: (-4.0, 4.0) for node in graph.node for name in (*node.input, *node.output)}


@pytest.fixture(scope="module")
def integer(prepared: bytes, ranges: dict[str, tuple[float, float]]) -> bytes:
    return quantize_graph(prepared, ranges).model


def test_multiplications_agree_with_the_cost_of_the_file(prepared: bytes, integer: bytes) -> None:
    for model in (prepared, integer):
        assert sum(operator.macs for operator in onnx_operators(model)) == cost_of(model).macs


def test_both_formats_hold_the_same_work(
    prepared: bytes, integer: bytes, ranges: dict[str, tuple[float, float]]
) -> None:
    pairs = (
        (prepared, write_tflite(prepared, form=TfliteForm.FLOAT32).model),
        (integer, write_tflite(integer, form=TfliteForm.INT8, ranges=ranges).model),
    )
    for as_onnx, as_tflite in pairs:
        lists = [
            [(row.macs, row.precision, row.window) for row in rows if row.kind in WEIGHTED]
            for rows in (onnx_operators(as_onnx), tflite_operators(as_tflite))
        ]
        assert lists[0] == lists[1]


def test_integers_are_seen_and_quantizers_between_them_cost_nothing(integer: bytes) -> None:
    rows = onnx_operators(integer)
    assert {row.precision for row in rows if row.kind in WEIGHTED} == {"int8"}
    between = [row for row in rows if row.type.endswith("Linear") and row.kind is not Kind.FREE]
    # One at the door in, where pictures are floats; one at most at the door out.
    assert 1 <= len(between) <= 2


def test_what_a_convolution_draws_in_costs_nothing() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="first", kernel_shape=[1, 1]),
        helper.make_node("Relu", ["y"], ["z"], name="drawn in"),
        helper.make_node("Sigmoid", ["z"], ["s"], name="reads a Relu"),
        helper.make_node("Relu", ["s"], ["out"], name="reads a Sigmoid"),
    ]
    weights = onnx.numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w")
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    made = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 4, 8, 8])
    graph = helper.make_graph(nodes, "activations", [given], [made], [weights])
    rows = onnx_operators(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    assert [row.name for row in rows if row.kind is Kind.FREE] == ["drawn in"]


def test_kinds(prepared: bytes) -> None:
    kinds = {row.kind for row in onnx_operators(prepared)}
    assert {Kind.DEPTHWISE, Kind.POINTWISE} <= kinds


def test_a_file_that_is_none_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        onnx_operators(b"nothing")
    with pytest.raises(ModelError, match="not a TFLite file"):
        tflite_operators(b"nothing")


def test_sizes_that_are_not_fixed_are_refused_by_name() -> None:
    shape = [1, 3, "height", 8]
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="first", kernel_shape=[1, 1])
    weights = onnx.numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w")
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, "height", 8])
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    graph = helper.make_graph([node], "open", [given], [made], [weights])
    with pytest.raises(ModelError, match="first"):
        onnx_operators(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())


def test_an_operator_of_another_domain_is_unknown() -> None:
    node = helper.make_node("Magic", ["x"], ["y"], name="strange", domain="com.example")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in ("x", "y")]
    graph = helper.make_graph([node], "odd", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)])
    (row,) = onnx_operators(model.SerializeToString())
    assert (row.name, row.kind) == ("strange", Kind.UNKNOWN)
