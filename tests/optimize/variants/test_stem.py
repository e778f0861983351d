"""Normalisation folded into a first convolution: the same numbers, edges included."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.bundle.manifest import ColorOrder, Preprocess, ResizeMode
from edgewright.optimize.variants.stem import fold_stem, pixel_grid
from edgewright.runtime.backends.onnx import OnnxBackend

SIDE = 10
PREPROCESSINGS = {
    "one to one": {"scale": 2 / 255, "mean": (1.0, 1.0, 1.0)},
    "whole zero": {"scale": 1 / 128, "mean": (1.0, 1.0, 1.0)},
    "unit": {"scale": 1 / 255},
    "imagenet": {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "caffe": {"scale": 1.0, "mean": (104.0, 117.0, 123.0), "color": ColorOrder.BGR},
}


def preprocess(kind: str) -> Preprocess:
    given: dict[str, Any] = PREPROCESSINGS[kind]
    return Preprocess(ResizeMode.STRETCH, SIDE, SIDE, **given)


def convolve(x: np.ndarray, weights: np.ndarray, bias: np.ndarray, pad: int) -> np.ndarray:
    shape = [1, len(weights), *[(SIDE + 2 * pad - 3) // 2 + 1] * 2]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[pad] * 4, strides=[2, 2])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in (("w", weights), ("b", bias))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return OnnxBackend(model.SerializeToString()).run({"x": x.astype(np.float32)})["y"].copy()


@pytest.mark.parametrize("kind", PREPROCESSINGS)
@pytest.mark.parametrize("pad", [0, 1])
def test_the_folded_convolution_gives_the_same_numbers(kind: str, pad: int) -> None:
    spec, random = preprocess(kind), np.random.default_rng(0)
    weights, bias = random.normal(size=(5, 3, 3, 3)), random.normal(size=5)
    frame = random.integers(0, 256, (SIDE, SIDE, 3)).astype(np.float64)
    network = frame[..., ::-1] if spec.color is ColorOrder.RGB else frame
    values = (network * spec.scale - np.array(spec.mean)) / np.array(spec.std)
    wanted = convolve(values.transpose(2, 0, 1)[None], weights, bias, pad)

    grid, folded = pixel_grid(spec), fold_stem(weights, bias, spec, padded=bool(pad))
    codes = (frame - grid.zero).transpose(2, 0, 1)[None]
    if folded.extra:
        codes = np.concatenate([codes, np.ones_like(codes[:, :1])], axis=1)
    seen = convolve(codes * grid.step, folded.weights, folded.bias, pad)

    np.testing.assert_allclose(seen[..., 1:, 1:], wanted[..., 1:, 1:], atol=1e-4)
    if not pad or grid.exact or folded.extra:
        np.testing.assert_allclose(seen, wanted, atol=1e-4)
    else:  # what half a grey level weighs at the edge
        assert grid.nearly_exact
        assert np.abs(seen - wanted).max() <= 0.5 * grid.step * np.abs(weights).sum(axis=(1, 2, 3)).max()


@pytest.mark.parametrize(
    ("kind", "extra"), [("one to one", False), ("whole zero", False), ("unit", False), ("imagenet", True)]
)
def test_the_constant_channel_is_there_only_where_edges_need_it(kind: str, *, extra: bool) -> None:
    weights = np.ones((2, 3, 3, 3))
    assert fold_stem(weights, np.zeros(2), preprocess(kind), padded=True).extra is extra
    assert not fold_stem(weights, np.zeros(2), preprocess(kind), padded=False).extra


def test_without_the_constant_channel_edges_would_be_wrong() -> None:
    spec = preprocess("imagenet")
    weights, bias = np.ones((1, 3, 3, 3)), np.zeros(1)
    black = (np.zeros((SIDE, SIDE, 3)) - np.array(spec.mean)) / np.array(spec.std)
    wanted = convolve(black.transpose(2, 0, 1)[None], weights, bias, 1)
    grid, folded = pixel_grid(spec), fold_stem(weights, bias, spec, padded=False)
    codes = np.full((1, 3, SIDE, SIDE), -grid.zero * grid.step)
    seen = convolve(codes, folded.weights, folded.bias, 1)
    np.testing.assert_allclose(seen[..., 1:, 1:], wanted[..., 1:, 1:], atol=1e-4)
    assert np.abs(seen - wanted).max() > 0.01
