"""Sums of two products in sixteen bits, against loops that spell out what the instruction does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewright.optimize.targets.pairs import capable_pairs, saturated_product

CODES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.integers(0, 255))


def naive(codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    result = np.zeros((len(codes), weights.shape[1]), np.int64)
    for row in range(len(codes)):
        for column in range(weights.shape[1]):
            total = 0
            for k in range(0, weights.shape[0], 2):
                pair = sum(int(codes[row, i]) * int(weights[i, column]) for i in range(k, min(k + 2, len(weights))))
                total += max(-32768, min(32767, pair))
            result[row, column] = total
    return result


@st.composite
def products(draw: st.DrawFn, low: int = -128, high: int = 127) -> tuple[np.ndarray, np.ndarray]:
    codes = draw(CODES)
    # Large weights are what it is about.
    values = st.one_of(st.integers(low, high), st.sampled_from([low, high, high - 1]))
    weights = draw(hnp.arrays(np.int8, (codes.shape[1], draw(st.integers(1, 5))), elements=values))
    return codes, weights


@given(products())
def test_products_are_those_of_the_instruction(given_: tuple[np.ndarray, np.ndarray]) -> None:
    codes, weights = given_
    np.testing.assert_array_equal(saturated_product(codes, weights), naive(codes, weights))


@given(products())
def test_only_capable_pairs_ever_overflow(given_: tuple[np.ndarray, np.ndarray]) -> None:
    codes, weights = given_
    changed = (saturated_product(codes, weights) != codes.astype(np.int64) @ weights.astype(np.int64)).any(axis=0)
    assert not (changed & ~capable_pairs(weights).any(axis=0)).any()


@given(products(-64, 64))
def test_weights_of_seven_bits_never_overflow(given_: tuple[np.ndarray, np.ndarray]) -> None:
    codes, weights = given_
    assert not capable_pairs(weights).any()
    np.testing.assert_array_equal(saturated_product(codes, weights), codes.astype(np.int64) @ weights.astype(np.int64))


def test_weights_of_eight_bits_do_overflow() -> None:
    codes, weights = np.full((1, 4), 255, np.uint8), np.full((4, 1), 127, np.int8)
    assert saturated_product(codes, weights).tolist() == [[2 * 32767]]
    assert saturated_product(codes, -weights).tolist() == [[-2 * 32768]]
    # One large weight of each sign cancels in the sum; one alone fits.
    assert not capable_pairs(np.array([[127], [-128]], np.int8)).any()
    assert not capable_pairs(np.array([[127]], np.int8)).any()
