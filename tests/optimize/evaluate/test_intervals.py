"""Intervals: against known values, and against the truth they should cover."""

from __future__ import annotations

import numpy as np
import pytest

from edgewright.optimize.evaluate.intervals import (
    block_indices,
    clopper_pearson,
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


def test_few_frames_say_nothing_of_the_spread() -> None:
    ratio = measured_ratio(np.array([0.5, 0.5]), np.ones(2), block=1)
    assert ratio is not None
    assert (ratio.low, ratio.high) == (0.0, 1.0)


def test_correlated_frames_widen_the_interval() -> None:
    hits = np.repeat(np.random.default_rng(0).integers(0, 2, 20), 20).astype(np.int64)
    totals = np.ones_like(hits)
    alone, together = (measured_share(hits, totals, block=block) for block in (1, 20))
    assert alone is not None
    assert together is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_blocks_are_runs_that_wrap_round() -> None:
    index = block_indices(10, 5, 3)
    assert index.shape == (3, 10)
    steps = np.diff(index.reshape(3, 2, 5), axis=2) % 10
    assert (steps == 1).all()
    assert (block_indices(10, 5, 3) == index).all()


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
