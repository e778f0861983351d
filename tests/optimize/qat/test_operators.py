"""Every operator of the executor computes what the engine computes, one picture at a time and several at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from qat_networks import run_file, run_module

from edgewright.optimize.errors import ModelError
from edgewright.optimize.qat.agreement import prove_float
from edgewright.optimize.qat.build import float_network

RANDOM = np.random.default_rng(5)
PICTURE = (1, 4, 9, 8)


def weights(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.normal(0, 0.5, shape).astype(np.float32)


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def graph(
    *nodes: Any,
    constants: dict[str, Any] | None = None,
    shape: tuple[int, ...] = PICTURE,
    outputs: int = 1,
    opset: int = 18,
) -> bytes:
    """From ``x`` to ``y`` (or ``y0``, ``y1``, ...)."""
    names = ["y"] if outputs == 1 else [f"y{k}" for k in range(outputs)]
    made = helper.make_graph(
        list(nodes),
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def node(kind: str, *constants: str, out: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, ["x", *constants], [out], name=f"the {kind}", **attributes)


PLAIN = [
    "Relu",
    "Sigmoid",
    "Tanh",
    "HardSwish",
    "HardSigmoid",
    "LeakyRelu",
    "Elu",
    "Softplus",
    "Mish",
    "Abs",
    "Neg",
    "Exp",
    "Erf",
    "Identity",
    "GlobalAveragePool",
    "GlobalMaxPool",
]
CASES: dict[str, bytes] = {kind: graph(node(kind)) for kind in PLAIN}
CASES |= {
    "Gelu": graph(node("Gelu", approximate="tanh"), opset=20),
    "Clip": graph(node("Clip", "low", "high"), constants={"low": np.float32(-0.5), "high": np.float32(0.7)}),
    "Clip above": graph(node("Clip", "", "high"), constants={"high": np.float32(0.7)}),
    "PRelu": graph(node("PRelu", "s"), constants={"s": weights(4, 1, 1)}),
    "Add": graph(node("Add", "c"), constants={"c": weights(4, 1, 1)}),
    "Sub": graph(node("Sub", "c"), constants={"c": weights(1, 4, 9, 8)}),
    "Mul": graph(node("Mul", "c"), constants={"c": weights(1)}),
    "Div": graph(node("Div", "c"), constants={"c": weights(4, 1, 1)}),
    "Max": graph(node("Max", "c"), constants={"c": weights(8)}),
    "Softmax": graph(node("Softmax", axis=1)),
    "Softmax, older": graph(node("Softmax", axis=1), opset=12),
    "ReduceMean": graph(node("ReduceMean", "a", keepdims=0), constants={"a": ints(2, 3)}),
    "ReduceMean, older": graph(node("ReduceMean", axes=[2, 3]), opset=13),
    "ReduceMax": graph(node("ReduceMax", "a"), constants={"a": ints(1)}),
    "BatchNormalization": graph(
        node("BatchNormalization", "s", "b", "m", "v"),
        constants={"s": weights(4), "b": weights(4), "m": weights(4), "v": weights(4) ** 2 + 0.1},
    ),
    "LayerNormalization": graph(node("LayerNormalization", "s", "b"), constants={"s": weights(8), "b": weights(8)}),
    "Conv": graph(node("Conv", "w", "b", pads=[1, 1, 1, 1]), constants={"w": weights(6, 4, 3, 3), "b": weights(6)}),
    "Conv, one side": graph(node("Conv", "w", pads=[0, 0, 1, 1], strides=[2, 2]), constants={"w": weights(6, 4, 3, 3)}),
    "Conv, same": graph(node("Conv", "w", auto_pad="SAME_UPPER", strides=[2, 2]), constants={"w": weights(6, 4, 3, 3)}),
    "Conv, same lower": graph(
        node("Conv", "w", auto_pad="SAME_LOWER", strides=[2, 2]), constants={"w": weights(6, 4, 4, 4)}
    ),
    "Conv, depthwise": graph(node("Conv", "w", group=4, dilations=[2, 2]), constants={"w": weights(8, 1, 3, 3)}),
    "ConvTranspose": graph(
        node("ConvTranspose", "w", "b", strides=[2, 2], pads=[1, 0, 1, 1], output_padding=[1, 0]),
        constants={"w": weights(4, 3, 3, 3), "b": weights(3)},
    ),
    "Gemm": graph(
        node("Flatten", out="f"),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], transB=1, alpha=0.5, beta=2.0),
        constants={"w": weights(5, 288), "b": weights(5)},
    ),
    "Gemm, not transposed": graph(
        node("Flatten", out="f"), helper.make_node("Gemm", ["f", "w"], ["y"]), constants={"w": weights(288, 5)}
    ),
    "MatMul": graph(node("MatMul", "w"), constants={"w": weights(8, 5)}),
    "MaxPool": graph(node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])),
    "MaxPool, ceil": graph(node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
    "AveragePool": graph(node("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
    "AveragePool, one side": graph(node("AveragePool", kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2])),
    "AveragePool, zeros count": graph(node("AveragePool", kernel_shape=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1)),
    "Reshape": graph(node("Reshape", "s"), constants={"s": ints(1, 36, 8)}),
    "Reshape, keeping": graph(node("Reshape", "s"), constants={"s": ints(0, -1)}),
    "Flatten": graph(node("Flatten", axis=2)),
    "Transpose": graph(node("Transpose", perm=[0, 2, 3, 1])),
    "Squeeze": graph(
        node("GlobalAveragePool", out="g"), helper.make_node("Squeeze", ["g", "a"], ["y"]), constants={"a": ints(2, -1)}
    ),
    "Unsqueeze": graph(node("Unsqueeze", "a"), constants={"a": ints(2, -1)}),
    "Concat": graph(
        node("Relu", out="r"),
        helper.make_node("Concat", ["x", "r", "c"], ["y"], axis=1),
        constants={"c": weights(1, 2, 9, 8)},
    ),
    "Split": graph(helper.make_node("Split", ["x", "s"], ["y0", "y1"], axis=1), constants={"s": ints(1, 3)}, outputs=2),
    "Split, even": graph(helper.make_node("Split", ["x"], ["y0", "y1"], axis=2, num_outputs=2), outputs=2),
    "Slice": graph(
        node("Slice", "s", "e", "a", "t"),
        constants={"s": ints(1, -1), "e": ints(99, -99), "a": ints(1, 3), "t": ints(2, -3)},
    ),
    "Gather": graph(node("Gather", "i", axis=1), constants={"i": ints(2, -1, 0)}),
    "Pad": graph(node("Pad", "p", "v"), constants={"p": ints(0, 0, 1, 2, 0, 1, 0, 3), "v": np.float32(0.5)}),
    "Pad, reflect": graph(node("Pad", "p", mode="reflect"), constants={"p": ints(0, 0, 1, 2, 0, 0, 0, 3)}),
    "Expand": graph(
        node("GlobalAveragePool", out="g"),
        helper.make_node("Expand", ["g", "s"], ["y"]),
        constants={"s": ints(1, 4, 3, 2)},
    ),
    "Resize, nearest": graph(
        node("Resize", "", "f", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        constants={"f": np.array([1, 1, 2, 2], np.float32)},
    ),
    "Resize, linear": graph(node("Resize", "", "", "s", mode="linear"), constants={"s": ints(1, 4, 18, 12)}),
    "Resize, corners": graph(
        node("Resize", "", "f", mode="linear", coordinate_transformation_mode="align_corners"),
        constants={"f": np.array([1, 1, 2, 2], np.float32)},
    ),
    "DepthToSpace": graph(node("DepthToSpace", blocksize=2)),
    "DepthToSpace, CRD": graph(node("DepthToSpace", blocksize=2, mode="CRD")),
    "SpaceToDepth": graph(node("SpaceToDepth", blocksize=2), shape=(1, 4, 8, 6)),
}


@pytest.mark.parametrize("name", CASES)
def test_operator_computes_what_the_engine_computes(name: str) -> None:
    model = CASES[name]
    shape = [dim.dim_value for dim in onnx.load_model_from_string(model).graph.input[0].type.tensor_type.shape.dim]
    images = RANDOM.normal(0, 1, (3, *shape[1:])).astype(np.float32)
    wanted, seen = run_file(model, images), run_module(float_network(model), images)
    for before, after in zip(wanted, seen, strict=True):
        assert before.shape == after.shape
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_an_unknown_operator_is_named() -> None:
    with pytest.raises(ModelError, match=r"'the Cosh' \(Cosh\): this operator is not known"):
        float_network(graph(node("Cosh")))


def test_a_way_of_using_an_operator_that_is_not_known_is_named() -> None:
    model = graph(node("Resize", "", "f", mode="cubic"), constants={"f": np.array([1, 1, 2, 2], np.float32)})
    with pytest.raises(ModelError, match="'the Resize'.*cubic"):
        float_network(model)


def test_a_graph_with_one_picture_written_into_it_runs_one_by_one() -> None:
    nodes = [
        node("Transpose", perm=[1, 0, 2, 3], out="t"),
        helper.make_node("Reshape", ["t", "s"], ["u"]),
        helper.make_node("Softmax", ["u"], ["y"], axis=0),
    ]
    model = graph(*nodes, constants={"s": ints(4, 72)})
    network = float_network(model)
    images = RANDOM.normal(0, 1, (3, *PICTURE[1:])).astype(np.float32)

    prove_float(network, model, torch.from_numpy(images))

    assert network.one_by_one
    np.testing.assert_allclose(run_module(network, images)[0], run_file(model, images)[0], atol=1e-6)


def test_a_network_that_computes_something_else_is_refused() -> None:
    images = torch.from_numpy(RANDOM.normal(0, 1, (2, *PICTURE[1:])).astype(np.float32))
    with pytest.raises(ModelError, match="output 'y'.*leave it out"):
        prove_float(float_network(CASES["Tanh"]), CASES["Sigmoid"], images)
