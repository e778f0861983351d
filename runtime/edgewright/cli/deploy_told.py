"""How a deployment is told: its steps as they end, how far a file has come, and what is there at the end."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import ExitCode
from edgewright.bundle.text import plain, plain_values
from edgewright.deploy.plan import State

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

    from edgewright.deploy.board import Board
    from edgewright.deploy.plan import Outcome, StepResult
    from edgewright.deploy.summary import Summary

__all__ = ["Teller", "ended", "ended_well"]

_REFRESH_S = 0.2
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
            return f"failed; not undone: {left}. What ran before stays; run this again to go on"
        return "failed; everything is as it was before"
    if dry:
        return "would change the board; nothing was done" if outcome.changed else "nothing would change"
    return f"{board.name}: changed" if outcome.changed else f"{board.name}: unchanged, all was so already"


class Teller:
    """Prints steps as they end, and how far a file has come."""

    def __init__(self, *, as_json: bool) -> None:
        """Nothing is printed yet."""
        self._as_json = as_json
        self._file = ""
        self._begun = 0.0
        self._first = 0
        self._last_line = 0.0

    def result(self, result: StepResult) -> None:
        """One line for a step; why one failed stands at the end, where it is looked for."""
        if self._as_json:
            return
        words = "" if result.state is State.FAILED else f": {result.words}"
        print(plain(f"  {result.state.value:<13}{result.title}{words}"), flush=True)

    def bytes(self, name: str, sent: int, total: int) -> None:
        """One refreshed line on a terminal, plain lines now and then elsewhere."""
        now = time.monotonic()
        if name != self._file:
            self._file, self._begun, self._first, self._last_line = name, now, sent, now
        terminal = sys.stderr.isatty()
        if sent < total and now - self._last_line < (_REFRESH_S if terminal else _PLAIN_EVERY_S):
            return
        self._last_line = now
        rate = (sent - self._first) / max(now - self._begun, 1e-6)
        rest = f", {(total - sent) / rate:.0f} s left" if sent < total and rate > 0 else ""
        line = f"  sending {plain(name)}: {sent / 1e6:.1f} of {total / 1e6:.1f} MB{rest}"
        if terminal:
            print(f"\r\x1b[K{line if sent < total else ''}", end="", file=sys.stderr, flush=True)
        elif sent < total:
            print(line, file=sys.stderr, flush=True)
