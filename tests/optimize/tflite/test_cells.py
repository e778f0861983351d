"""Several pixels taken as one: the same integers, whatever the layer's windows are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.tflite import TfliteForm, Tuning, write_tflite
from edgewright.optimize.tflite.operators.cells import choose_cells, widen
from edgewright.optimize.tflite.weights import Weights
from edgewright.optimize.tflite.windows import Axis

Make = Callable[..., bytes]
Run = Callable[..., dict[str, Any]]
NODE = helper.make_node
WIDE = Tuning(columns=64)
# Of the input, of the weights, and what the convolution is told.
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "strided stem, padded behind": ((1, 3, 128, 128), (32, 3, 3, 3), {"strides": [2, 2], "pads": [0, 0, 1, 1]}),
    "strided stem, padded before": ((1, 3, 128, 128), (16, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "large stem": ((1, 3, 128, 128), (16, 3, 7, 7), {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
    "one pixel": ((1, 32, 65, 72), (16, 32, 1, 1), {}),
    "three by three": ((1, 3, 64, 64), (8, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
}


@pytest.mark.parametrize("name", list(LAYERS))
def test_every_result_is_the_same_integer(name: str, make_graph: Make, quantize: Any, run_tflite: Run) -> None:
    shape, kernel, told = LAYERS[name]
    random = np.random.default_rng(0)
    constants = {
        "w": random.normal(0, 0.3, kernel).astype(np.float32),
        "b": random.normal(0, 0.3, kernel[0]).astype(np.float32),
        "v": random.normal(0, 0.3, (4, kernel[0], 1, 1)).astype(np.float32),
    }
    nodes = [NODE("Conv", ["x", "w", "b"], ["h"], **told), NODE("Relu", ["h"], ["r"]), NODE("Conv", ["r", "v"], ["y"])]
    feeds = [{"x": random.uniform(-1, 1, shape).astype(np.float32)} for _ in range(2)]
    qdq, ranges, _ = quantize(make_graph(nodes, shape, **constants), feeds, scheme=Scheme(float_outputs=False))
    plain = write_tflite(qdq, form=TfliteForm.INT8, ranges=ranges)
    wide = write_tflite(qdq, form=TfliteForm.INT8, ranges=ranges, tuning=WIDE)
    assert any("take several pixels as one" in note for note in wide.notes)
    assert (wide.inputs, wide.outputs) == (plain.inputs, plain.outputs)
    assert len(wide.model) > len(plain.model)
    for feed in feeds:
        seen = run_tflite(plain, feed)["y"]
        assert np.unique(seen).size > 20
        np.testing.assert_array_equal(run_tflite(wide, feed)["y"], seen)


@settings(max_examples=60)
@given(
    size=st.integers(2, 24).map(lambda half: 2 * half),
    channels=st.integers(1, 3),
    kernel=st.integers(1, 5),
    stride=st.sampled_from([1, 2]),
    columns=st.sampled_from([8, 16, 64]),
    data=st.data(),
)
def test_cells_sum_up_the_same_products(
    size: int, channels: int, kernel: int, stride: int, columns: int, data: st.DataObject
) -> None:
    before = data.draw(st.integers(0, kernel - 1))
    wide, high = Axis(size, kernel, stride, before, size // stride), Axis(8192, 1, 1, 0, 8192)
    random = np.random.default_rng(0)
    weights = Weights(
        "w", random.integers(-127, 128, (4, channels, 1, kernel)).astype(np.int8), np.ones(4, np.float32), 0
    )
    cells = choose_cells(weights, (high, wide), columns)
    assume(cells is not None and cells.axes[0] == high)
    assert cells is not None
    row = random.integers(-128, 128, (size, channels))
    told = widen(weights, cells, wide)
    axis = cells.axes[1]
    assert told.channels == 4 * cells.results <= columns
    assert len(told.steps) == told.channels
    joined = slide(row.reshape(axis.size, -1), told.values[:, :, 0], axis)
    np.testing.assert_array_equal(joined.reshape(-1, 4), slide(row, weights.values[:, :, 0], wide))


def slide(row: np.ndarray[Any, Any], weights: np.ndarray[Any, Any], axis: Axis) -> np.ndarray[Any, Any]:
    """(places, out) of a row (size, in) under weights (out, in, taps)."""
    padded = np.pad(row.astype(np.int64), ((axis.before, max(axis.after, 0)), (0, 0)))
    places = [padded[k * axis.stride : k * axis.stride + axis.kernel] for k in range(axis.out)]
    return np.stack([np.einsum("tc,oct->o", place, weights.astype(np.int64)) for place in places])


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((64, 3, 3, 3), (Axis(128, 3, 2, 0, 64), Axis(128, 3, 2, 0, 64))),  # fills the columns
        ((16, 192, 1, 1), (Axis(64, 1, 1, 0, 64), Axis(64, 1, 1, 0, 64))),  # deep inputs cost more than they save
        ((16, 32, 1, 1), (Axis(19, 1, 1, 0, 19), Axis(19, 1, 1, 0, 19))),  # small
        ((16, 3, 3, 3), (Axis(128, 3, 1, 0, 126), Axis(128, 3, 1, 0, 126))),  # the last cell would be cut
        ((16, 3, 3, 3), (Axis(134, 3, 2, 1, 67), Axis(134, 3, 2, 1, 67))),  # a prime number of results
    ],
)
def test_layers_that_gain_nothing_stay(shape: tuple[int, ...], axes: tuple[Axis, Axis]) -> None:
    weights = Weights("w", np.ones(shape, np.int8), np.ones(1, np.float32), 0)
    assert choose_cells(weights, axes, 64) is None
    assert choose_cells(weights, axes, 0) is None


def test_grouped_and_float_layers_stay(make_graph: Make, quantize: Any) -> None:
    shape = (1, 4, 64, 64)
    nodes = [NODE("Conv", ["x", "w"], ["h"], group=2), NODE("Conv", ["h", "v"], ["y"], dilations=[2, 2])]
    random = np.random.default_rng(0)
    constants = {
        "w": random.normal(0, 1, (4, 2, 1, 1)).astype(np.float32),
        "v": random.normal(0, 1, (4, 4, 3, 3)).astype(np.float32),
    }
    model = make_graph(nodes, shape, **constants)
    qdq, *_ = quantize(model, [{"x": random.uniform(-1, 1, shape).astype(np.float32)}])
    for source, form in ((qdq, TfliteForm.INT8), (model, TfliteForm.FLOAT32)):
        assert write_tflite(source, form=form, tuning=WIDE).model == write_tflite(source, form=form).model
