from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.parity.compare import compare_forms, compare_values


def pictures(seed: int, count: int = 3) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    return [{"a": random.normal(size=(1, 4)), "b": random.normal(size=(2, 3))} for _ in range(count)]


def test_equal_forms_are_equal() -> None:
    rows = compare_forms({"onnx": pictures(0), "tflite": pictures(0)}, [("onnx", "tflite")])
    assert [(row.tensor, row.max_error, row.sqnr_db) for row in rows] == [("a", 0.0, 200.0), ("b", 0.0, 200.0)]
    assert all(row.cosine == pytest.approx(1) and row.pictures == 3 for row in rows)


@given(st.floats(1e-3, 10))
def test_the_largest_error_of_any_picture_is_told(error: float) -> None:
    other = pictures(0)
    other[1]["b"][1, 2] += error
    row = compare_forms({"x": pictures(0), "y": other}, [("x", "y")])[1]
    assert row.max_error == pytest.approx(error, rel=1e-3, abs=1e-6)
    assert row.sqnr_db < 200


def test_only_what_both_have_is_compared() -> None:
    wanted = [{"a": np.ones(2), "c": np.ones(3)}]
    found = [{"a": np.ones(2), "b": np.ones(3)}]
    assert [row.tensor for row in compare_values("x", "y", zip(wanted, found, strict=True))] == ["a"]


def test_a_form_without_answers_is_left_out() -> None:
    assert compare_forms({"x": pictures(0)}, [("x", "y"), ("z", "x")]) == ()


def test_another_shape_is_a_mistake() -> None:
    with pytest.raises(JudgeError, match=r"'a' has shape \(2,\) in x and \(3,\) in y"):
        compare_values("x", "y", [({"a": np.ones(2)}, {"a": np.ones(3)})])
