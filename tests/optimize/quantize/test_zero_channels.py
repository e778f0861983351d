"""Channels without weights keep their bias."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.optimize.calibration import RangeCollector, RangeMethod
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.quantization.writer import quantize_graph

PICTURE = {"x": np.random.default_rng(0).uniform(0, 255, (1, 3, 8, 8)).astype(np.float32)}
BIAS = np.array([0.1, 0.36, 0.12, 0.29], np.float32)


def network(empty: list[int]) -> bytes:
    weights = np.random.default_rng(0).normal(0, 1e-3, (4, 3, 3, 3)).astype(np.float32)
    weights[empty] = 0
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], name="c", pads=[1, 1, 1, 1])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(BIAS, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return prepare_graph(model.SerializeToString(), [PICTURE]).model


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(weight_bits=7)])
@pytest.mark.parametrize("empty", [[1], [1, 3], []])
def test_empty_channels_put_out_their_bias(empty: list[int], scheme: Scheme) -> None:
    model = network(empty)
    collector = RangeCollector(model)
    collector.observe(PICTURE)
    int8 = quantize_graph(model, collector.ranges(RangeMethod.MINMAX), scheme=scheme)
    before = ort.InferenceSession(model).run(None, PICTURE)[0]
    after = ort.InferenceSession(int8.model).run(None, PICTURE)[0]
    spread = before.max() - before.min()
    assert np.abs(after[:, empty] - before[:, empty]).max(initial=0) < spread / 255
    assert np.abs(after - before).max() < spread / 20
    layer = IntegerGraph(int8.model).layer("c")
    assert not layer.codes[empty].any()
    assert layer.bias is not None
    np.testing.assert_allclose(layer.bias * layer.bias_scale, BIAS, rtol=1e-2)
