"""Parameters, multiplications and bytes, counted by hand."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import classifier_onnx, detector_onnx

from edgewright.optimize.errors import ModelError
from edgewright.optimize.graph.cost import GraphCost, cost_of
from edgewright.optimize.sources import FloatModel


def graph(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], shape: list[object], out: list[int]) -> bytes:
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def test_a_classifier() -> None:
    model = classifier_onnx()
    # 3 x 3 x 3 filters of 3 channels on 32 x 32 places, and a 3 x 3 product
    assert cost_of(model) == GraphCost(3 * 27 + 9, 32 * 32 * 3 * 27 + 9, len(model))


def test_a_detector_with_two_heads() -> None:
    cost = cost_of(detector_onnx())
    assert cost.macs == 16 * 2 * 192 + 16 * 2 * 2 + 16 * 4 * 2
    assert cost.parameters == 2 * 192 + 4 + 2 + 8


def test_groups_and_transposed_convolutions() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "depth"], ["a"], group=4, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "up"], ["y"], strides=[2, 2]),
    ]
    constants = {"depth": np.ones((4, 1, 3, 3), np.float32), "up": np.ones((4, 5, 2, 2), np.float32)}
    cost = cost_of(graph(nodes, constants, [1, 4, 6, 6], [1, 5, 12, 12]))
    assert cost.macs == 36 * 4 * 9 + 36 * 4 * 5 * 4
    assert cost.parameters == 36 + 80


def test_quantized_weights_count_and_their_scales_do_not() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["wf"], axis=0),
        helper.make_node("Conv", ["x", "wf"], ["y"]),
    ]
    constants = {
        "w": np.ones((4, 3, 1, 1), np.int8),
        "scale": np.ones(4, np.float32),
        "zero": np.zeros(4, np.int8),
    }
    cost = cost_of(graph(nodes, constants, [1, 3, 2, 2], [1, 4, 2, 2]))
    assert (cost.parameters, cost.macs) == (12, 48)


def test_the_person_detector(person: FloatModel) -> None:
    cost = cost_of(person.model)
    assert cost.macs == 616_952_240
    assert cost.bytes == len(person.model)


def test_open_shapes_are_refused_with_the_node() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="first")]
    model = graph(nodes, {"w": np.ones((4, 3, 1, 1), np.float32)}, ["n", 3, "h", 2], [1, 4, 2, 2])
    broken = onnx.load_model_from_string(model)
    del broken.graph.output[0].type.tensor_type.shape.dim[:]
    broken.graph.output[0].type.tensor_type.shape.dim.add().dim_param = "n"
    for _ in range(3):
        broken.graph.output[0].type.tensor_type.shape.dim.add().dim_param = "k"
    with pytest.raises(ModelError, match=r"node 'first' \(Conv\) is not fixed"):
        cost_of(broken.SerializeToString())


def test_garbage_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        cost_of(b"\x00\x01garbage")
