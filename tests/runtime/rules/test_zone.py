"""Counting in zones: the polygon, the hysteresis, and how a zone is written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.runtime.errors import RuleConfigError
from edgewright.runtime.rules import WHOLE_FRAME, ClassChange, Zone, ZoneCount, parse_zone
from edgewright.runtime.rules.polygon import area, inside
from edgewright.runtime.rules.stable import Stable
from edgewright.runtime.testing import detections
from edgewright.runtime.types import Classification, Event, Result, ResultStatus, TimeQuality, Tracks

SIZE = (200, 100)


def result(*boxes: tuple[float, float, float, float], tracked: bool = True, frame: int = 0) -> Result:
    seen = detections(*boxes)
    ids = np.arange(1, len(seen) + 1, dtype=np.int64)
    tracks = Tracks(ids, seen.boxes, seen.scores, seen.class_ids) if tracked else None
    return Result("cam", frame, 5.0, 0.5, TimeQuality.FILE, ResultStatus.OK, seen, tracks)


def standing_at(x: float, y: float) -> tuple[float, float, float, float]:
    return (x - 5.0, y - 20.0, x + 5.0, y)


def feed(rule: ZoneCount, *counts: int) -> list[Event]:
    events: list[Event] = []
    for number, count in enumerate(counts):
        boxes = [standing_at(20.0 + 10 * place, 50.0) for place in range(count)]
        events += rule.update(result(*boxes, frame=number), SIZE)
    return events


def test_a_count_is_told_once_it_holds() -> None:
    events = feed(ZoneCount(WHOLE_FRAME), 0, 2, 2, 2, 2, 0, 0, 0)
    assert [(event.data["count"], event.data["previous"], event.frame_index) for event in events] == [
        (2, 0, 3),
        (0, 2, 7),
    ]
    assert events[0].kind == "zone_count"
    assert events[0].data["zone"] == "view"
    assert events[0].data["track_ids"] == [1, 2]
    assert events[1].data["track_ids"] == []


def test_a_flickering_count_is_not_told() -> None:
    assert feed(ZoneCount(WHOLE_FRAME), *[0, 1] * 20) == []
    assert feed(ZoneCount(WHOLE_FRAME), *[1, 2] * 20) == []


def test_min_frames_of_one_tells_at_once() -> None:
    zone = Zone("z", WHOLE_FRAME.corners, min_frames=1)
    assert [event.data["count"] for event in feed(ZoneCount(zone), 1, 2, 0)] == [1, 2, 0]


def test_feet_decide_and_detections_do_without_tracks() -> None:
    door = parse_zone("door=0,0.5;0.5,0.5;0.5,1;0,1", min_frames=1)
    rule = ZoneCount(door)
    boxes = [(10.0, 0.0, 20.0, 60.0), (10.0, 10.0, 20.0, 40.0), (150.0, 10.0, 160.0, 80.0)]
    (event,) = rule.update(result(*boxes, tracked=False), SIZE)
    assert event.data == {"zone": "door", "count": 1, "previous": 0}
    overlay = rule.overlay(SIZE)
    assert overlay is not None
    assert overlay.polygon is not None
    assert overlay.polygon.tolist() == [[0, 50], [100, 50], [100, 100], [0, 100]]
    assert (overlay.name, overlay.text) == ("door", "1")


def test_a_box_cut_by_the_lower_edge_is_in_the_frame() -> None:
    rule = ZoneCount(Zone("frame", WHOLE_FRAME.corners, min_frames=1))
    (event,) = rule.update(result((190.0, 50.0, 200.0, 100.0), (0.0, 90.0, 0.0, 100.0)), SIZE)
    assert event.data["count"] == 2


def test_classifications_are_none_of_a_zones_business() -> None:
    answer = Classification(np.array([1], np.int64), np.array([0.9], np.float32))
    classified = Result("cam", 0, 0.0, 0.0, TimeQuality.FILE, ResultStatus.OK, answer)
    assert ZoneCount(WHOLE_FRAME).update(classified, SIZE) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("door", "no '='"),
        ("=0,0;1,0;1,1", "no name"),
        ("door=0,0;1,1", "2 corners"),
        ("door=0,0;0.5,0.5;1,1", "one line"),
        ("door=0,0;1;1,1", "no corner"),
        ("door=0,0;x,1;1,1", "no corner"),
        ("door=0,0;-1,1;1,1", "0 or more"),
        ("door=0,0;nan,1;1,1", "0 or more"),
        ("door=0,0;inf,1;1,1", "0 or more"),
    ],
)
def test_a_zone_that_is_none_is_refused(text: str, says: str) -> None:
    with pytest.raises(RuleConfigError, match=says):
        parse_zone(text)


def test_fractions_and_pixels_are_told_apart() -> None:
    assert parse_zone("a=0,0;1,0;1,1").pixels(SIZE).tolist() == [[0, 0], [200, 0], [200, 100]]
    assert parse_zone(" a = 0,0; 150,0 ;150,80; ").pixels(SIZE).tolist() == [[0, 0], [150, 0], [150, 80]]
    with pytest.raises(RuleConfigError, match="min_frames"):
        parse_zone("a=0,0;1,0;1,1", min_frames=0)
    with pytest.raises(RuleConfigError, match="fractions"):
        Zone("a", ((0, 0), (2, 0), (2, 2)), fractions=True)


COORDINATE = st.floats(0, 100, width=32)
POINTS = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=1, max_size=20).map(np.array)


@given(points=POINTS, corner=st.tuples(COORDINATE, COORDINATE), sides=st.tuples(st.floats(1, 60), st.floats(1, 60)))
def test_in_a_rectangle_means_between_its_sides(points: np.ndarray, corner: tuple, sides: tuple) -> None:
    (left, top), (width, height) = corner, sides
    polygon = np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])
    margin = 1e-6
    distance = np.abs(points[:, :1] - [left, left + width]).min(1), np.abs(points[:, 1:] - [top, top + height]).min(1)
    clear = (distance[0] > margin) & (distance[1] > margin)
    expected = ((points > [left, top]) & (points < [left + width, top + height])).all(axis=1)
    np.testing.assert_array_equal(inside(points, polygon)[clear], expected[clear])


@given(
    points=POINTS, corners=st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=7), turn=st.integers(0, 6)
)
def test_direction_and_first_corner_do_not_matter(points: np.ndarray, corners: list, turn: int) -> None:
    polygon = np.array(corners)
    answer = inside(points, polygon)
    np.testing.assert_array_equal(inside(points, polygon[::-1]), answer)
    np.testing.assert_array_equal(inside(points, np.roll(polygon, turn, axis=0)), answer)
    assert area(polygon) == pytest.approx(area(polygon[::-1]))


@given(corners=st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=7), share=st.floats(0, 1))
def test_edges_and_corners_belong_to_the_zone(corners: list, share: float) -> None:
    polygon = np.array(corners)
    on_edges = polygon + share * (np.roll(polygon, -1, axis=0) - polygon)
    assert inside(polygon, polygon).all()
    assert inside(on_edges, polygon).all()


@given(values=st.lists(st.integers(0, 3), max_size=60), frames=st.integers(1, 5))
def test_a_stable_value_changes_only_after_it_held(values: list[int], frames: int) -> None:
    stable = Stable(0, frames)
    for number, value in enumerate(values):
        before = stable.value
        previous = stable.update(value)
        if previous is None:
            assert stable.value == before
        else:
            assert (previous, stable.value) == (before, value)
            assert values[number - frames + 1 : number + 1] == [value] * frames


def classified(class_id: int, score: float = 0.8) -> Result:
    answer = Classification(np.array([class_id, 9], np.int64), np.array([score, 0.1], np.float32))
    return Result("cam", 0, 0.0, 0.0, TimeQuality.FILE, ResultStatus.OK, answer)


def test_a_new_best_class_is_told_once_it_holds() -> None:
    rule = ClassChange(["cat", "dog"], min_frames=2)
    seen = [0, 0, 0, 1, 0, 1, 1, 5, 5]
    events = [event for class_id in seen for event in rule.update(classified(class_id), SIZE)]
    assert [(event.data["label"], event.data["previous"]) for event in events] == [
        ("cat", None),
        ("dog", "cat"),
        ("5", "dog"),
    ]
    overlay = rule.overlay(SIZE)
    assert overlay is not None
    assert overlay.text == "5"
    assert rule.update(result(), SIZE) == ()
