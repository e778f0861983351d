"""One line a finished step on standard error, with a guess at the rest."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]


class Progress:
    """Counts steps; a step that was found finished costs nothing and teaches nothing about the rest."""

    def __init__(self, steps: int) -> None:
        """Starts the clock.

        Args:
            steps: How many there are.
        """
        self._steps, self._done, self._fresh = steps, 0, 0
        self._started = self._spent = 0.0

    def begin(self, what: str) -> None:
        """Says what is being done."""
        self._started = time.monotonic()
        sys.stderr.write(f"[{self._done + 1}/{self._steps}] {what} ...\n")
        sys.stderr.flush()

    def end(self, what: str, *, cached: bool = False) -> None:
        """Says what came of it."""
        self._done += 1
        taken = time.monotonic() - self._started
        if not cached:
            self._fresh += 1
            self._spent += taken
        left = self._steps - self._done
        guess = f", about {left * self._spent / self._fresh / 60:.0f} min left" if self._fresh and left else ""
        sys.stderr.write(f"    {what} ({'kept from before' if cached else f'{taken:.0f} s'}{guess})\n")
        sys.stderr.flush()

    def within(self, done: int, total: int) -> None:
        """Shows how far a long step is, on a terminal only."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r    {done}/{total} " + ("\n" if done == total else ""))
            sys.stderr.flush()
