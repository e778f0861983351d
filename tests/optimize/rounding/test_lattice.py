"""Rounding under a moment, against brute force and against plain rounding."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.optimize.rounding.lattice import (
    descend,
    moment_error,
    round_by_columns,
    round_by_search,
    round_exactly,
    round_plainly,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMITS = (-127, 127)


def problem(seed: int, taps: int, rows: int = 3) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reals (rows, taps) and one moment of positive, correlated inputs."""
    random = np.random.default_rng(seed)
    inputs = random.uniform(0, 1, (taps, 50)) + 2 * random.uniform(0, 1, 50)
    return random.uniform(-100, 100, (rows, taps)), inputs @ inputs.T / 50


def error(codes: NDArray[np.float64], reals: NDArray[np.float64], moment: NDArray[np.float64]) -> NDArray[np.float64]:
    return moment_error(codes[None], reals[None], moment[None])[0]


def brute_force(real: NDArray[np.float64], moment: NDArray[np.float64]) -> float:
    down = np.floor(real)
    return min(
        float((down + choice - real) @ moment @ (down + choice - real)) for choice in product((0, 1), repeat=len(real))
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), taps=st.integers(1, 6))
def test_exact_rounding_is_what_brute_force_finds(seed: int, taps: int) -> None:
    reals, moment = problem(seed, taps)
    codes = round_exactly(reals, np.broadcast_to(moment, (3, taps, taps)), LIMITS)
    for row in range(3):
        assert error(codes[row : row + 1], reals[row : row + 1], moment)[0] == pytest.approx(
            brute_force(reals[row], moment), rel=1e-6, abs=1e-9
        )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), taps=st.integers(1, 7))
def test_a_wide_search_is_never_behind_exact_rounding(seed: int, taps: int) -> None:
    reals, moment = problem(seed, taps)
    stacked = np.broadcast_to(moment, (3, taps, taps))
    searched = round_by_search(reals, stacked, LIMITS, beam=2187)
    exact = round_exactly(reals, stacked, LIMITS)
    assert (error(searched, reals, moment) <= error(exact, reals, moment) * (1 + 1e-6) + 1e-9).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), taps=st.integers(1, 80))
def test_steps_only_lower_the_error(seed: int, taps: int) -> None:
    reals, moment = problem(seed, taps)
    plain = round_plainly(reals, LIMITS)
    better = descend(plain, reals, moment, LIMITS, most=20)
    assert (error(better, reals, moment) <= error(plain, reals, moment) + 1e-9).all()


@pytest.mark.parametrize("taps", [8, 64, 65, 200])
def test_by_columns_beats_plain_rounding(taps: int) -> None:
    reals, moment = problem(5, taps, rows=40)
    codes = round_by_columns(reals, moment + 0.01 * np.eye(taps) * np.trace(moment) / taps, LIMITS)
    assert error(codes, reals, moment).sum() < 0.5 * error(round_plainly(reals, LIMITS), reals, moment).sum()
    assert np.abs(codes - reals).max() < 40


def test_every_method_keeps_to_the_limits() -> None:
    reals, moment = problem(3, 9)
    reals = reals * 4
    stacked = np.broadcast_to(moment, (3, 9, 9))
    for codes in (
        round_plainly(reals, (-64, 64)),
        round_exactly(reals, stacked, (-64, 64)),
        round_by_search(reals, stacked, (-64, 64)),
        round_by_columns(reals, moment, (-64, 64)),
        descend(round_plainly(reals, (-64, 64)), reals, moment, (-64, 64), 30),
    ):
        assert np.abs(codes).max() <= 64
        assert (codes == np.rint(codes)).all()


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    reals, _ = problem(3, 9)
    zero = np.zeros((3, 9, 9))
    assert np.abs(round_exactly(reals, zero, LIMITS) - reals).max() <= 1
    assert np.abs(round_by_search(reals, zero, LIMITS) - reals).max() <= 1
    assert np.abs(round_by_columns(reals, zero[0], LIMITS) - reals).max() <= 1


def test_few_patches_in_single_precision_are_enough() -> None:
    """Fewer patches than taps leave a moment without full rank, and rounding noise may turn it indefinite."""
    patches = np.random.default_rng(0).uniform(0, 1, (4, 25, 3)).astype(np.float32)
    moment = (patches @ patches.transpose(0, 2, 1)).astype(np.float64)
    reals, _ = problem(1, 25, rows=4)
    searched = round_by_search(reals, moment, LIMITS)
    columns = round_by_columns(reals, moment[0], LIMITS)
    assert np.abs(searched - reals).max() < 30
    assert np.abs(columns - reals).max() < 30
