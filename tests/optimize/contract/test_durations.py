"""Lengths of time as people write them, and the time budget of a contract."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.optimize.contract import Contract, Figures, Status, judge
from edgewright.optimize.durations import format_duration, parse_duration
from edgewright.optimize.errors import SpecError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("90 sec", 90),
        ("10min", 600),
        ("10m", 600),
        ("1.5h", 5400),
        ("1h30m", 5400),
        (" 1H 5 Min 2s ", 3902),
        ("0.5", 0.5),
    ],
)
def test_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "ten", "10 days", "-5", "5m1h", "1m1m", "1h30", "nan", "inf", "1e3"])
def test_refused(text: str) -> None:
    with pytest.raises(SpecError, match="not a length of time"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3930, "1 h 6 min"),
        (3599.7, "1 h"),
    ],
)
def test_written(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 3599))
def test_what_is_written_is_read_again(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_budget_that_means_nothing(seconds: float) -> None:
    with pytest.raises(SpecError, match="time budget in seconds"):
        Contract(time_budget=seconds)


def test_a_budget_is_no_promise() -> None:
    contract = Contract(time_budget=60)
    assert contract.empty
    assert judge(contract, Figures()).status is Status.UNJUDGED
