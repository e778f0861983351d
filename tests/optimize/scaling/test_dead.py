"""Channels that never fire: taken out of the arithmetic, which integers need and float does not notice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.optimize.calibration import calibrate
from edgewright.optimize.errors import PassError
from edgewright.optimize.passes.runner import run_onnx
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.optimize.scaling import ChannelMaxima, FoldDeadChannels, scale_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEAD, WIDE, HUGE = 2, 8, 400.0
LEVEL = 0.777
"""What the depthwise kernel on the dead channel amounts to: its bias."""


def network(*, pads: int = 0, groups: int = 1, bound: float | None = None, kernel: float = HUGE) -> bytes:
    """1x1, depthwise 3x3, 1x1: a dead channel, a huge kernel on it, and huge weights on the constant that comes out."""
    random = np.random.default_rng(0)
    inputs = WIDE // groups
    side = 3 if pads else 1
    constants = {
        "a": random.normal(0, 0.5, (WIDE, 3, 1, 1)),
        "a_b": random.uniform(0, 0.5, WIDE),
        "d": random.normal(0, 0.5, (WIDE, 1, 3, 3)),
        "d_b": random.uniform(0, 0.5, WIDE),
        "p": random.normal(0, 0.5, (6, inputs, side, side)),
        "p_b": random.uniform(0, 0.5, 6),
    }
    constants["a_b"][DEAD] = -50
    constants["d"][DEAD] = kernel
    constants["d_b"][DEAD] = LEVEL
    reads = np.arange(6) // (6 // groups) == DEAD // inputs  # the constant
    constants["p"][reads, DEAD % inputs] = HUGE
    height = LEVEL if bound is None else min(LEVEL, bound)
    constants["p_b"][reads] -= height * constants["p"][:, DEAD % inputs].reshape(6, -1).sum(axis=1)[reads]
    active = helper.make_node("Relu", ["e"], ["f"])
    if bound is not None:
        constants |= {"low": np.array(0.0), "high": np.array(bound)}
        active = helper.make_node("Clip", ["e", "low", "high"], ["f"])
    nodes = [
        helper.make_node("Conv", ["x", "a", "a_b"], ["b"], name="stem"),
        helper.make_node("Relu", ["b"], ["c"], name="relu"),
        helper.make_node("Conv", ["c", "d", "d_b"], ["e"], name="deep", group=WIDE, pads=[1] * 4),
        active,
        helper.make_node("Conv", ["f", "p", "p_b"], ["g"], name="point", group=groups, pads=[pads] * 4),
        helper.make_node("Relu", ["g"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


PICTURES = [{"x": np.random.default_rng(seed).uniform(0, 1, (1, 3, 8, 8)).astype(np.float32)} for seed in range(8)]


def folded(model: bytes) -> Any:
    maxima = ChannelMaxima(model)
    calibrate(model, lambda: iter(PICTURES), choices=(), observers=(maxima,))
    return scale_graph(model, [FoldDeadChannels(maxima.values())], PICTURES)


def weights(model: bytes) -> dict[str, NDArray[np.float32]]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load_model_from_string(model).graph.initializer}


def integer_error(model: bytes, wanted: list[Any]) -> float:
    """Of plain min-max INT8, relative to the spread of the float answer."""
    ranges = calibrate(model, lambda: iter(PICTURES)).ranges()
    found = run_onnx(quantize_graph(model, ranges).model, PICTURES)
    errors = [np.square(a[0] - b[0]).mean() for a, b in zip(found, wanted, strict=True)]
    return float(np.sqrt(np.mean(errors) / np.var([row[0] for row in wanted])))


@pytest.mark.parametrize("case", [{}, {"groups": 2}, {"bound": 0.5}])
def test_integers_are_right_where_they_were_not(case: dict[str, Any]) -> None:
    model = network(**case)
    wanted = run_onnx(model, PICTURES)
    result = folded(model)
    assert result.notes[0].endswith(
        "1 channels that no picture woke, and 1 constant ones behind them, left to the biases"
    )
    assert result.max_difference < 1e-4
    after = weights(result.model)
    assert not after["d"][DEAD].any()
    assert np.abs(after["p"]).max() < HUGE / 50
    assert np.abs(after["p_b"]).max() < 2
    assert integer_error(model, wanted) > 1  # one scale per channel does not help
    assert integer_error(result.model, wanted) < 0.05


def test_a_constant_beside_padded_zeros_is_no_bias() -> None:
    model = network(pads=1)
    before, after = weights(model), weights(folded(model).model)
    assert not after["d"][DEAD].any()
    assert after["d_b"][DEAD] == before["d_b"][DEAD]
    assert np.array_equal(after["p"], before["p"])


def test_what_fires_is_left_alone_and_lies_are_found() -> None:
    model = network()
    unchanged = scale_graph(model, [FoldDeadChannels()], PICTURES)
    assert unchanged.notes == ()
    assert weights(unchanged.model).keys() == weights(model).keys()
    assert all(np.array_equal(value, weights(model)[name]) for name, value in weights(unchanged.model).items())
    lie = FoldDeadChannels({"c": np.where(np.arange(WIDE) == 0, 0.0, 1.0)}, excess=0)
    with pytest.raises(PassError, match="'fold-dead-channels' changed what the model computes"):
        scale_graph(model, [lie], PICTURES)


def test_a_dead_channel_with_ordinary_weights_may_wake_elsewhere() -> None:
    assert folded(network(kernel=0.5)).notes == ()


def test_folding_twice_changes_nothing() -> None:
    once = folded(network())
    assert folded(once.model).notes == ()
