"""What a check gives: findings, how they are shown, and what the command ends with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import ExitCode
from edgewright.bundle.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["BAD", "MISSING", "OK", "WARN", "Finding", "exit_code", "read_findings", "shown_lines", "to_json"]

OK, WARN, MISSING, BAD = "ok", "warn", "missing", "bad"
_STATES = frozenset({OK, WARN, MISSING, BAD})
_MOST = 1000
_LONGEST = 2000


@dataclass(frozen=True)
class Finding:
    """One thing that was found out.

    Attributes:
        group: What it is about, such as ``engine``.
        name: Short.
        state: ``ok``; ``warn``: less than it could be; ``missing``: a package or tool that something installed needs is
            not there, or not as it must be; ``bad``: what the command line or the configuration names does not work, or
            the machine cannot do its work as it is.
        text: What was seen.
        remedy: What to do, empty where there is nothing.
    """

    group: str
    name: str
    state: str
    text: str
    remedy: str = ""


def exit_code(findings: Sequence[Finding]) -> ExitCode:
    """5 when something is missing, else 2 when something is bad, else 0.

    What is missing goes first: what is bad may come of it.
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
        msg = "no list of findings"
        raise ValueError(msg)
    return tuple(_finding(entry) for entry in entries)


def _finding(entry: object) -> Finding:
    names = ("group", "name", "state", "text", "remedy")
    values = [entry.get(name) for name in names] if isinstance(entry, dict) else []
    texts = [value[:_LONGEST] for value in values if isinstance(value, str)]
    if len(texts) != len(names) or texts[2] not in _STATES:
        msg = "a finding is malformed"
        raise ValueError(msg)
    return Finding(*texts)


def shown_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """For people: a heading for each group, a line for each finding, its remedy below it."""
    width = max((len(finding.name) for finding in findings), default=0)
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            yield plain(group)
        yield plain(f"  {finding.state:<8}{finding.name:<{width}}  {finding.text}")
        if finding.remedy:
            yield plain(f"  {'':<8}{'':<{width}}  -> {finding.remedy}")
    broken = sum(finding.state in {MISSING, BAD} for finding in findings)
    yield f"{broken} of {len(findings)} findings need attention" if broken else "nothing is broken"
