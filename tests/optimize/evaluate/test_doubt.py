"""Whether labels can tell anything of a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.optimize.contract import Measured
from edgewright.optimize.evaluate.doubt import accuracy_doubt, precision_doubt
from edgewright.optimize.evaluate.intervals import wilson


def share(hits: int, total: int) -> Measured:
    low, high = wilson(hits, total)
    return Measured(hits / total, min(low, hits / total), max(high, hits / total), total)


@pytest.mark.parametrize(
    ("hits", "total", "classes", "words"),
    [
        pytest.param(0, 397, 1000, "no better than chance", id="all wrong"),
        pytest.param(3, 397, 1000, "no better than chance", id="some right by luck"),
        pytest.param(196, 397, 2, "no better than chance", id="a coin"),
        pytest.param(12, 20, 2, "cannot be told from chance (50 %)", id="few pictures"),
        pytest.param(2, 20, 10, "chance (10 %)", id="on the limit"),
    ],
)
def test_no_better_than_chance(hits: int, total: int, classes: int, words: str) -> None:
    told = accuracy_doubt(share(hits, total), classes)
    assert told is not None
    assert words in told
    assert "check the labels, their order, and the preprocessing" in told
    assert ("label more pictures" in told) == ("cannot be told" in words)


@pytest.mark.parametrize(("hits", "total", "classes"), [(290, 397, 1000), (18, 20, 2), (40, 397, 1000), (7, 10, 3)])
def test_better_than_chance(hits: int, total: int, classes: int) -> None:
    assert accuracy_doubt(share(hits, total), classes) is None


def test_few_pictures_alone_are_no_doubt_of_the_labels() -> None:
    unknown = Measured(0.8, 0.0, 1.0, 5)
    assert accuracy_doubt(unknown, 10) is None
    assert precision_doubt(unknown, "AP") is None
    assert accuracy_doubt(Measured(0.0, 0.0, 1.0, 5), 10) is not None
    assert precision_doubt(Measured(0.001, 0.0, 1.0, 5), "AP") is not None


@pytest.mark.parametrize(("value", "low", "doubted"), [(0.0, 0.0, True), (0.05, 0.0, True), (0.2, 0.1, False)])
def test_average_precision(value: float, low: float, doubted: bool) -> None:
    assert (precision_doubt(Measured(value, low, 0.4, 200), "AP at IoU 0.5") is not None) is doubted


@given(st.integers(1, 400), st.integers(2, 1000), st.data())
def test_more_right_answers_never_bring_doubt(total: int, classes: int, data: st.DataObject) -> None:
    fewer, more = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))
    if accuracy_doubt(share(fewer, total), classes) is None:
        assert accuracy_doubt(share(more, total), classes) is None
