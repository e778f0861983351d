"""A network whose weights overflow sixteen bits, and the same one with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.quantization.writer import QuantizedGraph, quantize_graph

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SIDE = 12
RANGES = {"x": (-1.0, 1.0), "a": (0.0, 20.0), "d": (0.0, 20.0), "y": (-30.0, 30.0)}


def bright_model(groups: int = 1) -> bytes:
    """Convolution, depthwise, strided convolution; all weights of a channel of nearly one size."""
    random = np.random.default_rng(0)

    def weights(*shape: int) -> NDArray[np.float32]:
        sizes = random.uniform(0.8, 1.0, shape) * random.choice([1.0, 1.0, 1.0, -1.0], shape)
        return (sizes * random.uniform(0.2, 0.5, (shape[0], 1, 1, 1))).astype(np.float32)

    constants = {"v": weights(8, 4 // groups, 3, 3), "u": weights(8, 1, 3, 3), "w": weights(6, 8, 3, 3)}
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["a_"], name="first", pads=[1, 1, 1, 1], group=groups),
        helper.make_node("Relu", ["a_"], ["a"], name="relu"),
        helper.make_node("Conv", ["a", "u"], ["d_"], name="depthwise", pads=[1, 1, 1, 1], group=8),
        helper.make_node("Relu", ["d_"], ["d"], name="relu2"),
        helper.make_node("Conv", ["d", "w"], ["y"], name="last", strides=[2, 2], pads=[1, 0, 2, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 7, 6])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


@pytest.fixture(scope="session")
def bright() -> bytes:
    """The float network."""
    return bright_model()


@pytest.fixture(scope="session")
def make() -> Callable[..., QuantizedGraph]:
    """Quantizes the network to a scheme."""

    def quantized(scheme: Scheme | None = None, groups: int = 1) -> QuantizedGraph:
        ranges = RANGES | {"a_": RANGES["a"], "d_": RANGES["d"]}
        return quantize_graph(bright_model(groups), ranges, scheme=scheme)

    return quantized


@pytest.fixture(scope="session")
def pictures() -> list[dict[str, NDArray[Any]]]:
    """Bright pictures."""
    random = np.random.default_rng(4)
    return [{"x": random.uniform(-0.2, 1.0, (1, 4, SIDE, SIDE)).astype(np.float32)} for _ in range(3)]
