"""How a deployment is told: its steps as they end, how far a file has come, and what is there at the end."""

from __future__ import annotations

import io
import json
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import ExitCode
from edgewright.bundle.text import plain, plain_values
from edgewright.cli.waiting import Waiting
from edgewright.deploy.plan import State

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from edgewright.deploy.board import Board
    from edgewright.deploy.plan import Outcome, StepResult
    from edgewright.deploy.summary import Summary

__all__ = ["Teller", "ended", "ended_well"]

_SILENT_S = 1.0
_PLAIN_EVERY_S = 10.0


def ended_well(outcome: Outcome, board: Board, args: argparse.Namespace, told: dict[str, Any], summary: Summary) -> int:
    """Tells what is there now.

    Returns:
        The exit code.
    """
    notes = [*told["notes"], *(note for note in summary.notes if note not in told["notes"])]
    words = {key: value for key, value in asdict(summary).items() if key != "notes"}
    return ended(outcome, board, args, told | {"notes": notes, "now": words}, summary.lines())


def ended(
    outcome: Outcome,
    board: Board,
    args: argparse.Namespace,
    told: Mapping[str, Any],
    lines: Iterable[str] = (),
) -> int:
    """Tells how it ended.

    Args:
        outcome: Of the plan.
        board: Where.
        args: Of the command line.
        told: What else the JSON object says; ``notes`` is for people, too.
        lines: What is there now, for people.

    Returns:
        The exit code.
    """
    if args.json:
        rows = [{"step": r.title, "state": r.state.value, "words": r.words} for r in outcome.results]
        error = None if outcome.error is None else str(outcome.error)
        whole = {"board": board.name, "dry_run": args.dry_run, "changed": outcome.changed, "steps": rows}
        more = {"error": error, "left": outcome.left, "warnings": outcome.warnings}
        print(json.dumps(plain_values(whole | more | dict(told))))
    else:
        notes = () if outcome.error is not None else told.get("notes", ())
        last = [f"  note: {note}" for note in notes] + [f"  warning: {warning}" for warning in outcome.warnings]
        for line in (_last_line(outcome, board, dry=args.dry_run), *lines, *last):
            print(plain(line))
    if outcome.error is None:
        return ExitCode.OK
    print(plain(f"edgewright {args.verb}: {outcome.error}"), file=sys.stderr)
    return int(outcome.error.exit_code)


def _last_line(outcome: Outcome, board: Board, *, dry: bool) -> str:
    if outcome.error is not None:
        if outcome.left:
            left = ", ".join(outcome.left)
            return f"failed; not undone: {left}; run this again to go on"
        return "failed; everything is as it was before"
    if dry:
        return "would change the board; nothing was done" if outcome.changed else "nothing would change"
    return f"{board.name}: changed" if outcome.changed else f"{board.name}: unchanged, all was so already"


class Teller(AbstractContextManager["Teller"]):
    """Prints steps as they end, and meanwhile which one is at work and how far a file has come."""

    def __init__(self, *, as_json: bool) -> None:
        """Nothing is printed yet."""
        self._as_json = as_json
        every_s = None if as_json else _PLAIN_EVERY_S
        self._waiting = Waiting(self._line, io.StringIO() if as_json else sys.stderr, _SILENT_S, every_s)
        self._file: _Sent | None = None
        self._now("waiting for the board")

    def __enter__(self) -> Teller:  # noqa: PYI034 - Self needs Python 3.11
        """Begins to tell what is at work."""
        self._waiting.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes that line away."""
        self._waiting.__exit__(kind, error, trace)

    def begin(self, title: str) -> None:
        """A step is at work."""
        self._now(f"at work on {title}")

    def result(self, result: StepResult) -> None:
        """One line for a step; why one failed stands at the end, where it is looked for."""
        self._now("waiting for the board")
        if self._as_json:
            return
        words = "" if result.state is State.FAILED else f": {result.words}"
        with self._waiting.aside():
            print(plain(f"  {result.state.value:<13}{result.title}{words}"), flush=True)

    def bytes(self, name: str, sent: int, total: int) -> None:
        """How far a file has come."""
        now = time.monotonic()
        before = self._file
        if sent >= total:
            self._file = None
        elif before is None or before.name != name:
            self._file = _Sent(name, sent, total, now, sent, now)
        else:
            self._file = replace(before, sent=sent, now=now)

    def _line(self, _seconds: float) -> str:
        file = self._file
        if file is None:
            doing, begun = self._doing
            return f"  {doing} ({time.monotonic() - begun:.0f} s)"
        return f"  sending {file}"

    def _now(self, doing: str) -> None:
        self._doing, self._file = (doing, time.monotonic()), None


@dataclass(frozen=True)
class _Sent:
    """How far a file has come: bytes now, in all, and where and when it began."""

    name: str
    sent: int
    total: int
    now: float
    first: int
    begun: float

    def __str__(self) -> str:
        rate = (self.sent - self.first) / max(self.now - self.begun, 1e-6)
        rest = f", {(self.total - self.sent) / rate:.0f} s left" if rate > 0 else ""
        return f"{self.name}: {self.sent / 1e6:.1f} of {self.total / 1e6:.1f} MB{rest}"
