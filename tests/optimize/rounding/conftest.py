"""A tiny depthwise network whose plain INT8 is poor, its pictures, and what the passes are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.quantization.writer import QuantizedGraph, quantize_graph
from edgewright.optimize.rounding import MomentObserver, RoundingInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SIDE = 16


@dataclass(frozen=True, eq=False)
class Case:
    """A float model, its INT8 file, and what passes may look at."""

    model: bytes
    graph: QuantizedGraph
    given: RoundingInput
    pictures: list[NDArray[np.float32]]


def pictures(count: int, seed: int = 0, bright: float = 1.0) -> list[NDArray[np.float32]]:
    """Smooth, always positive."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = np.repeat(np.repeat(random.uniform(0.2, 1, (1, 3, 4, 4)), 4, 2), 4, 3)
        found.append((bright * coarse + random.uniform(0, 0.1, coarse.shape)).astype(np.float32))
    return found


def network(*, kernel: int = 3, shared: bool = False, dead: bool = False) -> bytes:
    """Conv, Clip, depthwise Conv, Relu, 1x1 Conv, pooling, Gemm, MatMul."""
    random = np.random.default_rng(1)
    taps = random.normal(0, 1, (8, 1, kernel, kernel)).astype(np.float32)
    # Differences: the taps of a channel cancel, so that rounding errors do not drown.
    taps -= taps.mean(axis=(2, 3), keepdims=True)
    if dead:
        taps[3] = 0
    constants = {
        "stem": random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "stem_b": random.uniform(1.5, 2.5, 8).astype(np.float32),
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "taps": taps,
        "taps_b": random.uniform(0, 0.3, 8).astype(np.float32),
        "point": random.normal(0, 0.4, (12, 8, 1, 1)).astype(np.float32),
        "point_b": random.uniform(0, 0.5, 12).astype(np.float32),
        "head": random.normal(0, 0.4, (12, 7)).astype(np.float32),
        "head_b": random.normal(0, 0.4, 7).astype(np.float32),
        "last": random.normal(0, 0.4, (7, 5)).astype(np.float32),
    }
    pad = kernel // 2
    nodes = [
        helper.make_node("Conv", ["image", "stem", "stem_b"], ["stemmed"], name="stem", pads=[1] * 4),
        helper.make_node("Clip", ["stemmed", "low", "high"], ["clipped"], name="clip"),
        helper.make_node("Conv", ["clipped", "taps", "taps_b"], ["deep"], name="deep", pads=[pad] * 4, group=8),
        helper.make_node("Relu", ["deep"], ["active"], name="relu"),
        helper.make_node("Conv", ["active", "point", "point_b"], ["wide"], name="point"),
        helper.make_node("Relu", ["wide"], ["wide_active"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["wide_active"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "head", "head_b"], ["hidden"], name="head"),
        helper.make_node("MatMul", ["hidden", "last"], ["scores"], name="last"),
    ]
    if shared:
        again = [
            helper.make_node("Conv", ["active", "taps", "taps_b"], ["deep2"], name="deep2", pads=[pad] * 4, group=8),
            helper.make_node("Relu", ["deep2"], ["active2"], name="relu3"),
        ]
        nodes[4:4] = again
        nodes[6].input[0] = "active2"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def activations(model: bytes, picture: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Every float tensor of the network for one picture, by ONNX Runtime."""
    import onnxruntime as ort

    wide = onnx.load_model_from_string(model)
    wide.graph.output.extend(wide.graph.value_info)
    session = ort.InferenceSession(wide.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in wide.graph.output]
    fed = {wide.graph.input[0].name: picture}
    return dict(zip(names, session.run(names, fed), strict=True)) | fed


def build(model: bytes, shots: list[NDArray[np.float32]], scheme: Scheme | None = None) -> Case:
    """Ranges, moments and the INT8 file from the same pictures."""
    scheme = scheme or Scheme()
    observer = MomentObserver(model)
    ranges: dict[str, tuple[float, float]] = {}
    for shot in shots:
        values = activations(model, shot)
        observer.observe(values)
        for name, value in values.items():
            low, high = ranges.get(name, (np.inf, -np.inf))
            ranges[name] = min(low, float(value.min())), max(high, float(value.max()))

    def feeds() -> Iterator[dict[str, NDArray[Any]]]:
        name = onnx.load_model_from_string(model).graph.input[0].name
        return ({name: shot} for shot in shots)

    graph = quantize_graph(model, ranges, scheme=scheme)
    return Case(model, graph, RoundingInput(model, observer.moments(), feeds, scheme=scheme), shots)


@pytest.fixture(scope="session")
def make_case() -> Callable[..., Case]:
    """Builds a case: options of ``network``, ``count`` of pictures, ``scheme``."""

    def make(count: int = 6, scheme: Scheme | None = None, **options: Any) -> Case:
        return build(network(**options), pictures(count), scheme)

    return make


@pytest.fixture(scope="session")
def build_case() -> Callable[..., Case]:
    """``build`` for tests, which cannot import a conftest."""
    return build


@pytest.fixture(scope="session")
def case(make_case: Callable[..., Case]) -> Case:
    """The usual one."""
    return make_case()
