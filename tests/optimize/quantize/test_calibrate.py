"""Activation ranges from streams of pictures."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_models import classifier_onnx, detector_onnx

from edgewright.optimize.calibrate import RangeCollector, RangeMethod, output_tensors
from edgewright.optimize.errors import JudgeError


def double_then_negate() -> bytes:
    nodes = [
        helper.make_node("Add", ["x", "x"], ["double"]),
        helper.make_node("Neg", ["double"], ["y"]),
        helper.make_node("Identity", ["y"], ["out"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "out", "double", "y")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:2], value_info=values[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def collected() -> RangeCollector:
    collector = RangeCollector(double_then_negate())
    for row in ([0.0, 1.0], [-1.0, 2.0], [0.5, 6.0]):
        collector.observe({"x": np.array(row, np.float32)})
    return collector


def test_minmax_is_the_largest_range_ever_seen() -> None:
    assert collected().ranges(RangeMethod.MINMAX) == {
        "x": (-1.0, 6.0),
        "double": (-2.0, 12.0),
        "y": (-12.0, 2.0),
        "out": (-12.0, 2.0),
    }


def test_the_mean_is_taken_over_pictures_but_outputs_keep_everything() -> None:
    ranges = collected().ranges(RangeMethod.MEAN_MINMAX)
    assert ranges["x"] == pytest.approx((-1 / 6, 3.0))
    assert ranges["double"] == pytest.approx((-1 / 3, 6.0))
    # What reaches an output through operators that only hand on must not be clipped either.
    assert ranges["y"] == ranges["out"] == (-12.0, 2.0)


def test_outputs_are_followed_back_to_what_computes_them() -> None:
    found = output_tensors(onnx.load_model_from_string(detector_onnx()))
    assert found == {"logits", "logit_t", "logit_map", "codes", "code_t", "code_map"}
    assert output_tensors(onnx.load_model_from_string(classifier_onnx())) == {"scores"}


def test_nothing_observed() -> None:
    with pytest.raises(JudgeError, match="no calibration picture"):
        RangeCollector(double_then_negate()).ranges(RangeMethod.MINMAX)


def test_a_model_that_gives_nan_is_refused() -> None:
    collector = RangeCollector(double_then_negate())
    with pytest.raises(JudgeError, match=r"NaN or infinity in tensor 'x'"):
        collector.observe({"x": np.array([np.inf, 0], np.float32)})
