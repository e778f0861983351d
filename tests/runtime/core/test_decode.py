"""Anchors, codes and suppression."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.bundle.manifest import Box, Preprocess, ResizeMode, ScoreActivation, SsdDecode, TensorSpec
from edgewright.runtime.decode import SsdDecoder
from edgewright.runtime.nms import suppress
from edgewright.runtime.overlap import iou_matrix
from edgewright.runtime.preprocess import Placement
from edgewright.runtime.types import Detections

PRE = Preprocess(ResizeMode.STRETCH, 100, 100)
PLACE = Placement(1, 1, 0, 0, 100, 100)
ANCHORS = np.array([[0.5, 0.5, 0.2, 0.4], [0.2, 0.2, 0.2, 0.2]], np.float32)
BASE = SsdDecode("b", "s", "a", activation=ScoreActivation.NONE)


def run(decode: SsdDecode, codes: Any, scores: Any, **quant: float) -> Detections:
    codes, scores = np.asarray(codes, np.float32)[None], np.asarray(scores)[None]
    outputs = {
        "b": TensorSpec("b", codes.shape, "float32"),
        "s": TensorSpec("s", scores.shape, str(scores.dtype), **quant),  # type: ignore[arg-type]
    }
    return SsdDecoder(decode, PRE, {"a": ANCHORS}, outputs)({"b": codes, "s": scores}, PLACE)


def test_zero_codes_give_the_anchor() -> None:
    found = run(BASE, np.zeros((2, 4)), np.array([[0, 0.9], [0, 0.1]], np.float32))
    np.testing.assert_allclose(found.boxes, [[40, 30, 60, 70]], atol=1e-3)


def test_codes_follow_the_formula_in_both_orders() -> None:
    code = [1.0, -2.0, 0.5, 1.5]  # x, y, w, h
    cx, cy = 0.5 + 1.0 * 0.1 * 0.2, 0.5 - 2.0 * 0.1 * 0.4
    w, h = 0.2 * np.exp(0.5 * 0.2), 0.4 * np.exp(1.5 * 0.2)
    wanted = 100 * np.array([[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]])
    scores = np.array([[0, 0.9], [0, 0.1]], np.float32)
    np.testing.assert_allclose(run(BASE, [code, [0] * 4], scores).boxes, wanted, atol=1e-3)
    turned = [code[1], code[0], code[3], code[2]]
    decode = replace(BASE, order=Box.YXHW)
    np.testing.assert_allclose(run(decode, [turned, [0] * 4], scores).boxes, wanted, atol=1e-3)


@pytest.mark.parametrize(
    ("activation", "wanted"),
    [(ScoreActivation.SIGMOID, 1 / (1 + np.exp(-2.0))), (ScoreActivation.SOFTMAX, np.exp(2.0) / (np.exp(2.0) + 1))],
)
def test_activations(activation: ScoreActivation, wanted: float) -> None:
    found = run(replace(BASE, activation=activation), np.zeros((2, 4)), np.array([[0, 2.0], [9, -9.0]], np.float32))
    np.testing.assert_allclose(found.scores, [wanted], atol=1e-6)


def test_integer_scores_are_scaled_back() -> None:
    scores = np.array([[0, 200], [0, 10]], np.uint8)
    found = run(BASE, np.zeros((2, 4)), scores, scale=0.004, zero_point=0)
    np.testing.assert_allclose(found.scores, [0.8], atol=1e-6)


def test_background_may_stand_anywhere_or_nowhere() -> None:
    scores = np.array([[0.9, 0.1], [0.1, 0.2]], np.float32)
    assert run(replace(BASE, background=1), np.zeros((2, 4)), scores).class_ids.tolist() == [0]
    both = run(replace(BASE, background=None, score_threshold=0.15), np.zeros((2, 4)), scores)
    assert both.class_ids.tolist() == [0, 1]


def test_wild_outputs_give_no_wild_boxes() -> None:
    codes = [[np.nan, 0, 0, 0], [1e30, 1e30, 1e30, -1e30]]
    found = run(BASE, codes, np.array([[0, 1.0], [0, np.nan]], np.float32))
    assert len(found) == 0
    found = run(BASE, [[0, 0, 1e9, 1e9], [0, 0, 0, 0]], np.array([[0, 1.0], [0, np.inf]], np.float32))
    assert np.isfinite(found.boxes).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= 100).all()


def test_at_most_so_many() -> None:
    scores = np.array([[0, 0.9], [0, 0.8]], np.float32)
    assert run(replace(BASE, max_detections=1), np.zeros((2, 4)), scores).scores.tolist() == pytest.approx([0.9])


BOXES = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2)),
    max_size=25,
)


def detections(rows: list[tuple[int, int, int, int, int]]) -> Detections:
    if not rows:
        return Detections.empty()
    table = np.array(rows, np.float32)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    scores = np.linspace(0.9, 0.1, len(rows), dtype=np.float32)
    return Detections(boxes, scores, table[:, 4].astype(np.int64))


@given(BOXES, st.sampled_from([0.3, 0.5, 0.7]))
def test_suppression_follows_its_definition(rows: list[tuple[int, int, int, int, int]], limit: float) -> None:
    before = detections(rows)
    after = suppress(before, limit, 100)
    again = suppress(after, limit, 100)
    np.testing.assert_array_equal(after.boxes, again.boxes)
    kept: list[int] = []
    overlap = iou_matrix(before.boxes, before.boxes)
    for i in range(len(before)):
        if all(overlap[i, j] <= limit or before.class_ids[i] != before.class_ids[j] for j in kept):
            kept.append(i)
    np.testing.assert_array_equal(after.boxes, before.boxes[kept])


@given(BOXES, BOXES)
def test_overlap_is_symmetric_and_bounded(
    first: list[tuple[int, int, int, int, int]], second: list[tuple[int, int, int, int, int]]
) -> None:
    a, b = detections(first).boxes, detections(second).boxes
    forth, back = iou_matrix(a, b), iou_matrix(b, a)
    np.testing.assert_allclose(forth, back.T, atol=1e-6)
    assert ((forth >= 0) & (forth <= 1 + 1e-6)).all()
    if len(a):
        np.testing.assert_allclose(np.diag(iou_matrix(a, a)), 1, atol=1e-6)


def test_arrays_that_are_not_parallel_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(n, 4\)"):
        Detections(np.zeros((2, 4), np.float32), np.zeros(1, np.float32), np.zeros(2, np.int64))
