"""What a check gives: findings, how they are shown, and what the command ends with."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import ExitCode
from edgewright.bundle.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "BAD",
    "MISSING",
    "OK",
    "UNKNOWN",
    "WARN",
    "Finding",
    "counted",
    "exit_code",
    "read_findings",
    "shown_lines",
    "to_json",
]

OK, UNKNOWN, WARN, MISSING, BAD = "ok", "unknown", "warn", "missing", "bad"
_STATES = (OK, UNKNOWN, WARN, MISSING, BAD)
_AGAIN = (WARN, MISSING, BAD)
"""What a summary names again; what counts most stands last, where the eye is."""
_BROKEN = frozenset({MISSING, BAD})
_MOST = 1000
_LONGEST = 2000
_LONGEST_WORD = 20


@dataclass(frozen=True)
class Finding:
    """One thing that was found out.

    Attributes:
        group: What it is about, such as ``engine``.
        name: Short.
        state: ``ok``; ``unknown``: it could not be examined; ``warn``: less than it could be; ``missing``: a package or tool that something installed needs is
            not there, or not as it must be; ``bad``: what the command line or the configuration names does not work, or
            the machine cannot do its work as it is.
        text: What was seen.
        remedy: What to do; empty only where all is well.
    """

    group: str
    name: str
    state: str
    text: str
    remedy: str = ""

    @property
    def broken(self) -> bool:
        """Whether the command fails over it."""
        return self.state in _BROKEN


def exit_code(findings: Sequence[Finding]) -> ExitCode:
    """5 when something is missing, else 2 when something is bad, else 0.

    What is missing goes first: what is bad may come of it. What could not be examined fails nothing.
    """
    states = {finding.state for finding in findings}
    if MISSING in states:
        return ExitCode.MISSING_EXTRA
    return ExitCode.BAD_INPUT if BAD in states else ExitCode.OK


def to_json(findings: Sequence[Finding], host: str | None = None) -> dict[str, Any]:
    """The same as JSON values; ``host`` is the board that was looked at, None for this machine."""
    head: dict[str, Any] = {"ok": exit_code(findings) == ExitCode.OK}
    if host is not None:
        head["host"] = host
    return {**head, "findings": [asdict(finding) for finding in findings]}


def read_findings(data: object) -> tuple[Finding, ...]:
    """Findings out of another machine's JSON, which is not trusted: sizes and types are checked.

    Raises:
        ValueError: It is something else.
    """
    entries = data.get("findings") if isinstance(data, dict) else None
    if not isinstance(entries, list) or len(entries) > _MOST:
        msg = "no list of findings, or one too long"
        raise ValueError(msg)
    return tuple(_finding(entry) for entry in entries)


def _finding(entry: object) -> Finding:
    names = ("group", "name", "state", "text", "remedy")
    values = [entry.get(name) for name in names] if isinstance(entry, dict) else []
    texts = [value[:_LONGEST] for value in values if isinstance(value, str)]
    if len(texts) != len(names):
        msg = f"a finding lacks a text under one of the names {', '.join(names)}"
        raise ValueError(msg)
    if texts[2] not in _STATES:
        msg = f"a finding has the state {texts[2][:_LONGEST_WORD]!r}, known are {', '.join(_STATES)}"
        raise ValueError(msg)
    return Finding(*texts)


def counted(number: int, noun: str) -> str:
    """A number and its noun, such as ``1 day`` and ``2 days``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """For people: a heading for each group, a line for each finding, its remedy below it; then a summary."""
    width = max((len(finding.name) for finding in findings), default=0)
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            yield plain(group)
        yield plain(f"  {finding.state:<8}{finding.name:<{width}}  {finding.text}")
        if finding.remedy:
            yield plain(f"  {'':<8}{'':<{width}}  -> {finding.remedy}")
    yield from _summary(findings)


def _summary(findings: Sequence[Finding]) -> Iterator[str]:
    """How many of each state; what is less than well once more, with its remedy, the worst last: one sees the end first."""
    counted = {state: sum(finding.state == state for finding in findings) for state in _STATES}
    yield "summary: " + ", ".join(f"{count} {state}" for state, count in counted.items() if count or state == OK)
    for (state, name, text, remedy), times in Counter(_again(findings)).items():
        yield plain(f"  {state:<8}{name}" + (f" ({times} times)" if times > 1 else "") + f": {text}")
        if remedy:  # another release's doctor may give none
            yield plain(f"  {'':<8}-> {remedy}")
    broken = sum(finding.broken for finding in findings)
    if broken:
        yield f"{broken} of {len(findings)} findings need attention"
    else:
        yield "nothing that could be examined is broken" if counted[UNKNOWN] else "nothing is broken"


def _again(findings: Sequence[Finding]) -> Iterator[tuple[str, str, str, str]]:
    for state in _AGAIN:
        for finding in findings:
            if finding.state == state:
                yield state, f"{finding.group}/{finding.name}", finding.text, finding.remedy
