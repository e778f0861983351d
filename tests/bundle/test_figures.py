"""Figures as people read them: never a zero with a sign."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.bundle.figures import fixed, signed


@pytest.mark.parametrize(
    ("value", "shown"), [(-0.001, "0.00"), (0.0, "0.00"), (0.004, "0.00"), (1.234, "+1.23"), (-1.234, "-1.23")]
)
def test_a_difference_that_rounds_to_nothing_has_no_sign(value: float, shown: str) -> None:
    assert signed(value, 2) == shown


@given(st.floats(-1e9, 1e9), st.integers(0, 4))
def test_what_is_shown_is_the_number(value: float, decimals: int) -> None:
    slack = 0.51 * 10.0**-decimals + 1e-9 * abs(value)
    assert abs(float(signed(value, decimals)) - value) <= slack
    assert abs(float(fixed(value, decimals)) - value) <= slack
    assert not fixed(value, decimals).startswith("-0.0") or float(fixed(value, decimals)) < 0
