"""Activation ranges from streams of pictures."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from calibration_graphs import graph_of, rows
from onnx import helper
from tiny_models import classifier_onnx, detector_onnx, spot_frame

from edgewright.bundle.manifest import Preprocess, ResizeMode
from edgewright.optimize.calibration import (
    RangeChoice,
    RangeCollector,
    RangeMethod,
    calibrate,
    output_tensors,
)
from edgewright.optimize.errors import DataError, JudgeError, SpecError
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.quantization.scheme import IntegerType, Scheme
from edgewright.optimize.quantization.writer import quantize_graph
from edgewright.runtime.backends.onnx import OnnxBackend
from edgewright.runtime.preprocess import Preprocessor

ALL = [RangeChoice(method) for method in RangeMethod]


def double_then_negate() -> bytes:
    nodes = [
        helper.make_node("Add", ["x", "x"], ["double"]),
        helper.make_node("Neg", ["double"], ["y"]),
        helper.make_node("Identity", ["y"], ["out"]),
    ]
    return graph_of(nodes, {key: [2] for key in ("x", "double", "y", "out")}, ["out"])


PICTURES = rows("x", [0.0, 1.0], [-1.0, 2.0], [0.5, 6.0])


def tiny_feeds(model: bytes, count: int) -> list[dict[str, np.ndarray]]:
    preprocessor = Preprocessor(Preprocess(ResizeMode.STRETCH, 32, 32), OnnxBackend(model).inputs[0])
    return [{"image": preprocessor(spot_frame(index))[0].copy()} for index in range(count)]


def test_minmax_is_the_largest_range_ever_seen() -> None:
    assert calibrate(double_then_negate(), PICTURES).ranges(RangeChoice(RangeMethod.MINMAX)) == {
        "x": (-1.0, 6.0),
        "double": (-2.0, 12.0),
        "y": (-12.0, 2.0),
        "out": (-12.0, 2.0),
    }


def test_the_mean_is_taken_over_pictures_but_outputs_keep_everything() -> None:
    ranges = calibrate(double_then_negate(), PICTURES).ranges(RangeChoice(RangeMethod.MEAN_MINMAX))
    assert ranges["x"] == pytest.approx((-1 / 6, 3.0))
    assert ranges["double"] == pytest.approx((-1 / 3, 6.0))
    # What reaches an output through operators that only hand on must not be clipped either.
    assert ranges["y"] == ranges["out"] == (-12.0, 2.0)


def test_one_by_one_is_the_same_as_in_one_walk() -> None:
    collector = RangeCollector(double_then_negate())
    for picture in PICTURES():
        collector.observe(picture)
    walked = calibrate(double_then_negate(), PICTURES, choices=ALL)
    assert collector.samples == walked.samples == 3
    for choice in ALL:
        assert collector.ranges(choice) == walked.ranges(choice)


def test_outputs_are_followed_back_to_what_computes_them() -> None:
    found = output_tensors(onnx.load_model_from_string(detector_onnx()))
    assert found == {"logits", "logit_t", "logit_map", "codes", "code_t", "code_map"}
    assert output_tensors(onnx.load_model_from_string(classifier_onnx())) == {"scores"}


@pytest.mark.parametrize("choice", ALL, ids=str)
def test_no_method_clips_an_output(choice: RangeChoice) -> None:
    model = prepare_graph(detector_onnx(), tiny_feeds(detector_onnx(), 2)).model
    pictures = tiny_feeds(model, 12)
    known = calibrate(model, lambda: iter(pictures), choices=[choice])
    outputs = [OnnxBackend(model).run(picture)["logits"].copy() for picture in pictures]
    for name in ("logit_map", "logit_t", "logits"):
        assert known.ranges()[name] == (min(o.min() for o in outputs), max(o.max() for o in outputs))


def test_what_a_relu_alone_reads_has_the_relus_range() -> None:
    """The writer drops the Relu, so any other range would contradict the file."""
    nodes = [
        helper.make_node("Add", ["x", "x"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["active"]),
        helper.make_node("Neg", ["active"], ["last"]),
        helper.make_node("Neg", ["sum"], ["aside"]),
    ]
    shapes = {key: [2] for key in ("x", "sum", "active", "last", "aside")}
    pictures = rows("x", [-5.0, 2.0], [-7.0, 3.0])
    alone = calibrate(graph_of(nodes[:3], {k: shapes[k] for k in ("x", "sum", "active", "last")}, ["last"]), pictures)
    assert alone.ranges()["sum"] == alone.ranges()["active"] == (0.0, 6.0)
    shared = calibrate(graph_of(nodes, shapes, ["last", "aside"]), pictures)
    assert shared.ranges()["sum"] == (-14.0, 6.0)


def test_one_walk_serves_all_methods_and_fewer_only_theirs() -> None:
    model = prepare_graph(detector_onnx(), tiny_feeds(detector_onnx(), 2)).model
    pictures = tiny_feeds(model, 6)
    everything = calibrate(model, lambda: iter(pictures), choices=ALL)
    for choice in ALL:
        alone = calibrate(model, lambda: iter(pictures), choices=[choice])
        assert alone.ranges() == alone.ranges(choice) == everything.ranges(choice)
    little = calibrate(model, lambda: iter(pictures))
    with pytest.raises(SpecError, match="entropy needs histograms"):
        little.ranges(RangeChoice(RangeMethod.ENTROPY))
    with pytest.raises(SpecError, match="minmax needs extremes"):
        calibrate(model, lambda: iter(pictures), choices=()).ranges()


@pytest.mark.parametrize("choice", ALL, ids=str)
@pytest.mark.parametrize("signed", [False, True])
def test_ranges_of_every_method_make_a_good_file(choice: RangeChoice, signed: bool) -> None:
    model = prepare_graph(classifier_onnx(), tiny_feeds(classifier_onnx(), 2)).model
    pictures = tiny_feeds(model, 12)
    ranges = calibrate(model, lambda: iter(pictures), choices=[choice]).ranges(choice, symmetric=signed)
    scheme = Scheme(activations=IntegerType.INT8 if signed else IntegerType.UINT8)
    float_, int8 = OnnxBackend(model), OnnxBackend(quantize_graph(model, ranges, scheme=scheme).model)
    expected = [float_.run(picture)["scores"].copy() for picture in pictures]
    largest = max(np.abs(value).max() for value in expected)
    for picture, value in zip(pictures, expected, strict=True):
        assert np.abs(int8.run(picture)["scores"] - value).max() < 0.06 * largest


@pytest.mark.parametrize("choice", ALL, ids=str)
def test_constant_and_dead_activations(choice: RangeChoice) -> None:
    """A Relu that never fires and a tensor that never changes quantize like any other."""
    weights = np.ones((2, 2, 1, 1), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "down"], ["low"], name="a"),
        helper.make_node("Relu", ["low"], ["dead"], name="b"),
        helper.make_node("Conv", ["dead", "w", "up"], ["same"], name="c"),
        helper.make_node("Relu", ["same"], ["constant"], name="d"),
        helper.make_node("Conv", ["constant", "w"], ["out"], name="e"),
    ]
    shapes = {key: [1, 2, 3, 3] for key in ("x", "low", "dead", "same", "constant", "out")}
    down, up = np.full(2, -9, np.float32), np.full(2, 2.5, np.float32)
    model = graph_of(nodes, shapes, ["out"], w=weights, down=down, up=up)
    pictures = rows("x", np.zeros((1, 2, 3, 3)), np.ones((1, 2, 3, 3)))
    known = calibrate(model, pictures, choices=[choice])
    ranges = known.ranges()
    assert ranges["dead"] == ranges["low"] == (0.0, 0.0)
    assert ranges["constant"] == (0.0, 2.5)
    assert {drift.ratio for drift in known.stability.drifts if drift.tensor != "x"} == {1.0}
    for picture in pictures():
        answer = OnnxBackend(quantize_graph(model, ranges).model).run(picture)["out"]
        assert answer == pytest.approx(np.full((1, 2, 3, 3), 5.0), abs=0.05)


def test_nothing_observed() -> None:
    with pytest.raises(DataError, match="no calibration picture"):
        calibrate(double_then_negate(), rows("x"))
    with pytest.raises(DataError, match="no calibration picture"):
        RangeCollector(double_then_negate()).ranges(RangeMethod.MINMAX)


def test_one_picture_is_enough_for_ranges_but_says_nothing_of_their_stability() -> None:
    known = calibrate(double_then_negate(), rows("x", [1.0, 2.0]))
    assert known.ranges()["x"] == (0.0, 2.0)
    assert known.stability.drifts == ()
    assert known.stability.values() == {"tensors": 0, "median_ratio": None, "p95_ratio": None, "worst": []}


def test_stability_compares_even_with_odd_pictures() -> None:
    known = calibrate(double_then_negate(), rows("x", [0, 1], [0, 2], [0, 0.5], [0, 1]), choices=ALL)
    for method in (RangeMethod.MINMAX, RangeMethod.PERCENTILE):
        drifts = {drift.tensor: drift for drift in known.stability_of(RangeChoice(method)).drifts}
        # What shares a range is counted once.
        assert drifts.keys() == {"x", "double", "y"}
        assert (drifts["x"].even, drifts["x"].odd) == ((0, 1), (0, 2))
        assert {drift.ratio for drift in drifts.values()} == {2.0}
    assert (drifts["x"].node, drifts["double"].node) == (None, "double")


def test_stability_lists_the_worst_first_in_json() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["up"], name="up"), helper.make_node("Neg", ["x"], ["down"], name="n")]
    model = graph_of(nodes, {key: [1] for key in ("x", "up", "down")}, ["up", "down"])
    found = calibrate(model, rows("x", [-4], [2], [-4], [2])).stability
    values = json.loads(json.dumps(found.values(worst=2)))
    # Half of the pictures never woke the Relu: no ratio can be given, and it stands first.
    assert values["worst"][0] == {"tensor": "up", "node": "up", "even": [0, 0], "odd": [0, 2], "ratio": None}
    assert values["worst"][1]["ratio"] == 2
    assert (values["tensors"], values["median_ratio"], values["p95_ratio"]) == (3, 2, None)


def test_a_model_that_gives_nan_is_refused() -> None:
    collector = RangeCollector(double_then_negate())
    with pytest.raises(JudgeError, match=r"NaN or infinity in tensor 'x', an input"):
        collector.observe({"x": np.array([np.inf, 0], np.float32)})
