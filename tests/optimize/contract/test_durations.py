"""Lengths of time as people write them, and the time budget of a contract."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.optimize.contract import Contract, Figures, Status, judge
from edgewright.optimize.durations import format_seconds, parse_duration
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
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (35, "35 s"), (119, "119 s"), (210, "3.5 min"), (4320, "1.2 h")],
)
def test_written(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@given(st.floats(0, 1e6))
def test_what_is_written_is_read_again(seconds: float) -> None:
    assert parse_duration(format_seconds(seconds)) == pytest.approx(seconds, rel=0.05, abs=0.05)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_budget_that_means_nothing(seconds: float) -> None:
    with pytest.raises(SpecError, match="time budget in seconds"):
        Contract(time_budget=seconds)


def test_a_budget_is_no_promise() -> None:
    contract = Contract(time_budget=60)
    assert contract.empty
    assert judge(contract, Figures()).status is Status.UNJUDGED
