"""The arithmetic of grids: rounding as the engine's, integers as the writer's, gradients as the papers'."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper
from qat_networks import run_file

from edgewright.optimize.qat.build import simulated_network
from edgewright.optimize.qat.grids import ActivationGrid, WeightGrid
from edgewright.optimize.qat.write import differences, writer_step
from edgewright.optimize.quantization.scheme import IntegerType, Scheme
from edgewright.optimize.quantization.writer import quantize_graph

WEIGHTS = arrays(
    np.float32,
    (5, 3, 1, 1),
    elements=st.one_of(
        st.sampled_from([0.0, 1.0, -0.5, 1e-9, 711.0]),
        st.floats(-4, 4, width=32),
        st.floats(-(2.0**-10), 2.0**-10, width=32),
    ),
)
BIASES = arrays(np.float32, (5,), elements=st.one_of(st.sampled_from([0.0, 1e6]), st.floats(-100, 100, width=32)))
SCHEMES = [
    Scheme(),
    Scheme(per_channel=False),
    Scheme(weight_bits=7),
    Scheme(weights=IntegerType.UINT8),
    Scheme(weights=IntegerType.UINT8, weight_bits=7),
    Scheme(weights=IntegerType.UINT8, per_channel=False),
    Scheme(activations=IntegerType.INT8),
]


def convolution(weight: Any, bias: Any) -> bytes:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
    shapes = {"x": [1, 3, 4, 4], "y": [1, 5, 4, 4]}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    made = helper.make_graph(nodes, "one", [values["x"]], [values["y"]], constants)
    return bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString())


@settings(max_examples=30, deadline=None)
@given(weight=WEIGHTS, bias=BIASES, scheme=st.sampled_from(SCHEMES), high=st.floats(2.0**-10, 50, width=32))
def test_integers_are_the_writers_to_the_last_one(weight: Any, bias: Any, scheme: Scheme, high: float) -> None:
    model = convolution(weight, bias)
    ranges = {"x": (-1.0, high), "c": (-1.0, 7.0), "y": (0.0, 7.0)}
    graph = quantize_graph(model, ranges, scheme=scheme).model

    assert differences(simulated_network(model, graph, scheme), graph) == ()


@given(low=st.floats(-100, 0, width=32), high=st.floats(0, 100, width=32), signed=st.booleans())
@settings(max_examples=15, deadline=None)
def test_ranges_become_the_writers_steps(low: float, high: float, signed: bool) -> None:
    scheme = Scheme(activations=IntegerType.INT8 if signed else IntegerType.UINT8)
    model = convolution(np.ones((5, 3, 1, 1), np.float32), np.zeros(5, np.float32))
    ranges = {"x": (low, high), "c": (-1.0, 7.0), "y": (0.0, 7.0)}
    written = onnx.load_model_from_string(quantize_graph(model, ranges, scheme=scheme).model)
    stored = {item.name: numpy_helper.to_array(item) for item in written.graph.initializer}

    step, zero = writer_step(ranges["x"], np.dtype(np.int8 if signed else np.uint8))

    assert step == float(stored["x_scale"])
    assert zero == int(stored["x_zero_point"])


def test_activations_are_rounded_as_the_engine_rounds_them() -> None:
    scale, zero = np.float32(0.037), 131
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    constants = [numpy_helper.from_array(np.array(scale), "s"), numpy_helper.from_array(np.array(zero, np.uint8), "z")]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4096]) for name in ("x", "y")]
    made = helper.make_graph(nodes, "pair", values[:1], values[1:], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    ties = (np.arange(-200, 200) + np.float32(0.5)) * scale
    x = np.concatenate([ties, np.random.default_rng(0).normal(0, 4, 4096 - len(ties))]).astype(np.float32)[None]

    seen = ActivationGrid(float(scale), zero, (0, 255))(torch.from_numpy(x)).numpy()

    assert np.array_equal(seen, run_file(model, x)[0])


def test_gradients_pass_inside_the_range_and_nowhere_else() -> None:
    grid = ActivationGrid(0.5, 2, (0, 255))
    x = torch.tensor([-3.0, -1.2, 0.3, 100.0, 130.0], requires_grad=True)

    grid(x).sum().backward()

    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 1, 1, 0]


def test_a_trained_step_learns_as_the_paper_says() -> None:
    grid = ActivationGrid(0.5, 2, (0, 255), learn=True)

    grid(torch.tensor([-3.0, 0.3, 130.0])).sum().backward()

    # Below: the lowest code; inside: rounding error; above: the highest code; times the step, for its logarithm.
    assert grid.change.grad is not None
    assert float(grid.change.grad) == pytest.approx(0.5 * (-2 + (1 - 0.6) + 253))


def test_a_bound_is_cut_where_what_is_cut_matters_little() -> None:
    weight = torch.tensor([[[[0.2]], [[-0.4]], [[0.3]], [[500.0]]]])
    grid = WeightGrid(signed=True, bits=8, axis=0)
    quiet, loud = torch.tensor([1.0, 1.0, 1.0, 0.0]), torch.ones(4)

    assert 0.4 <= float(grid.best_bound(weight, quiet.reshape(1, 4, 1, 1))) < 1.0
    assert float(grid.best_bound(weight, loud.reshape(1, 4, 1, 1))) == 500.0
