"""Telling people how far the work is: bars with an ETA on a terminal, plain lines elsewhere, nothing for machines.

All of it goes to standard error, so that standard output stays for results.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["PlainProgress", "Progress", "RichProgress", "SilentProgress", "open_progress"]


class Progress(Protocol):
    """Where a pipeline announces its stages."""

    def stage(self, title: str, total: int | None = None) -> AbstractContextManager[Callable[[int], None]]:
        """One stage of the work.

        Args:
            title: What is done, in a few words.
            total: Steps it takes, None when that cannot be said.

        Returns:
            A context; inside it, call what it gives with the steps done so far.
        """
        ...

    def note(self, text: str) -> None:
        """Something the user should know."""
        ...


class SilentProgress:
    """Says nothing."""

    @contextlib.contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """See ``Progress``."""
        del title, total
        yield lambda _done: None

    def note(self, text: str) -> None:
        """See ``Progress``."""


class PlainProgress:
    """A line when a stage begins and one when it ends."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Writes to ``stream``, standard error when None."""
        self._stream = stream or sys.stderr
        self._number = 0

    @contextlib.contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """See ``Progress``."""
        self._number += 1
        amount = f" ({total})" if total else ""
        self._say(f"[{self._number}] {title}{amount} ...")
        started = time.monotonic()
        yield lambda _done: None
        self._say(f"[{self._number}] {title}: done in {time.monotonic() - started:.1f} s")

    def note(self, text: str) -> None:
        """See ``Progress``."""
        self._say(f"    note: {text}")

    def _say(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class RichProgress:
    """Bars on a terminal; finished stages stay, with the time they took."""

    def __init__(self) -> None:
        """Draws on standard error."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        self._console = Console(stderr=True)
        self._bars = Bars(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
        )

    def start(self) -> None:
        """Starts drawing."""
        self._bars.start()

    def stop(self) -> None:
        """Stops drawing."""
        self._bars.stop()

    @contextlib.contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """See ``Progress``."""
        from rich.markup import escape

        task = self._bars.add_task(escape(title), total=total)
        reached = 0

        def advance(done: int) -> None:
            nonlocal reached
            reached = done
            self._bars.update(task, completed=done)

        yield advance
        # An estimate may have been wrong, and a stage without steps has one: itself.
        self._bars.update(task, total=reached or 1, completed=reached or 1)

    def note(self, text: str) -> None:
        """See ``Progress``."""
        from rich.markup import escape

        self._console.print(f"  [dim]note: {escape(text)}[/dim]", highlight=False)


@contextlib.contextmanager
def open_progress(*, silent: bool = False) -> Iterator[Progress]:
    """The kind that fits where standard error goes.

    Args:
        silent: Say nothing, for machines.

    Yields:
        Bars on a terminal, plain lines elsewhere.
    """
    if silent:
        yield SilentProgress()
    elif sys.stderr.isatty():
        bars = RichProgress()
        bars.start()
        try:
            yield bars
        finally:
            bars.stop()
    else:
        yield PlainProgress()
