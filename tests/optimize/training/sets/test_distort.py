"""Distortions: the same for the same seed, numbered where they can come again, and boxes that stay on their objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.optimize.errors import SpecError
from edgewright.optimize.training.sets.distort import FRESH, Distort, distorted
from edgewright.optimize.training.sets.truths import transformed
from edgewright.optimize.training.types import Boxes

SIZE = (40, 30)  # width, height


def pictures(count: int = 6) -> np.ndarray:
    return np.random.default_rng(8).integers(0, 256, (count, 3, SIZE[1], SIZE[0])).astype(np.uint8)


HOW = st.builds(
    Distort,
    mirror=st.booleans(),
    shift=st.integers(0, 4),
    brightness=st.sampled_from([0.0, 0.3]),
    contrast=st.sampled_from([0.0, 0.3]),
    zoom=st.sampled_from([0.0, 0.4]),
    cutout=st.sampled_from([0, 9]),
)


@settings(max_examples=40, deadline=None)
@given(how=HOW, seed=st.integers(0, 2**32 - 1))
def test_the_same_seed_gives_the_same_batch(how: Distort, seed: int) -> None:
    given_ = pictures()
    before = given_.copy()
    first, second = (distorted(given_, how, np.random.default_rng(seed)) for _ in range(2))
    assert first.planes.tobytes() == second.planes.tobytes()
    assert (first.views == second.views).all()
    assert (given_ == before).all()
    assert first.planes.shape == given_.shape
    assert first.planes.min() >= 0
    assert first.planes.max() <= 255
    assert (first.views == FRESH).all() == (not how.finite)


@settings(max_examples=20, deadline=None)
@given(mirror=st.booleans(), shift=st.integers(0, 2), seed=st.integers(0, 2**32 - 1))
def test_a_view_names_one_picture(mirror: bool, shift: int, seed: int) -> None:
    how = Distort(mirror=mirror, shift=shift)
    given_ = np.repeat(pictures(1), 200, axis=0)
    made = distorted(given_, how, np.random.default_rng(seed))
    seen: dict[int, bytes] = {}
    for view, planes in zip(made.views, made.planes, strict=True):
        assert 0 <= view < how.views
        assert seen.setdefault(int(view), planes.tobytes()) == planes.tobytes()
    assert len(set(seen.values())) == len(seen)
    if 0 in seen:
        assert seen[0] == given_[0].tobytes()


def test_nothing_happens_where_nothing_may() -> None:
    made = distorted(pictures(), Distort.none(), np.random.default_rng(0))
    assert (made.planes == pictures()).all()
    assert (made.views == 0).all()


@settings(max_examples=60, deadline=None)
@given(how=HOW.filter(lambda how: not how.cutout), seed=st.integers(0, 10**6))
def test_boxes_stay_on_their_objects(how: Distort, seed: int) -> None:
    planes = np.zeros((4, 3, SIZE[1], SIZE[0]), np.uint8)
    planes[:, :, 10:20, 12:28] = 255
    how = Distort(how.mirror, how.shift, 0.0, 0.0, how.zoom, 0)
    made = distorted(planes, how, np.random.default_rng(seed))
    boxes = Boxes(
        np.array([[12 / 40, 10 / 30, 28 / 40, 20 / 30]], np.float32), np.array([3]), np.array([0.5], np.float32)
    )
    for picture, matrix in zip(made.planes, made.matrices, strict=True):
        moved = transformed(boxes, matrix, SIZE)
        bright = np.argwhere(picture[0] > 200)
        if not len(bright):
            continue
        (top, left), (bottom, right) = bright.min(0), bright.max(0) + 1
        found = np.array([left, top, right, bottom])
        assert len(moved.corners) == 1
        assert np.abs(moved.corners[0] * np.array([*SIZE, *SIZE]) - found).max() <= 1.5
        assert moved.classes.tolist() == [3]
        assert moved.weights[0] in (np.float32(0.5), 0.0)


def test_an_object_that_is_hardly_to_be_seen_counts_neither_way() -> None:
    boxes = Boxes(
        np.array([[0.0, 0, 0.2, 1], [0.0, 0, 0.6, 1], [0, 0, 0.05, 1]], np.float32),
        np.arange(3),
        np.ones(3, np.float32),
    )
    left = np.array([[1.0, 0, -0.15 * 40], [0, 1, 0]])
    moved = transformed(boxes, left, SIZE)
    assert moved.classes.tolist() == [0, 1]
    assert moved.weights.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("changes", [{"zoom": 2.0}, {"shift": -1}, {"brightness": -0.1}, {"contrast": float("nan")}])
def test_settings_that_make_no_sense_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=next(iter(changes))):
        Distort(**changes)
