"""One pass that feeds all observers, whole or in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from calibration_graphs import graph_of, rows
from onnx import helper

from edgewright.optimize.calibration import RangeChoice, RangeMethod, calibrate, maximum_of, minimum_of, walk
from edgewright.optimize.calibration.extremes import PerChannel
from edgewright.optimize.errors import DataError, JudgeError, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.optimize.sources import FloatModel

NAMES = ("x", "a", "b", "c", "out")
SHAPE = [1, 2, 4, 4]


def chain() -> bytes:
    """Four operators, the input read again by the last: a value that crosses every cut."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Neg", ["b"], ["c"], name="third"),
        helper.make_node("Add", ["c", "x"], ["out"], name="last"),
    ]
    weights = np.array([[1, -2], [0.5, 3]], np.float32).reshape(2, 2, 1, 1)
    return graph_of(nodes, dict.fromkeys(NAMES, SHAPE), ["out"], w=weights)


def pictures(count: int = 5) -> Any:
    random = np.random.default_rng(0)
    return rows("x", *random.normal(0, 1, (count, *SHAPE)))


class Recorder:
    """Keeps everything, which a real observer must not."""

    def __init__(self, *tensors: str) -> None:
        self.tensors = tensors
        self.calls: list[dict[str, np.ndarray]] = []

    def observe(self, values: Mapping[str, np.ndarray]) -> None:
        self.calls.append({name: values[name].copy() for name in self.tensors if name in values})

    def seen(self, name: str) -> list[np.ndarray]:
        return [call[name] for call in self.calls if name in call]


def test_observers_are_shown_what_they_asked_for() -> None:
    some, others = Recorder("x", "b", maximum_of("c")), Recorder("out", minimum_of("b"), maximum_of("x"))
    steps: list[int] = []
    report = walk(chain(), pictures(), [some, others], on_step=lambda done, _: steps.append(done))
    assert (report.samples, report.pieces, steps) == (5, 1, [1, 2, 3, 4, 5])
    assert [len(some.seen(name)) for name in some.tensors] == [5, 5, 5]
    for x, b, c, out, low, high in zip(
        some.seen("x"),
        some.seen("b"),
        some.seen(maximum_of("c")),
        others.seen("out"),
        others.seen(minimum_of("b")),
        others.seen(maximum_of("x")),
        strict=True,
    ):
        assert out == pytest.approx(x - b, abs=1e-6)
        assert c.shape == low.shape == high.shape == ()
        assert (c, low, high) == ((-b).max(), b.min(), x.max())


@pytest.mark.parametrize(("tensors", "pieces"), [(1, 4), (2, 2), (3, 2), (99, 1)])
def test_in_pieces_every_tensor_still_comes_once_a_picture(tensors: int, pieces: int) -> None:
    size = 4 * int(np.prod(SHAPE))
    whole, cut = Recorder(*NAMES, maximum_of("b")), Recorder(*NAMES, maximum_of("b"))
    walk(chain(), pictures(), [whole])
    report = walk(chain(), pictures(), [cut], memory_limit=tensors * size)
    assert (report.samples, report.pieces) == (5, pieces)
    for name in whole.tensors:
        assert np.array_equal(whole.seen(name), cut.seen(name))
    # Never more at once than the limit allows; inputs are there anyway.
    assert max(len(call.keys() & {"a", "b", "c", "out"}) for call in cut.calls) <= tensors


def test_statistics_are_the_same_in_pieces() -> None:
    choices = [RangeChoice(method) for method in RangeMethod]
    whole, cut = (calibrate(chain(), pictures(), choices=choices, memory_limit=limit) for limit in (1 << 30, 1))
    for choice in choices:
        assert whole.ranges(choice) == cut.ranges(choice)
        assert whole.stability_of(choice) == cut.stability_of(choice)


def test_the_person_detector_in_pieces(person: FloatModel) -> None:
    choices = [RangeChoice(method) for method in RangeMethod]
    feeds = lambda: iter(person.feeds)  # noqa: E731
    whole, cut = (calibrate(person.model, feeds, choices=choices, memory_limit=limit) for limit in (1 << 30, 8 << 20))
    for choice in choices:
        one, other = whole.ranges(choice), cut.ranges(choice)
        assert one.keys() == other.keys()
        # The engine fuses other operators in other pieces, so the last bit of a sum may differ.
        difference = np.abs(np.array([*one.values()]) - np.array([*other.values()]))
        width = np.ptp(np.array([*one.values()]), axis=1)
        assert (difference.max(axis=1) <= 0.02 * width).all()


def test_per_channel_statistics() -> None:
    observer, recorder = PerChannel(["x", "b"]), Recorder("b")
    walk(chain(), pictures(), [observer, recorder])
    found, values = observer.of("b"), np.concatenate(recorder.seen("b"))
    assert found is not None
    assert np.array_equal(found.low, values.min(axis=(0, 2, 3)))
    assert np.array_equal(found.high, values.max(axis=(0, 2, 3)))
    assert found.mean == pytest.approx(values.mean(axis=(0, 2, 3)))
    assert PerChannel(["x"]).of("x") is None


def test_unknown_tensors_are_refused() -> None:
    with pytest.raises(SpecError, match="'nowhere'"):
        walk(chain(), pictures(), [Recorder("nowhere")])


BAD_PICTURES = {
    "shape": ({"x": np.zeros((1, 2, 4, 5), np.float32)}, r"picture 1: input 'x' is float32 1x2x4x5.* float32 1x2x4x4"),
    "axes": ({"x": np.zeros((2, 4, 4), np.float32)}, r"picture 1: input 'x' is float32 2x4x4"),
    "type": ({"x": np.zeros(SHAPE, np.uint8)}, r"picture 1: input 'x' is uint8 1x2x4x4"),
    "name": ({"y": np.zeros(SHAPE, np.float32)}, r"picture 1 gives y; the model takes x"),
    "nothing": ({}, r"picture 1 gives nothing; the model takes x"),
}


@pytest.mark.parametrize("case", BAD_PICTURES)
def test_samples_that_do_not_fit(case: str) -> None:
    bad, says = BAD_PICTURES[case]
    with pytest.raises(DataError, match=says):
        walk(chain(), lambda: iter([*pictures(1)(), bad]), [Recorder("b")])


@pytest.mark.parametrize("wanted", ["root", "calm", "out"])
@pytest.mark.parametrize("limit", [1, 1 << 30])
@pytest.mark.parametrize("bad", [-1.0, np.inf])
def test_nan_is_found_where_it_is_born(wanted: str, limit: int, bad: float) -> None:
    """The engine's Relu, minimum and maximum all pass over NaN without a word."""
    nodes = [
        helper.make_node("Sqrt", ["x"], ["root"], name="square_root"),
        helper.make_node("Relu", ["root"], ["calm"], name="relu"),
        helper.make_node("Neg", ["calm"], ["out"], name="neg"),
    ]
    model = graph_of(nodes, {key: [50] for key in ("x", "root", "calm", "out")}, ["out"])
    good, broken = np.ones(50), np.ones(50)
    broken[17] = bad
    message = r"picture 1: NaN or infinity in tensor 'root', made by node 'square_root'" if bad < 0 else "an input"
    with pytest.raises(JudgeError, match=message):
        calibrate(model, rows("x", good, broken), observers=[Recorder(wanted)], memory_limit=limit)


def test_broken_weights_are_named() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], name="stem"), helper.make_node("Relu", ["a"], ["out"])]
    weights = np.full((2, 2, 1, 1), np.nan, np.float32)
    model = graph_of(nodes, dict.fromkeys(("x", "a", "out"), SHAPE), ["out"], w=weights)
    with pytest.raises(JudgeError, match="weight 'w' of node 'stem'"):
        calibrate(model, pictures())


def test_a_failing_engine_is_our_error() -> None:
    nodes = [helper.make_node("Reshape", ["x", "to"], ["out"], name="r")]
    model = graph_of(nodes, {"x": [4], "out": [3]}, ["out"], to=np.array([3], np.int64))
    with pytest.raises(JudgeError, match="the engine"):
        calibrate(model, rows("x", [1, 2, 3, 4]))
