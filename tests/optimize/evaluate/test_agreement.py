"""Agreement of two models on the same pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.optimize.evaluate.accuracy import compare_accuracy
from edgewright.optimize.evaluate.agreement import box_agreement, match_frame, top_agreement
from edgewright.runtime.types import Classification, Detections

Row = tuple[float, float, float, float, float, int]  # x, y, width, height, score, class


def seen(*rows: Row) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    return Detections(boxes, table[:, 4], table[:, 5].astype(np.int64))


A: Row = (10, 10, 20, 40, 0.9, 0)
B: Row = (100, 10, 20, 40, 0.8, 0)


@pytest.mark.parametrize(
    ("float_", "int8", "kept", "extra"),
    [
        pytest.param(seen(A, B), seen(A, B), 2, 0, id="the same"),
        pytest.param(seen(A, B), seen(A), 1, 0, id="one lost"),
        pytest.param(seen(A), seen(A, B), 1, 1, id="one more"),
        pytest.param(seen(A), seen((10, 10, 20, 40, 0.4, 0)), 0, 0, id="fell below the threshold"),
        pytest.param(seen(A), seen((10, 10, 20, 40, 0.9, 1)), 0, 1, id="another class"),
        pytest.param(seen(A), seen((10, 10, 20, 90, 0.9, 0)), 0, 1, id="overlap below one half"),
        pytest.param(seen(A), seen(A, A), 1, 1, id="matched one to one"),
        pytest.param(seen(), seen(), 0, 0, id="both saw nothing"),
        pytest.param(seen(), seen(A), 0, 1, id="float saw nothing"),
    ],
)
def test_one_frame(float_: Detections, int8: Detections, kept: int, extra: int) -> None:
    match = match_frame(float_, int8, 0.5)
    assert (match.kept, match.int8_boxes - match.kept) == (kept, extra)


def test_more_pairs_come_before_better_ones() -> None:
    # Greedy by overlap would give the first float box its twin's partner and leave the second alone.
    float_ = seen((0, 0, 100, 10, 0.9, 0), (20, 0, 100, 10, 0.9, 0))
    int8 = seen((10, 0, 100, 10, 0.9, 0), (-25, 0, 100, 10, 0.9, 0))
    assert match_frame(float_, int8, 0.5).kept == 2


def test_figures_over_frames() -> None:
    float_ = [seen(A, B)] * 20
    int8 = [seen(A, B)] * 15 + [seen((10, 10, 20, 40, 0.7, 0))] * 5
    result = box_agreement(float_, int8, 0.5, block=1)
    assert result.kept is not None
    assert result.score_rmse is not None
    assert result.mean_iou is not None
    assert result.agreement_ap50 is not None
    assert (result.kept.value, result.float_boxes, result.kept_boxes, result.extra_boxes) == (35 / 40, 40, 35, 0)
    assert result.kept.low < 35 / 40 < result.kept.high
    assert result.mean_iou.value == pytest.approx(1.0)
    assert result.score_rmse.value == pytest.approx(np.sqrt(5 * 0.2**2 / 35), abs=1e-6)
    assert result.agreement_ap50.value < 1
    assert result.disagreements == (0,) * 15 + (1,) * 5


def test_the_worst_frame_is_the_one_that_lost_the_surest_box() -> None:
    float_ = [seen(A, B), seen(A), seen(A), seen((10, 10, 20, 40, 0.55, 0))]
    many = ((50, 50, 9, 9, 0.99, 0), (70, 50, 9, 9, 0.98, 0), (90, 50, 9, 9, 0.97, 0))
    int8 = [seen(A, B), seen(A, *many), seen(), seen()]
    harms = [match_frame(ours, theirs, 0.5).harm for ours, theirs in zip(float_, int8, strict=True)]
    # A sure box lost, then one near the threshold, then three made up, then nothing at all.
    assert sorted(range(4), key=lambda k: harms[k], reverse=True) == [2, 3, 1, 0]
    assert harms[0] == (0.0, 0.0)


def test_what_only_one_saw_is_told_best_first() -> None:
    match = match_frame(seen((0, 0, 9, 9, 0.6, 0), (50, 0, 9, 9, 0.8, 1), A), seen(A, (80, 80, 9, 9, 0.7, 0)), 0.5)
    assert match.lost.scores.tolist() == pytest.approx([0.8, 0.6])
    assert match.lost.class_ids.tolist() == [1, 0]
    assert match.extra.scores.tolist() == pytest.approx([0.7])


def test_agreement_is_undefined_when_float_sees_nothing() -> None:
    result = box_agreement([seen()] * 9, [seen(A)] * 9, 0.5, block=8)
    assert result.kept is None
    assert result.agreement_ap50 is None
    assert result.extra_boxes == 9


boxes = st.lists(
    st.tuples(
        st.floats(0, 50), st.floats(0, 50), st.floats(1, 50), st.floats(1, 50), st.floats(0.5, 1), st.integers(0, 1)
    ),
    max_size=5,
)


@given(boxes, boxes)
def test_matching_is_symmetric(first: list[Row], second: list[Row]) -> None:
    forth, back = match_frame(seen(*first), seen(*second), 0.5), match_frame(seen(*second), seen(*first), 0.5)
    assert forth.kept == back.kept
    assert forth.disagreements == back.disagreements


@given(boxes)
def test_a_model_agrees_with_itself(rows: list[Row]) -> None:
    assert match_frame(seen(*rows), seen(*rows), 0.5).kept == len(rows)


def said(label: int, score: float = 0.9) -> Classification:
    return Classification(np.array([label, label + 1]), np.array([score, 1 - score], np.float32))


def test_top_agreement() -> None:
    result = top_agreement([said(1)] * 10, [said(1)] * 7 + [said(2)] * 3, block=1)
    assert (result.share.value, result.differing) == (0.7, (7, 8, 9))
    assert result.share.low < 0.5
    # Class 1 is not among what the last three carry: its probability counts as 0 there.
    assert result.score_rmse.value == pytest.approx(np.sqrt(3 * 0.9**2 / 10), abs=1e-6)


def test_accuracy() -> None:
    truth = [1] * 20
    pair = compare_accuracy(truth, [said(1)] * 18 + [said(5)] * 2, [said(1)] * 14 + [said(5)] * 6)
    assert (pair.float_.value, pair.int8.value) == (0.9, 0.7)
    assert pair.drop.value == pytest.approx(0.2)
    assert pair.drop.low < 0.2 < pair.drop.high


def test_accuracy_of_a_film() -> None:
    truth = [1] * 80
    float_, int8 = [said(1)] * 80, [said(1)] * 64 + [said(5)] * 16
    apart, film, short = (
        compare_accuracy(truth[:n], float_[:n], int8[-n:], block=b) for n, b in ((80, 1), (80, 8), (40, 8))
    )
    assert film.drop.high - film.drop.low > apart.drop.high - apart.drop.low
    assert (short.drop.low, short.drop.high, short.int8.low, short.int8.high) == (-1.0, 1.0, 0.0, 1.0)
