"""Patches and their moments, against plain definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.optimize.rounding import MomentObserver
from edgewright.optimize.rounding.geometry import layer_geometries

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def one_conv(shape: tuple[int, ...], **attributes: Any) -> tuple[onnx.ModelProto, Any]:
    random = np.random.default_rng(0)
    weights = random.normal(0, 1, shape).astype(np.float32)
    channels = shape[1] * attributes.get("group", 1)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 9, 11])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model), random.normal(0, 1, (1, channels, 9, 11)).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((4, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
        ((4, 3, 3, 3), {"strides": [2, 2], "pads": [0, 1, 1, 0]}),
        ((6, 1, 3, 3), {"group": 6, "dilations": [2, 2]}),
        ((8, 2, 3, 1), {"group": 4, "strides": [1, 2]}),
        ((6, 1, 5, 5), {"group": 3, "pads": [2, 2, 2, 2]}),
        ((4, 3, 1, 1), {}),
        ((4, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((4, 3, 2, 2), {"auto_pad": "SAME_LOWER"}),
    ],
)
def test_weights_times_patches_is_the_convolution(shape: tuple[int, ...], attributes: dict[str, Any]) -> None:
    model, x = one_conv(shape, **attributes)
    geometry = layer_geometries(model)[0]["conv"]
    weights = numpy_helper.to_array(model.graph.initializer[0])
    made = geometry.matrix(weights) @ geometry.patches(x, 10**6, 0)
    wanted = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    assert made.reshape(wanted.shape[1], -1) == pytest.approx(wanted.reshape(wanted.shape[1], -1), abs=1e-4)
    assert geometry.stored(geometry.matrix(weights), shape) == pytest.approx(weights)


def test_moments_are_those_of_all_patches(case: Any) -> None:
    shapes = {name: moments.second.shape for name, moments in case.given.moments.items()}
    assert shapes == {
        "stem": (1, 27, 27),
        "deep": (8, 9, 9),
        "point": (1, 8, 8),
        "head": (1, 12, 12),
        "last": (1, 7, 7),
    }
    moments = case.given.moments["point"]
    assert moments.count == 6 * 256
    for value in case.given.moments.values():
        assert np.linalg.eigvalsh(value.second).min() > -1e-4


def test_memory_does_not_grow_and_pictures_may_come_in_parts(make_case: Callable[..., Any]) -> None:
    model = make_case().model
    observer = MomentObserver(model)
    before = observer.nbytes
    random = np.random.default_rng(0)
    for _ in range(3):
        observer.observe({"image": random.normal(0, 1, (1, 3, 16, 16)).astype(np.float32)})
        observer.observe({"clipped": random.normal(0, 1, (1, 8, 16, 16)).astype(np.float32), "foreign": np.zeros(3)})
    assert observer.nbytes == before
    assert set(observer.moments()) == {"stem", "deep"}
    assert observer.tensors == {"image", "clipped", "active", "flat", "hidden"}


def test_large_layers_are_left_out_with_a_note(case: Any) -> None:
    observer = MomentObserver(case.model, max_taps=20)
    assert observer.notes == ("stem: 27 inputs an output are too many for a second moment",)


def test_positions_are_bounded_and_move(case: Any) -> None:
    geometry = layer_geometries(onnx.load_model_from_string(case.model))[0]["point"]
    x = np.arange(8 * 256, dtype=np.float32).reshape(1, 8, 16, 16)
    first, second = (geometry.patches(x, 64, turn) for turn in (0, 1))
    assert first.shape == second.shape == (1, 8, 64)
    assert not (first == second).any()
