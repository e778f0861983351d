"""McNemar's test, the paired bootstrap, and the fast curves that it runs on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.bundle.errors import ExitCode
from edgewright.optimize.contract import Contract, Figures, Measured, judge
from edgewright.optimize.evaluate.bootstrap import draws, expanded_percentiles
from edgewright.optimize.evaluate.coco import GroundTruth, _Evaluation, compare_precision
from edgewright.optimize.evaluate.intervals import groups_of
from edgewright.optimize.evaluate.mcnemar import mcnemar
from edgewright.runtime.types import Detections


def answers(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    rows = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    table = np.array(rows, np.bool_).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@pytest.mark.parametrize(
    ("first", "second", "exact", "mid"),
    [
        (1, 8, 0.0390625, 0.021484375),  # binomial tails of 9 by hand: 2 * 10/512, less 9/512
        (0, 5, 0.0625, 0.03125),
        (3, 3, 1.0, 1.0),
        (0, 0, 1.0, 1.0),
        (0, 1, 1.0, 0.5),
    ],
)
def test_mcnemar(first: int, second: int, exact: float, mid: float) -> None:
    for one, other in ((first, second), (second, first)):
        test = mcnemar(*answers(7, one, other, 3))
        assert (test.only_first, test.only_second) == (one, other)
        assert (test.exact_p, test.mid_p) == pytest.approx((exact, mid))


@given(*[st.integers(0, 40)] * 4)
def test_mid_p_never_exceeds_the_exact_one(both: int, first: int, second: int, neither: int) -> None:
    test = mcnemar(*answers(both, first, second, neither))
    assert 0 < test.mid_p <= test.exact_p <= 1


def test_the_mid_p_test_keeps_its_level() -> None:
    random = np.random.default_rng(0)
    rejected = [0, 0]
    for _ in range(600):
        first, second = (random.random((2, 120)) < 0.9)[:]
        test = mcnemar(first, second)
        rejected = [rejected[0] + (test.exact_p < 0.05), rejected[1] + (test.mid_p < 0.05)]
    assert rejected[0] <= rejected[1] <= 45  # 30 expected


def scenes(count: int, seed: int, classes: int = 2) -> tuple[list[GroundTruth], list[Detections]]:
    """Boxes that are found, missed, shifted and made up, some of them marked ignore."""
    random = np.random.default_rng(seed)
    truth, seen = [], []
    for _ in range(count):
        corners = random.uniform(0, 400, (random.integers(0, 6), 2))
        boxes = np.concatenate([corners, np.add(corners, (20, 40))], axis=1)
        labels = random.integers(0, classes, len(boxes))
        truth.append(GroundTruth(boxes, labels, random.random(len(boxes)) < 0.15))
        found = random.random(len(boxes)) < 0.8
        alarms = random.uniform(0, 400, (random.integers(0, 4), 2))
        shifted = boxes[found] + random.normal(0, 2, (int(found.sum()), 4))
        every = np.concatenate([shifted, np.concatenate([alarms, np.add(alarms, (20, 40))], axis=1)])
        ids = np.concatenate([labels[found], random.integers(0, classes, len(alarms))])
        seen.append(Detections(every.astype(np.float32), random.random(len(every)).astype(np.float32), ids))
    return truth, seen


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 3))
@settings(max_examples=15)
def test_curves_say_what_pycocotools_says(seed: int, count: int, classes: int) -> None:
    truth, seen = scenes(count, seed, classes)
    if not any((~frame.ignore).any() for frame in truth[1:]):
        return
    curves = _Evaluation(truth, seen).curves(groups_of(count, 1))
    weights = np.ones((2, count))
    weights[1, 0] = 0
    expected = [_Evaluation(truth, seen).precision(), _Evaluation(truth[1:], seen[1:]).precision()]
    # A recall that is a recall point but for rounding may fall on either side of it: one point of 101.
    assert curves.precision(weights) == pytest.approx(np.array(expected), abs=0.011, nan_ok=True)


def test_a_frame_drawn_twice_counts_twice() -> None:
    truth, seen = scenes(6, seed=4)
    curves = _Evaluation(truth, seen).curves(groups_of(6, 1))
    weights = np.array([[2.0, 0, 1, 3, 0, 0]])
    order = [0, 0, 2, 3, 3, 3]
    again = _Evaluation([truth[k] for k in order], [seen[k] for k in order])
    assert curves.precision(weights)[0] == pytest.approx(again.precision(), abs=0.02)


def test_nothing_labelled_gives_nan() -> None:
    truth, seen = scenes(4, seed=1)
    curves = _Evaluation(truth, seen).curves(groups_of(4, 1))
    assert np.isnan(curves.precision(np.zeros((1, 4)))).all()


def test_draws_are_repeatable_and_fair() -> None:
    weights = draws(20, 3000)
    assert (weights == draws(20, 3000)).all()
    assert (weights.sum(axis=1) == 20).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(20), abs=0.1)


def test_expanded_percentiles_of_a_mean_are_students() -> None:
    random = np.random.default_rng(0)
    values = random.normal(0, 1, 25)
    low, high = expanded_percentiles(draws(25, 8000) @ values / 25, 25)
    half = 2.0639 * values.std(ddof=1) / 5  # Student's t for 24 degrees of freedom
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), rel=0.15)


def test_undefined_replicates_are_left_out() -> None:
    assert np.isnan(expanded_percentiles(np.array([np.nan, np.nan]), 5)).all()
    assert expanded_percentiles(np.array([np.nan, 2.0, 2.0]), 5) == (2.0, 2.0)


def test_both_methods_are_reported_and_the_verdict_takes_the_bootstrap_widened() -> None:
    truth, float_ = scenes(30, seed=2)
    keep = np.random.default_rng(5)
    int8 = [seen.select(keep.random(len(seen)) < 0.9) for seen in float_]
    pair = compare_precision(truth, float_, int8)
    assert pair.jackknife is not None
    assert pair.bootstrap is not None
    figures = [row.ap50 for row in (pair.drop, pair.bootstrap, pair.jackknife)]
    assert len({figure.value for figure in figures}) == 1
    assert figures[0].low <= figures[1].low <= figures[1].high <= figures[0].high
    assert 0.3 < (figures[2].high - figures[2].low) / (figures[1].high - figures[1].low) < 3
    few = compare_precision(truth[:19], float_[:19], int8[:19])
    assert few.jackknife is few.bootstrap is None


@pytest.mark.parametrize("lost", [0.0, 0.05])
def test_twenty_labelled_frames_ask_for_more(lost: float) -> None:
    truth, float_ = scenes(20, seed=3)
    random = np.random.default_rng(5)
    int8 = [seen.select(random.random(len(seen)) >= lost) for seen in float_]
    drop = compare_precision(truth, float_, int8).drop.ap50
    points = Measured(100 * drop.value, 100 * drop.low, 100 * drop.high, drop.samples)
    verdict = judge(Contract(max_drop=max(1.0, points.value + 1.0)), Figures(drop=points))
    assert verdict.status.exit_code == ExitCode.INCONCLUSIVE
    needed = verdict.clauses[0].frames_needed
    assert needed is not None
    assert needed > 20
    assert "labelled frames would settle it" in verdict.sentence
