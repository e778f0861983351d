"""The rule by which a candidate takes another's place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgewright.optimize.selection import improves

losses = arrays(np.float64, st.shared(st.integers(1, 30), key="n"), elements=st.floats(0, 10))


@settings(max_examples=40)
@given(losses, losses, st.integers(1, 5))
def test_never_both(first: np.ndarray, second: np.ndarray, block: int) -> None:
    there, back = improves(first, second, block), improves(second, first, block)
    assert not (there.accepted and back.accepted)
    assert there.difference == pytest.approx(-back.difference)
    assert not improves(first, first, block).accepted


@settings(max_examples=40)
@given(losses, losses)
def test_only_a_lower_mean_is_accepted(first: np.ndarray, second: np.ndarray) -> None:
    if improves(first, second).accepted:
        assert second.mean() < first.mean()


def test_noise_is_accepted_about_one_time_in_ten() -> None:
    random = np.random.default_rng(0)
    pairs = [(random.gamma(2, 1, 40), random.gamma(2, 1, 40)) for _ in range(600)]
    accepted = sum(improves(old, new).accepted for old, new in pairs)
    assert 35 <= accepted <= 90


def test_a_small_gain_on_every_picture_is_accepted_where_pictures_differ_widely() -> None:
    random = np.random.default_rng(1)
    hard = random.gamma(1, 5, 30)
    gain = improves(hard, hard - 0.05 + random.normal(0, 0.05, 30))
    assert gain.accepted
    assert gain.error < 0.1 * hard.std()


def test_neighbouring_frames_are_one_piece_of_evidence() -> None:
    random = np.random.default_rng(2)
    scene = np.repeat(random.normal(0, 1, 10), 10)
    old = 5 + random.normal(0, 0.01, 100)
    alone, together = improves(old, old + scene), improves(old, old + scene, block=10)
    assert (alone.groups, together.groups) == (100, 10)
    assert together.error > 2.5 * alone.error


@pytest.mark.parametrize("count", [1, 2])
def test_too_little_evidence_changes_nothing(count: int) -> None:
    comparison = improves(np.full(count, 9.0), np.full(count, 1.0))
    assert not comparison.accepted
    assert "unknown noise" in comparison.sentence


def test_a_candidate_that_answers_beats_one_that_does_not() -> None:
    broken, sane = np.array([1.0, np.inf, 1.0]), np.array([5.0, 5.0, 5.0])
    assert improves(broken, sane).accepted
    assert not improves(sane, broken).accepted
    assert not improves(broken, broken).accepted


def test_the_sentence_names_the_bar_that_decides() -> None:
    random = np.random.default_rng(3)
    old = random.normal(5, 0.01, 12)
    # Between one standard error and the bar: what is printed must explain why this is not kept.
    apart = random.normal(0, 0.1, 12)
    apart += -1.2 * apart.std(ddof=1) / np.sqrt(12) - apart.mean()
    comparison = improves(old, old + apart)
    assert not comparison.accepted
    assert comparison.difference < -comparison.error
    assert f"must be below {comparison.threshold:+.3g}" in comparison.sentence
    assert f"{comparison.error:.3g}" not in comparison.sentence


def test_other_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="same pictures"):
        improves(np.zeros(3), np.zeros(4))
