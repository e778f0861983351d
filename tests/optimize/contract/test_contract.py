"""The verdict: a table of limits and intervals, and what is said about them."""

from __future__ import annotations

import dataclasses
import re

import pytest

from edgewright.bundle.errors import ExitCode
from edgewright.optimize.contract import ClauseKind, Contract, Figures, Measured, Status, judge
from edgewright.optimize.errors import SpecError
from edgewright.optimize.sizes import format_bytes, parse_bytes, size_change

DROP = Measured(1.0, 0.5, 1.5, 100)


@pytest.mark.parametrize(
    ("contract", "figures", "status"),
    [
        pytest.param(Contract(max_drop=2), Figures(drop=DROP), Status.PASS, id="interval below the limit"),
        pytest.param(Contract(max_drop=1.5), Figures(drop=DROP), Status.PASS, id="interval ends on the limit"),
        pytest.param(Contract(max_drop=1.2), Figures(drop=DROP), Status.INCONCLUSIVE, id="limit inside, good side"),
        pytest.param(Contract(max_drop=0.7), Figures(drop=DROP), Status.INCONCLUSIVE, id="limit inside, bad side"),
        pytest.param(
            Contract(max_drop=0.5), Figures(drop=DROP), Status.INCONCLUSIVE, id="interval begins on the limit"
        ),
        pytest.param(Contract(max_drop=0.4), Figures(drop=DROP), Status.FAIL, id="interval above the limit"),
        pytest.param(Contract(max_drop=-1), Figures(drop=DROP), Status.FAIL, id="a gain was promised"),
        pytest.param(
            Contract(min_agreement=95), Figures(agreement=Measured(98, 96, 99, 50)), Status.PASS, id="agreement kept"
        ),
        pytest.param(
            Contract(min_agreement=97),
            Figures(agreement=Measured(98, 96, 99, 50)),
            Status.INCONCLUSIVE,
            id="agreement open",
        ),
        pytest.param(
            Contract(min_agreement=99.5),
            Figures(agreement=Measured(98, 96, 99, 50)),
            Status.FAIL,
            id="agreement broken",
        ),
        pytest.param(
            Contract(min_speedup=1.5), Figures(speedup=Measured(2, 1.8, 2.2, 24)), Status.PASS, id="fast enough"
        ),
        pytest.param(Contract(min_speedup=2.5), Figures(speedup=Measured(2, 1.8, 2.2, 24)), Status.FAIL, id="too slow"),
        pytest.param(Contract(max_size=100), Figures(size=Measured.exact(100)), Status.PASS, id="size is exact"),
        pytest.param(Contract(max_size=99), Figures(size=Measured.exact(100)), Status.FAIL, id="one byte too many"),
        pytest.param(Contract(max_drop=2), Figures(), Status.INCONCLUSIVE, id="not measured"),
        pytest.param(Contract(), Figures(drop=DROP), Status.UNJUDGED, id="nothing promised"),
        pytest.param(
            Contract(max_drop=1.2, max_size=99),
            Figures(drop=DROP, size=Measured.exact(100)),
            Status.FAIL,
            id="one failure outweighs an open clause",
        ),
        pytest.param(
            Contract(max_drop=1.2, max_size=100),
            Figures(drop=DROP, size=Measured.exact(100)),
            Status.INCONCLUSIVE,
            id="an open clause outweighs a kept one",
        ),
    ],
)
def test_verdict(contract: Contract, figures: Figures, status: Status) -> None:
    verdict = judge(contract, figures)
    assert verdict.status is status
    assert verdict.sentence.startswith(status.value)


def test_inconclusive_names_the_samples_it_would_take() -> None:
    # Half-width 0.5 at 100 frames; to clear a limit 0.1 away it must shrink five-fold, hence 25 times the frames.
    clause = judge(Contract(max_drop=1.1), Figures(drop=DROP)).clauses[0]
    assert clause.frames_needed == pytest.approx(2500, abs=1)
    assert "at least about 2 500 labelled frames would settle it" in clause.sentence


def test_a_speed_up_names_the_flag_to_turn() -> None:
    clause = judge(Contract(min_speedup=1.9), Figures(speedup=Measured(2, 1.8, 2.2, 240))).clauses[0]
    assert clause.frames_needed == 960
    assert "at least about 960 timed frames (--runs) would settle it" in clause.sentence


@pytest.mark.parametrize(
    ("contract", "figures"),
    [
        (Contract(max_drop=2), Figures(drop=Measured(0.5, -100, 100, 12))),
        (Contract(min_agreement=90), Figures(agreement=Measured(98, 0, 100, 5))),
        (Contract(min_speedup=1.5), Figures(speedup=Measured(2, 0, 1e6, 20))),
    ],
)
def test_no_number_is_named_while_the_spread_is_unknown(contract: Contract, figures: Figures) -> None:
    clause = judge(contract, figures).clauses[0]
    assert clause.status is Status.INCONCLUSIVE
    assert clause.frames_needed is None
    assert "[anything]" in clause.sentence
    assert "to know the spread" in clause.sentence


def test_too_few_samples_to_know_the_spread_name_how_many_would_do() -> None:
    clause = judge(Contract(max_drop=2), Figures(drop=Measured(0.5, -100, 100, 12, enough=1160))).clauses[0]
    assert (clause.status, clause.frames_needed) == (Status.INCONCLUSIVE, 1160)
    assert clause.sentence.endswith("to know the spread, at least about 1 160 are needed for that")


def test_where_nothing_differs_the_interval_shrinks_with_the_number_itself() -> None:
    kept = Measured(100, 96, 100, 90, still=True)
    assert judge(Contract(min_agreement=98), Figures(agreement=kept)).clauses[0].frames_needed == 180
    spread = dataclasses.replace(kept, still=False)
    assert judge(Contract(min_agreement=98), Figures(agreement=spread)).clauses[0].frames_needed == 360


def test_the_side_of_the_interval_that_crosses_the_limit_counts() -> None:
    lopsided = Measured(1.0, 0.9, 1.8, 100)
    assert judge(Contract(max_drop=1.4), Figures(drop=lopsided)).clauses[0].frames_needed == pytest.approx(400, abs=1)


def test_no_number_is_named_when_the_estimate_sits_on_the_limit() -> None:
    clause = judge(Contract(max_drop=1.0), Figures(drop=DROP)).clauses[0]
    assert clause.status is Status.INCONCLUSIVE
    assert clause.frames_needed is None
    assert "sits on the limit" in clause.sentence


def test_exit_codes() -> None:
    codes = [Status.PASS, Status.FAIL, Status.INCONCLUSIVE, Status.UNJUDGED]
    assert [status.exit_code for status in codes] == [
        ExitCode.OK,
        ExitCode.CONTRACT_FAILED,
        ExitCode.INCONCLUSIVE,
        ExitCode.OK,
    ]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4MB", 4_000_000),
        ("3.5MiB", 3_670_016),
        ("4000000", 4_000_000),
        ("12 kb", 12_000),
        ("1GiB", 2**30),
        ("7B", 7),
        ("2M", 2_000_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "4 TB", "four", "-3MB", "1e6"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(SpecError, match="not a size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_drop": float("nan")},
        {"max_drop": 101},
        {"min_agreement": -1},
        {"min_agreement": 0},
        {"min_agreement": 101},
        {"min_speedup": -1},
    ],
)
def test_limits_that_mean_nothing_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="contract"):
        Contract(**limits)


@pytest.mark.parametrize(("given", "meant"), [(0.9, "90"), (0.955, "95.5"), (1.0, "100")])
def test_a_share_where_a_percentage_is_meant_is_refused(given: float, meant: str) -> None:
    with pytest.raises(SpecError, match=f"percent.* did you mean {re.escape(meant)}\\?"):
        Contract(min_agreement=given)


def test_a_figure_that_is_doubted_decides_nothing() -> None:
    doubts = {ClauseKind.MAX_DROP: "the labels are odd", ClauseKind.MIN_SPEEDUP: "another board"}
    figures = Figures(drop=Measured(0, -0.5, 0.5, 400), doubts=doubts)
    for limit in (2.0, 0.2, -1.0):
        verdict = judge(Contract(max_drop=limit, min_speedup=1), figures)
        assert [clause.status for clause in verdict.clauses] == [Status.INCONCLUSIVE] * 2
        assert [clause.frames_needed for clause in verdict.clauses] == [None, None]
        assert verdict.clauses[0].sentence.endswith("promised: the labels are odd")
        assert verdict.clauses[1].sentence.endswith("was promised: another board")


def test_too_short_a_film_is_told_in_seconds() -> None:
    short = Measured(98, 0, 100, 24, enough=64, span=(3, 8))
    clause = judge(Contract(min_agreement=90), Figures(agreement=short)).clauses[0]
    assert "spans 3 blocks of 2 s and 8 are needed, so 16 s or more" in clause.sentence
    assert "at least about 64 frames" in clause.sentence
    assert clause.frames_needed == 64


def test_an_interval_holds_its_estimate() -> None:
    with pytest.raises(ValueError, match="hold its estimate"):
        Measured(2.0, 0.0, 1.0, 5)


def test_bytes_for_people() -> None:
    assert [format_bytes(n) for n in (12, 1500, 3_613_472, 2 * 10**9)] == ["12 B", "1.50 kB", "3.61 MB", "2.00 GB"]


def test_a_file_that_grew_is_called_larger() -> None:
    assert (size_change(3.358), size_change(1 / 3)) == ("3.36x smaller", "3.00x larger")
