"""The budget a user sets, and the verdict on a candidate. Pure rules, no I/O.

Invariants (tested as properties in ``tests/properties/test_contract.py``):

- PASS only when the whole interval lies on the right side of the limit, FAIL only when the whole interval lies on
  the wrong side; what lies between is INCONCLUSIVE. So PASS and FAIL exclude each other.
- Loosening a limit never turns PASS into anything else; tightening it never turns FAIL into anything else.
- The verdict is FAIL when any clause fails, else INCONCLUSIVE when any clause is open, else PASS; without any clause
  it is UNJUDGED.

Example:
    >>> contract = Contract(max_drop=1.0)
    >>> verdict = judge(contract, Figures(drop=Measured(0.2, -0.4, 0.8, samples=500)))
    >>> verdict.status.value
    'PASS'
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from edgewright.bundle.errors import ExitCode
from edgewright.bundle.figures import fixed
from edgewright.optimize.errors import SpecError
from edgewright.optimize.sizes import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "BLOCK_S",
    "ClauseKind",
    "ClauseVerdict",
    "Contract",
    "Figures",
    "Measured",
    "Status",
    "Verdict",
    "judge",
    "together",
]

BLOCK_S = 2.0
"""Frames of a film so near in time show the same scene, and count as one piece of evidence."""
_LONGEST_S = 30 * 86400.0
# Beyond this, a count of frames is a way of saying "not with this instrument".
_MANY_FRAMES = 10_000_000


class Status(str, Enum):
    """What became of a contract or of one of its clauses."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    UNJUDGED = "UNJUDGED"

    @property
    def exit_code(self) -> ExitCode:
        """What the command ends with."""
        if self is Status.FAIL:
            return ExitCode.CONTRACT_FAILED
        return ExitCode.INCONCLUSIVE if self is Status.INCONCLUSIVE else ExitCode.OK


class ClauseKind(str, Enum):
    """The four promises a contract can hold."""

    MAX_DROP = "max_drop"
    MIN_AGREEMENT = "min_agreement"
    MIN_SPEEDUP = "min_speedup"
    MAX_SIZE = "max_size"


@dataclass(frozen=True)
class Measured:
    """A figure with its 95 % interval.

    Attributes:
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        samples: How many frames it rests on; 0 for an exact figure.
        enough: Where they are too few to know the spread, so that the interval is the whole range: how many would do;
            None where that is not the reason, or cannot be said.
        still: No frame differed from the others, so that the interval speaks of frames not seen only.
        span: Where the frames are of a film too short to know the spread: how many blocks of ``BLOCK_S`` it fills, and
            how many are needed.
    """

    value: float
    low: float
    high: float
    samples: int
    enough: int | None = None
    still: bool = False
    span: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuses an interval that does not hold its estimate."""
        if not self.low <= self.value <= self.high:
            msg = f"an interval must hold its estimate: {self.low} <= {self.value} <= {self.high} is not so"
            raise ValueError(msg)

    @staticmethod
    def exact(value: float) -> Measured:
        """A figure without uncertainty."""
        return Measured(value, value, value, 0)


@dataclass(frozen=True)
class Contract:
    """Limits; None means "no promise".

    Attributes:
        max_drop: Points (hundredths) of the task's metric that may be lost, float minus INT8.
        min_agreement: Percent of the float model's answers that must be kept.
        min_speedup: Float time over INT8 time, at least.
        max_size: Bytes of the INT8 model file, at most.
        time_budget: Seconds that the optimizer may spend. Not a promise about the result, so not a clause of the
            verdict and nothing that ``empty`` counts: a search that runs out of time gives the best it has, and that
            is judged like any other.
    """

    max_drop: float | None = None
    min_agreement: float | None = None
    min_speedup: float | None = None
    max_size: int | None = None
    time_budget: float | None = None

    def __post_init__(self) -> None:
        """Refuses limits that mean nothing.

        Raises:
            SpecError: A limit is not a finite number or out of its range, or a share where a percentage is meant.
        """
        _check_limit("max drop", self.max_drop, -100.0, 100.0)
        _check_percent("min agreement", self.min_agreement)
        _check_limit("min speedup", self.min_speedup, 0.0, 1e6)
        _check_limit("max size", self.max_size, 0, 2**50)
        _check_limit("time budget in seconds", self.time_budget, 1.0, _LONGEST_S)

    @property
    def empty(self) -> bool:
        """Whether nothing was promised."""
        return (
            self.max_drop is None and self.min_agreement is None and self.min_speedup is None and self.max_size is None
        )


def _check_limit(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        msg = f"the contract's {name} is {value}; give a number between {low:g} and {high:g}"
        raise SpecError(msg)


def _check_percent(name: str, value: float | None) -> None:
    if value is None:
        return
    if 0.0 < value <= 1.0:
        msg = (
            f"the contract's {name} is in percent and {value:g} would let anything pass: did you mean {100 * value:g}?"
        )
        raise SpecError(msg)
    if not (math.isfinite(value) and 1.0 < value <= 100.0):
        msg = f"the contract's {name} is {value}; give a percentage above 1 and up to 100"
        raise SpecError(msg)


@dataclass(frozen=True)
class Figures:
    """What was measured on a candidate, in the contract's units; None means "not measured".

    Attributes:
        drop: Points lost, float minus INT8.
        agreement: Percent of float's answers kept.
        speedup: Float time over INT8 time.
        size: Bytes of the INT8 model file.
        doubts: Why a figure tells nothing of its promise, however it came out; such a promise stays open.
    """

    drop: Measured | None = None
    agreement: Measured | None = None
    speedup: Measured | None = None
    size: Measured | None = None
    doubts: Mapping[ClauseKind, str] = field(default_factory=dict)


_WORST_FIRST = (Status.FAIL, Status.INCONCLUSIVE, Status.PASS, Status.UNJUDGED)


@dataclass(frozen=True)
class ClauseVerdict:
    """One promise and what became of it.

    Attributes:
        kind: Which promise.
        limit: Its limit, in the clause's unit.
        measured: The figure; None when it could not be measured.
        status: PASS, FAIL or INCONCLUSIVE.
        sentence: All of it in words.
        frames_needed: When inconclusive: at least about how many frames would settle it were the estimate exact, or
            from how many on the spread can be known at all; None when none can be named.
    """

    kind: ClauseKind
    limit: float
    measured: Measured | None
    status: Status
    sentence: str
    frames_needed: int | None = None


@dataclass(frozen=True)
class Verdict:
    """The whole answer."""

    status: Status
    clauses: tuple[ClauseVerdict, ...]

    @property
    def sentence(self) -> str:
        """One line for people."""
        if self.status is Status.UNJUDGED:
            return "UNJUDGED: no limit was set, so there was nothing to judge"
        told = [clause.sentence for clause in self.clauses if clause.status is self.status]
        if self.status is Status.PASS:
            return f"PASS: {_count(len(told), 'promise')} kept"
        return f"{self.status.value}: " + "; ".join(told)


def together(verdicts: Mapping[str, Verdict]) -> Verdict:
    """One verdict over several variants that are shipped together: the promises hold for each of them.

    Args:
        verdicts: By what the variant is called; at least one.

    Returns:
        The only one as it is; else all clauses, told apart by name, and the worst status.
    """
    if len(verdicts) == 1:
        return next(iter(verdicts.values()))
    worst = next(status for status in _WORST_FIRST if any(verdict.status is status for verdict in verdicts.values()))
    clauses = (
        replace(clause, sentence=f"{name}: {clause.sentence}")
        for name, verdict in verdicts.items()
        for clause in verdict.clauses
    )
    return Verdict(worst, tuple(clauses))


@dataclass(frozen=True)
class _Rule:
    kind: ClauseKind
    at_most: bool
    what: str
    unit: str
    sampled: str
    whole: tuple[float, float] = (-math.inf, math.inf)

    def show(self, value: float) -> str:
        if self.kind is ClauseKind.MAX_SIZE:
            return format_bytes(int(value))
        return f"{fixed(value, 2)}{self.unit}"

    def interval(self, measured: Measured) -> str:
        if measured.low == measured.high:
            return ""
        if self.unknown(measured):
            return " [anything]"
        return f" [{fixed(measured.low, 2)} to {fixed(measured.high, 2)}]"

    def unknown(self, measured: Measured) -> bool:
        """Whether the interval is the whole range: too few samples to know their spread."""
        return measured.low <= self.whole[0] and measured.high >= self.whole[1]


_DROP = _Rule(
    ClauseKind.MAX_DROP, at_most=True, what="drop", unit=" points", sampled="labelled frames", whole=(-100.0, 100.0)
)
_AGREEMENT = _Rule(
    ClauseKind.MIN_AGREEMENT, at_most=False, what="agreement", unit=" %", sampled="frames", whole=(0.0, 100.0)
)
_SPEEDUP = _Rule(
    ClauseKind.MIN_SPEEDUP, at_most=False, what="speed-up", unit="x", sampled="timed frames (--runs)", whole=(0.0, 1e6)
)
_MODEL_SIZE = _Rule(ClauseKind.MAX_SIZE, at_most=True, what="model size", unit=" bytes", sampled="")


def judge(contract: Contract, figures: Figures) -> Verdict:
    """Holds what was measured against what was promised.

    Args:
        contract: The limits.
        figures: The measurements, in the same units.

    Returns:
        The verdict, clauses in a fixed order.
    """
    pairs: Sequence[tuple[_Rule, float | None, Measured | None]] = (
        (_DROP, contract.max_drop, figures.drop),
        (_AGREEMENT, contract.min_agreement, figures.agreement),
        (_SPEEDUP, contract.min_speedup, figures.speedup),
        (_MODEL_SIZE, contract.max_size, figures.size),
    )
    clauses = tuple(
        _judge_clause(rule, limit, measured, figures.doubts.get(rule.kind))
        for rule, limit, measured in pairs
        if limit is not None
    )
    return Verdict(_sum_up([clause.status for clause in clauses]), clauses)


def _sum_up(statuses: Sequence[Status]) -> Status:
    for status in (Status.FAIL, Status.INCONCLUSIVE):
        if status in statuses:
            return status
    return Status.PASS if statuses else Status.UNJUDGED


def _judge_clause(rule: _Rule, limit: float, measured: Measured | None, doubt: str | None) -> ClauseVerdict:
    bound = "at most" if rule.at_most else "at least"
    if measured is None:
        why = "" if doubt is None else f": {doubt}"
        sentence = f"{rule.what} was not measured, {bound} {rule.show(limit)} was promised{why}"
        return ClauseVerdict(rule.kind, limit, None, Status.INCONCLUSIVE, sentence)
    status = _status(rule, limit, measured)
    seen = f"{rule.what} {rule.show(measured.value)}{rule.interval(measured)}"
    sentence = f"{seen}, {bound} {rule.show(limit)} promised"
    if doubt is not None:
        return ClauseVerdict(rule.kind, limit, measured, Status.INCONCLUSIVE, f"{sentence}: {doubt}")
    if status is not Status.INCONCLUSIVE:
        return ClauseVerdict(rule.kind, limit, measured, status, sentence)
    needed = measured.enough if rule.unknown(measured) else _frames_needed(limit, measured)
    takes = _what_it_takes(rule, measured, needed)
    return ClauseVerdict(rule.kind, limit, measured, status, f"{sentence}: {takes}", needed)


def _status(rule: _Rule, limit: float, measured: Measured) -> Status:
    if (measured.high <= limit) if rule.at_most else (measured.low >= limit):
        return Status.PASS
    if (measured.low > limit) if rule.at_most else (measured.high < limit):
        return Status.FAIL
    return Status.INCONCLUSIVE


def _frames_needed(limit: float, measured: Measured) -> int | None:
    """Samples at which the interval would just clear the limit, if the estimate were exact.

    A half-width shrinks with 1/sqrt(n), hence n * (half-width / distance)^2; where no frame differed, it is what frames
    not seen may still hold, and shrinks with 1/n.
    """
    distance = abs(measured.value - limit)
    half_width = (measured.value - measured.low) if measured.value > limit else (measured.high - measured.value)
    # Plain size before the division: a distance that is all rounding error would overflow when squared.
    if distance == 0 or not math.isfinite(half_width) or half_width / distance > math.sqrt(_MANY_FRAMES):
        return None
    needed = math.ceil(measured.samples * (half_width / distance) ** (1 if measured.still else 2))
    return needed if needed <= _MANY_FRAMES else None


def _what_it_takes(rule: _Rule, measured: Measured, needed: int | None) -> str:
    shown = f"{needed or 0:,}".replace(",", " ")
    if rule.unknown(measured) and measured.span is not None:
        blocks, least = measured.span
        least_s = f"{least} are needed, so {least * BLOCK_S:g} s or more"
        frames = "" if needed is None else f" (at least about {shown} {rule.sampled} as far apart as these)"
        return f"too little film to know the spread: it spans {blocks} blocks of {BLOCK_S:g} s and {least_s}{frames}"
    if rule.unknown(measured):
        more = "" if needed is None else f", at least about {shown} are needed for that"
        return f"too few {rule.sampled} to know the spread{more}"
    if needed is None:
        return "the estimate sits on the limit, so no number of samples can be named"
    return f"too few samples to tell, at least about {shown} {rule.sampled} would settle it"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"all {number} {noun}s"
