"""What a processor with saturating pairs answers, against loops and against the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgewright.optimize.quantization.integer_graph import IntegerGraph, IntegerLayer
from edgewright.optimize.quantization.scheme import IntegerType, Scheme
from edgewright.optimize.targets.saturation import SaturationEmulator
from edgewright.runtime.backends.onnx import OnnxBackend

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgewright.optimize.quantization.writer import QuantizedGraph

    Make = Callable[..., QuantizedGraph]


def naive_layer(layer: IntegerLayer, codes: NDArray[Any], *, pairs: bool) -> NDArray[Any]:
    """A convolution as loops; pairs run over kernel positions first and channels last."""
    top, left, bottom, right = layer.attributes.get("pads", [0] * 4)
    stride = layer.attributes.get("strides", [1, 1])[0]
    groups = layer.attributes.get("group", 1)
    grid = layer.input
    padded = np.pad(codes, ((0, 0), (top, bottom), (left, right)), constant_values=grid.zero_point).astype(int)
    out, wide, height, width = layer.codes.shape
    rows, columns = (padded.shape[1] - height) // stride + 1, (padded.shape[2] - width) // stride + 1
    sums = np.zeros((out, rows, columns), int)
    for o in range(out):
        start = o // (out // groups) * wide
        order = [(i, j, c) for i in range(height) for j in range(width) for c in range(wide)]
        weights = [int(layer.codes[o, c, i, j]) for i, j, c in order]
        for y in range(rows):
            for x in range(columns):
                terms = [
                    padded[start + c, y * stride + i, x * stride + j] * w
                    for (i, j, c), w in zip(order, weights, strict=True)
                ]
                two = [sum(terms[k : k + 2]) for k in range(0, len(terms), 2)]
                total = sum(max(-32768, min(32767, pair)) for pair in two) if pairs else sum(terms)
                sums[o, y, x] = total - grid.zero_point * sum(weights)
    scale = (np.float32(grid.scale) * layer.scale) / np.float32(layer.grid.scale)  # type: ignore[union-attr]
    bias = 0 if layer.bias is None else layer.bias[:, None, None]
    scaled = (sums + bias).astype(np.float32) * np.broadcast_to(scale, out)[:, None, None]
    return np.clip(np.rint(scaled) + layer.grid.zero_point, 0, 255).astype(np.uint8)  # type: ignore[union-attr]


def naive(graph: QuantizedGraph, picture: NDArray[Any], *, saturate: bool) -> NDArray[Any]:
    layers = IntegerGraph(graph.model).layers
    grid = layers[0].input
    codes = np.clip(np.rint(picture[0] / np.float32(grid.scale)) + grid.zero_point, 0, 255).astype(np.uint8)
    for layer in layers:
        codes = naive_layer(layer, codes, pairs=saturate and layer.attributes.get("group", 1) != 8)
    last = layers[-1].grid
    assert last is not None
    return (codes.astype(np.float32) - last.zero_point) * np.float32(last.scale)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("saturate", [True, False])
def test_answers_are_those_of_loops(make: Make, pictures: list[dict[str, Any]], groups: int, *, saturate: bool) -> None:
    graph = make(groups=groups)
    seen = SaturationEmulator(graph).run(pictures[0], saturate=saturate)["y"]
    np.testing.assert_allclose(seen[0], naive(graph, pictures[0]["x"], saturate=saturate), rtol=1e-6)


def test_this_machine_answers_as_one_of_the_two(make: Make, pictures: list[dict[str, Any]]) -> None:
    graph = make()
    emulator, engine = SaturationEmulator(graph), OnnxBackend(graph.model)
    for picture in pictures:
        saturated, exact = emulator.run(picture)["y"], emulator.run(picture, saturate=False)["y"]
        assert (saturated != exact).mean() > 0.05
        here = engine.run(picture)["y"]
        assert any(np.allclose(here, answer, rtol=1e-6) for answer in (saturated, exact))


def test_figures_say_where_and_how_much(make: Make, pictures: list[dict[str, Any]]) -> None:
    emulator = SaturationEmulator(make())
    for picture in pictures:
        emulator.run(picture)
    figures = {layer.node: layer for layer in emulator.layers}
    assert set(figures) == {"first", "last"}  # the depthwise kernel is exact
    assert 0 < figures["first"].saturated <= 1
    assert figures["first"].snr_db is not None
    assert 0 < emulator.capable_share < 1


@pytest.mark.parametrize("scheme", [Scheme(weight_bits=7), Scheme(weights=IntegerType.UINT8, per_channel=False)])
def test_seven_bits_and_unsigned_weights_are_safe(make: Make, pictures: list[dict[str, Any]], scheme: Scheme) -> None:
    emulator = SaturationEmulator(make(scheme))
    assert emulator.capable_share == 0
    assert not emulator.layers
    both = [emulator.run(pictures[0], saturate=saturate)["y"] for saturate in (True, False)]
    np.testing.assert_array_equal(*both)
