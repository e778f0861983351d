"""Scaling passes: the function stays, the spread goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.optimize.errors import PassError, SpecError
from edgewright.optimize.passes.runner import run_onnx
from edgewright.optimize.scaling import SCALING_PASSES, ChannelMaxima, Equalize, Smooth, scale_graph
from edgewright.optimize.scaling.links import LinkedGraph

if TYPE_CHECKING:
    from numpy.typing import NDArray


def spread(count: int) -> NDArray[np.float64]:
    """Factors between 1/20 and 20."""
    return np.exp(np.random.default_rng(9).uniform(-3, 3, count))


def finish(nodes: list[Any], constants: dict[str, Any], shape: list[int], outputs: tuple[str, ...] = ("y",)) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def convolutions(high: float | None, outputs: tuple[str, ...] = ("y",), clip_low: float = 0.0) -> bytes:
    """1x1, activation, depthwise, activation, 1x1, with channels that differ by factors of hundreds."""
    random = np.random.default_rng(0)
    factors = spread(8)
    constants = {
        "a": random.normal(0, 0.3, (8, 3, 1, 1)) * factors[:, None, None, None],
        "a_b": random.normal(0, 0.3, 8) * factors,
        "d": random.normal(0, 0.3, (8, 1, 3, 3)),
        "d_b": random.normal(0, 0.3, 8),
        "p": random.normal(0, 0.3, (4, 8, 1, 1)),
    }
    if high is None:
        active = [helper.make_node("Relu", ["u"], ["v"])]
    else:
        constants |= {"low": np.array(clip_low), "high": np.array(high)}
        active = [helper.make_node("Clip", ["u", "low", "high"], ["v"])]
    nodes = [
        helper.make_node("Conv", ["x", "a", "a_b"], ["u"]),
        *active,
        helper.make_node("Conv", ["v", "d", "d_b"], ["w"], group=8, pads=[1] * 4),
        helper.make_node("LeakyRelu", ["w"], ["z"], alpha=0.1),
        helper.make_node("Conv", ["z", "p"], ["y"]),
    ]
    return finish(nodes, constants, [1, 3, 6, 6], outputs)


def dense() -> bytes:
    """Layer normalisation read by two MatMuls, and Gemms of both layouts."""
    random = np.random.default_rng(0)
    constants = {
        "n": spread(12),
        "n_b": random.normal(0, 1, 12),
        "q": random.normal(0, 1, (12, 10)),
        "k": random.normal(0, 1, (12, 10)),
        "g": random.normal(0, 1, (10, 7)),
        "g_b": random.normal(0, 1, 7),
        "h": random.normal(0, 1, (5, 7)),
    }
    nodes = [
        helper.make_node("LayerNormalization", ["x", "n", "n_b"], ["normal"]),
        helper.make_node("MatMul", ["normal", "q"], ["query"]),
        helper.make_node("MatMul", ["normal", "k"], ["key"]),
        helper.make_node("Mul", ["query", "key"], ["both"]),
        helper.make_node("Gemm", ["both", "g", "g_b"], ["first"]),
        helper.make_node("Relu", ["first"], ["active"]),
        helper.make_node("Gemm", ["active", "h"], ["y"], transB=1),
    ]
    return finish(nodes, constants, [4, 12])


def feeds(shape: tuple[int, ...], count: int = 3) -> list[dict[str, NDArray[np.float32]]]:
    random = np.random.default_rng(5)
    return [{"x": random.normal(0, 1, shape).astype(np.float32)} for _ in range(count)]


def maxima(model: bytes, pictures: list[dict[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float64]]:
    observer = ChannelMaxima(model)
    wide = onnx.load_model_from_string(model)
    wide.graph.output.extend(value for value in wide.graph.value_info if value.name in observer.tensors)
    session = ort.InferenceSession(wide.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in wide.graph.output]
    for picture in pictures:
        observer.observe(dict(zip(names, session.run(names, picture), strict=True)))
    return observer.values()


def weights(model: bytes) -> dict[str, NDArray[np.float32]]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load_model_from_string(model).graph.initializer}


def unevenness(values: NDArray[np.float64]) -> float:
    return float(np.log(values.max() / values.min()))


@pytest.mark.parametrize("name", ["equalize", "smooth"])
@pytest.mark.parametrize("make", [lambda: convolutions(None), lambda: convolutions(1e4), dense])
def test_the_function_stays(name: str, make: Any) -> None:
    model = make()
    shape = (4, 12) if "n_b" in weights(model) else (1, 3, 6, 6)
    step = SCALING_PASSES[name](maxima(model, feeds(shape)))
    assert step.name == name
    scaled = scale_graph(model, [step], feeds(shape))
    assert scaled.max_difference < 1e-4
    assert scaled.notes
    changed = [name for name, value in weights(model).items() if not np.array_equal(value, weights(scaled.model)[name])]
    assert len(changed) >= 2


def test_equalized_layers_share_their_spread() -> None:
    model = convolutions(None)
    scaled = scale_graph(model, [Equalize()], feeds((1, 3, 6, 6))).model
    before, after = weights(model), weights(scaled)
    rows = [np.abs(found["a"]).reshape(8, -1).max(axis=1) for found in (before, after)]
    assert unevenness(rows[1]) < 0.7 * unevenness(rows[0])
    assert rows[1] == pytest.approx(np.abs(after["d"]).reshape(8, -1).max(axis=1), rel=0.03)
    assert np.abs(after["d"]).reshape(8, -1).max(axis=1) == pytest.approx(
        np.abs(after["p"])[:, :, 0, 0].max(0), rel=0.03
    )


def test_smoothed_activations_are_even() -> None:
    model, pictures = dense(), feeds((4, 12))
    before = maxima(model, pictures)
    scaled = scale_graph(model, [Smooth(before, alpha=1.0)], pictures).model
    after = maxima(scaled, pictures)
    assert unevenness(before["normal"]) > 3
    assert unevenness(after["normal"]) < 1e-3


def test_a_clip_that_is_reached_keeps_its_channels() -> None:
    """ReLU6 does not commute with factors: on pictures that reach the bound, unchecked scaling breaks the function."""
    model, pictures = convolutions(1.0), feeds((1, 3, 6, 6))
    seen = maxima(model, pictures)
    reached = seen["v"] >= 0.9
    assert reached.any()
    assert not reached.all()
    scaled = scale_graph(model, [Equalize(seen)], pictures)
    same = (weights(model)["a"] == weights(scaled.model)["a"]).reshape(8, -1).all(axis=1)
    assert same[reached].all()
    assert "channels left alone" in scaled.notes[0]
    lies = {name: np.full_like(value, 1e-3) for name, value in seen.items()}
    with pytest.raises(PassError, match="'equalize' changed what the model computes"):
        scale_graph(model, [Equalize(lies)], pictures)


def test_without_maxima_nothing_behind_a_clip_moves() -> None:
    model = convolutions(1e4)
    scaled = weights(scale_graph(model, [Equalize()], feeds((1, 3, 6, 6))).model)
    assert np.array_equal(scaled["a"], weights(model)["a"])
    assert not np.array_equal(scaled["p"], weights(model)["p"])


def test_what_others_read_is_no_link() -> None:
    assert len(LinkedGraph(onnx.load_model_from_string(convolutions(None))).links) == 2
    assert len(LinkedGraph(onnx.load_model_from_string(convolutions(None, ("y", "v")))).links) == 1
    assert len(LinkedGraph(onnx.load_model_from_string(convolutions(6.0, clip_low=-1.0))).links) == 1


def test_dead_channels_and_models_without_links() -> None:
    model = onnx.load_model_from_string(convolutions(None))
    for tensor in model.graph.initializer:
        if tensor.name == "a":
            value = numpy_helper.to_array(tensor).copy()
            value[2] = 0
            tensor.CopyFrom(numpy_helper.from_array(value, "a"))
    data, pictures = model.SerializeToString(), feeds((1, 3, 6, 6))
    scaled = scale_graph(data, [Equalize()], pictures)
    assert all(np.isfinite(output).all() for row in run_onnx(scaled.model, pictures) for output in row)
    single = finish([helper.make_node("Conv", ["x", "a"], ["y"])], {"a": np.ones((4, 3, 1, 1))}, [1, 3, 6, 6])
    for make in SCALING_PASSES.values():
        assert scale_graph(single, [make({})], pictures).notes == ()


def test_alpha_is_a_share() -> None:
    with pytest.raises(SpecError, match="from 0 to 1, not 1.5"):
        Smooth(alpha=1.5)
