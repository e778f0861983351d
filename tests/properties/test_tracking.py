"""What must hold for any scene: the assignment is optimal, the filter consistent, the tracker bounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewright.runtime.overlap import iou_matrix
from edgewright.runtime.tracking import BoxFilter, ByteTrack, ByteTrackConfig, assign, assign_gated
from edgewright.runtime.tracking.kalman import cxcywh_to_xyxy, xyxy_to_cxcywh
from edgewright.runtime.types import Detections

COSTS = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
    elements=st.one_of(st.floats(-100, 100, width=32), st.integers(-3, 3).map(float)),
)


@given(cost=COSTS)
def test_assignment_is_as_cheap_as_scipys(cost: np.ndarray) -> None:
    from scipy.optimize import linear_sum_assignment

    rows, columns = assign(cost)
    expected = linear_sum_assignment(cost)
    assert len(rows) == min(cost.shape)
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    assert list(rows) == sorted(rows)
    assert cost[rows, columns].sum() == pytest.approx(cost[expected].sum(), abs=1e-6)


@given(cost=COSTS, limit=st.floats(-50, 50))
def test_gated_assignment_is_optimal_when_a_missing_pair_costs_the_limit(cost: np.ndarray, limit: float) -> None:
    from scipy.optimize import linear_sum_assignment

    rows, columns = assign_gated(cost, limit)
    assert (cost[rows, columns] < limit).all()
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    best = linear_sum_assignment(np.minimum(cost - limit, 0.0))
    expected = np.minimum(cost - limit, 0.0)[best].sum()
    assert (cost[rows, columns] - limit).sum() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_assignment_of_nothing(shape: tuple[int, int]) -> None:
    for rows, columns in (assign(np.zeros(shape)), assign_gated(np.zeros(shape), 1.0)):
        assert len(rows) == len(columns) == 0


def test_assignment_refuses_what_is_not_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        assign(np.array([[np.inf]]))
    rows, _ = assign_gated(np.array([[np.inf, 0.2]]), 0.5)
    assert len(rows) == 1


def box_arrays(most: int = 8) -> st.SearchStrategy[np.ndarray]:
    corner = st.floats(0, 1000, width=32)
    side = st.floats(2, 300, width=32)
    box = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
    return st.lists(box, max_size=most).map(lambda rows: np.array(rows, np.float64).reshape(-1, 4))


@given(boxes=box_arrays())
def test_box_forms_are_inverse(boxes: np.ndarray) -> None:
    np.testing.assert_allclose(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes, atol=1e-9)


@given(first=box_arrays(), second=box_arrays())
def test_iou_is_symmetric_and_in_range(first: np.ndarray, second: np.ndarray) -> None:
    overlap = iou_matrix(first, second)
    np.testing.assert_allclose(overlap, iou_matrix(second, first).T)
    assert ((overlap >= 0.0) & (overlap <= 1.0 + 1e-12)).all()
    np.testing.assert_allclose(np.diag(iou_matrix(first, first)), 1.0)


@given(boxes=box_arrays(5), first=st.floats(0.001, 2.0), second=st.floats(0.001, 2.0))
def test_predicting_twice_equals_predicting_the_sum(boxes: np.ndarray, first: float, second: float) -> None:
    split, whole = BoxFilter(), BoxFilter()
    for tracks in (split, whole):
        tracks.add(boxes)
        tracks.predict(0.1)
        tracks.update(np.arange(len(boxes)), boxes + np.array([3.0, -2.0, 3.0, -2.0]))
    split.predict(first)
    split.predict(second)
    whole.predict(first + second)
    np.testing.assert_allclose(split.place, whole.place, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(split.place_variance, whole.place_variance, rtol=1e-9)


@given(boxes=box_arrays(5), steps=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=10))
def test_seeing_never_makes_the_filter_less_sure(boxes: np.ndarray, steps: list[float]) -> None:
    tracks = BoxFilter()
    tracks.add(boxes)
    for seconds in steps:
        before = tracks.place_variance.copy()
        tracks.predict(seconds)
        assert (tracks.place_variance >= before - 1e-9).all()
        predicted = tracks.place_variance.copy()
        tracks.update(np.arange(len(boxes)), boxes)
        assert (tracks.place_variance <= predicted).all()
        assert (tracks.place_variance > 0.0).all()


def test_the_stacked_filter_is_the_textbook_filter() -> None:
    """One coordinate against a plain 2x2 Kalman filter with matrices."""
    noise = BoxFilter()._noise
    tracks = BoxFilter()
    tracks.add(np.array([[80.0, 100.0, 120.0, 200.0]]))
    scale = 100.0
    state = np.array([100.0, 0.0])
    covariance = np.diag([(2 * noise.measurement * scale) ** 2, (noise.first_velocity * scale) ** 2])
    dt, measurement = 0.1, (noise.measurement * scale) ** 2
    transition = np.array([[1.0, dt], [0.0, 1.0]])
    walk = np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]]) * (noise.acceleration * scale) ** 2
    walk[0, 0] += dt * (noise.drift * scale) ** 2
    for step in range(1, 6):
        centre = 100.0 + 4.0 * step
        tracks.predict(dt)
        tracks.update(np.array([0]), np.array([[centre - 20.0, 100.0, centre + 20.0, 200.0]]))
        state, covariance = transition @ state, transition @ covariance @ transition.T + walk
        gain = covariance[:, 0] / (covariance[0, 0] + measurement)
        state = state + gain * (centre - state[0])
        covariance = covariance - np.outer(gain, covariance[0])
        assert tracks.place[0, 0] == pytest.approx(state[0])
        assert tracks.velocity[0, 0] == pytest.approx(state[1])
        assert tracks.place_variance[0, 0] == pytest.approx(covariance[0, 0])


@st.composite
def scenes(draw: st.DrawFn) -> list[Detections]:
    frames = []
    for _ in range(draw(st.integers(1, 12))):
        boxes = draw(box_arrays(6)).astype(np.float32)
        scores = draw(st.lists(st.floats(0, 1, width=32), min_size=len(boxes), max_size=len(boxes)))
        classes = draw(st.lists(st.integers(0, 2), min_size=len(boxes), max_size=len(boxes)))
        frames.append(Detections(boxes, np.array(scores, np.float32), np.array(classes, np.int64)))
    return frames


@given(scene=scenes(), times=st.lists(st.floats(0, 3), min_size=12, max_size=12), most=st.integers(1, 8))
def test_any_scene_keeps_the_trackers_promises(scene: list[Detections], times: list[float], most: int) -> None:
    tracker = ByteTrack(ByteTrackConfig(max_tracks=most))
    now, seen = 0.0, set()
    for detections, step in zip(scene, times, strict=False):
        now += step
        tracks = tracker.update(detections, now, (640, 480))
        assert len(tracker) <= most
        assert list(tracks.ids) == sorted(set(tracks.ids.tolist()))
        assert (tracks.boxes >= 0).all()
        assert (tracks.boxes <= np.array([640, 480, 640, 480])).all()
        assert (tracks.boxes[:, 2:] >= tracks.boxes[:, :2]).all()
        assert len(tracks) <= int((detections.scores >= tracker.score_floor).sum())
        seen.update(tracks.ids.tolist())
    assert seen <= set(range(1, tracker.ids_given + 1))
    again = ByteTrack(ByteTrackConfig(max_tracks=most))
    now = 0.0
    for detections, step in zip(scene, times, strict=False):
        now += step
        last = again.update(detections, now, (640, 480))
    np.testing.assert_array_equal(last.ids, tracks.ids)
    np.testing.assert_array_equal(last.boxes, tracks.boxes)
