"""Factors of Gemm go into its constants, and the network computes the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.optimize.passes import run_passes
from edgewright.optimize.passes.gemm import PlainGemm

FEEDS = [{"x": np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)}]


def gemm(bias: np.ndarray | None, **attributes: float) -> onnx.ModelProto:
    random = np.random.default_rng(1)
    shape = (3, 4) if attributes.get("transB") else (4, 3)
    constants = {"w": random.normal(size=shape).astype(np.float32)} | ({} if bias is None else {"b": bias})
    node = helper.make_node("Gemm", ["x", *constants], ["y"], name="head", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


BIAS = np.array([1, -2, 3], np.float32)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(gemm(BIAS, alpha=0.5), id="alpha"),
        pytest.param(gemm(BIAS, alpha=0.5, beta=2.0, transB=1), id="both, transposed"),
        pytest.param(gemm(BIAS[:1], beta=0.25), id="one bias for all"),
        pytest.param(gemm(BIAS[None]), id="bias as a row"),
        pytest.param(gemm(None, alpha=3.0), id="no bias"),
    ],
)
def test_a_gemm_is_left_without_factors(model: onnx.ModelProto) -> None:
    run = run_passes(model, [PlainGemm()], FEEDS)
    node = run.model.graph.node[0]
    assert run.notes
    assert not {item.name for item in node.attribute} & {"alpha", "beta"}
    shapes = {tensor.name: list(tensor.dims) for tensor in run.model.graph.initializer}
    assert set(shapes) == set(node.input[1:])
    assert all(shapes[name] == [3] for name in node.input[2:])


@pytest.mark.parametrize("model", [gemm(BIAS), gemm(np.ones((2, 3), np.float32))])
def test_nothing_to_do_changes_nothing(model: onnx.ModelProto) -> None:
    assert run_passes(model, [PlainGemm()], FEEDS).notes == ()
