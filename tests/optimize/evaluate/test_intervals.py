"""Intervals: against known values, and against the truth they should cover."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.optimize.contract import Measured
from edgewright.optimize.evaluate.intervals import (
    clopper_pearson,
    groups_of,
    half_width,
    measured_mean,
    measured_ratio,
    measured_share,
    paired_difference,
    wilson,
)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (0, 0, 0.0, 1.0)],
)
def test_clopper_pearson(hits: int, total: int, low: float, high: float) -> None:
    assert clopper_pearson(hits, total) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (0, 0, 0, 1)]
)
def test_wilson(hits: int, total: int, low: float, high: float) -> None:
    assert wilson(hits, total) == pytest.approx((low, high), abs=1e-4)


def test_all_kept_of_a_few_is_not_certain() -> None:
    share = measured_share(np.ones(10, np.int64), np.ones(10, np.int64), block=1)
    assert share is not None
    assert (share.value, share.high, share.samples) == (1.0, 1.0, 10)
    assert share.low == pytest.approx(0.6915, abs=1e-4)


def test_nothing_to_hit_gives_no_share() -> None:
    assert measured_share(np.zeros(10, np.int64), np.zeros(10, np.int64), block=1) is None


@pytest.mark.parametrize(("frames", "block"), [(2, 1), (7, 1), (8, 8), (63, 8)])
def test_few_blocks_say_nothing_of_the_spread(frames: int, block: int) -> None:
    values = np.linspace(0.2, 0.8, frames)
    ratio = measured_ratio(values, np.ones(frames), block=block)
    mean = measured_mean(values, block=block)
    assert ratio is not None
    assert (ratio.low, ratio.high) == (0.0, 1.0)
    assert (mean.low, mean.high) == (-1.0, 1.0)


@pytest.mark.parametrize(("frames", "block"), [(1, 1), (7, 1), (8, 8), (40, 8)])
def test_many_boxes_in_few_pictures_are_little_evidence(frames: int, block: int) -> None:
    boxes = np.full(frames, 60, np.int64)
    share = measured_share(boxes, boxes, block=block)
    assert share is not None
    assert (share.low, share.high) == (0.0, 1.0)


def test_all_boxes_of_some_pictures_count_as_often_as_there_are_pictures() -> None:
    boxes = np.full(40, 60, np.int64)
    apart, together = (measured_share(boxes, boxes, block=block) for block in (1, 5))
    assert apart is not None
    assert together is not None
    assert (apart.low, apart.high) == pytest.approx(clopper_pearson(40, 40))
    assert (together.low, together.high) == pytest.approx(clopper_pearson(8, 8))


def test_single_answers_of_unrelated_pictures_are_binomial() -> None:
    share = measured_share(np.array([1, 1, 0], np.int64), np.ones(3, np.int64), block=1)
    assert share is not None
    assert (share.low, share.high) == pytest.approx(clopper_pearson(2, 3))


def test_a_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0, 11.0])
    left_out = (values.sum() - values) / 4
    # Student's t for 4 degrees of freedom is 2.776.
    assert half_width(left_out) == pytest.approx(2.7764 * values.std(ddof=1) / np.sqrt(5), rel=1e-4)


def test_correlated_frames_widen_the_interval() -> None:
    hits = np.repeat(np.random.default_rng(0).integers(0, 2, 20), 20).astype(np.int64)
    totals = np.ones_like(hits)
    alone, together = (measured_share(hits, totals, block=block) for block in (1, 20))
    assert alone is not None
    assert together is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)


@pytest.mark.parametrize(("count", "block"), [(10, 5), (13, 4), (3, 8), (1, 1), (1000, 1)])
def test_groups_are_runs_of_neighbours(count: int, block: int) -> None:
    groups = groups_of(count, block)
    sizes = np.bincount(groups)
    assert len(groups) == count
    assert (np.diff(groups) >= 0).all()
    assert sizes.min() >= min(block, count)
    assert len(sizes) <= 200


@pytest.mark.parametrize(("frames", "block", "persistence"), [(20, 1, 0.0), (64, 5, 0.0), (64, 8, 0.5), (160, 8, 0.5)])
def test_a_share_of_boxes_covers_the_truth(frames: int, block: int, persistence: float) -> None:
    """Boxes of a frame are kept or lost together, and neighbouring frames likewise (an autoregressive series)."""
    random = np.random.default_rng(5)
    truth = float((1 / (1 + np.exp(-3 - 1.5 * random.normal(size=200_000)))).mean())
    covered, too_high, rounds = 0, 0, 400
    for _ in range(rounds):
        state = random.normal(size=frames)
        for k in range(1, frames):
            state[k] = persistence * state[k - 1] + np.sqrt(1 - persistence**2) * state[k]
        totals = random.poisson(5, frames)
        share = measured_share(random.binomial(totals, 1 / (1 + np.exp(-3 - 1.5 * state))), totals, block=block)
        assert share is not None
        covered += share.low <= truth <= share.high
        too_high += share.low > truth
    assert covered >= 0.92 * rounds
    assert too_high <= 0.055 * rounds


def test_paired_difference_without_any_difference_is_not_certain() -> None:
    right = np.array([True] * 18 + [False] * 2)
    value, low, high = paired_difference(right, right)
    assert value == 0
    assert low < 0 < high


def test_paired_difference_covers_the_truth() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        draw = random.random(80)
        first, second = draw < 0.9, (draw < 0.8) | (draw > 0.97)
        _, low, high = paired_difference(first, second)
        covered += low <= 0.9 - 0.83 <= high
    assert covered >= 0.92 * 400


@pytest.mark.parametrize(("frames", "block"), [(5, 1), (12, 4), (40, 6)])
def test_too_few_blocks_say_how_many_frames_would_make_enough(frames: int, block: int) -> None:
    random = np.random.default_rng(0)

    def share(count: int) -> Measured:
        totals = np.full(count, 4)
        found = measured_share(random.integers(0, 4, count), totals, block=block)
        assert found is not None
        return found

    few = share(frames)
    assert (few.low, few.high) == (0, 1)
    assert few.enough is not None
    assert few.enough > frames
    enough = share(few.enough)
    assert enough.enough is None
    assert enough.high - enough.low < 1
    assert share(few.enough - 1).enough == few.enough


def test_frames_that_are_all_alike_are_known_to_be() -> None:
    ones = np.ones(30, np.int64)
    alike = measured_share(ones, ones, block=1)
    other = measured_share(np.arange(30) % 2, ones, block=1)
    assert alike is not None
    assert other is not None
    assert (alike.still, other.still) == (True, False)
