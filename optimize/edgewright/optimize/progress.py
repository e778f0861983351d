"""Telling people how far the work is: bars with an ETA on a terminal, plain lines elsewhere, nothing for machines.

All of it goes to standard error, so that standard output stays for results. Notes may hold names out of a model's file,
and are made safe for terminals here.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from edgewright.bundle.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["Advance", "PlainProgress", "Progress", "RichProgress", "SilentProgress", "open_progress"]

_SPOKEN_EVERY_S = 15.0  # how often a long stage says in plain lines how far it is
_AT_ONCE_S = 0.5  # what a stage says within this time was done before it began


class Advance(Protocol):
    """How a stage is told how far it is."""

    def __call__(self, done: int, total: int | None = None, live: str = "", /) -> None:
        """Says how far it is.

        Args:
            done: Steps done so far.
            total: Of so many, where that is known only now.
            live: A few figures as they are at this step, such as a loss; the last ones said stay.
        """
        ...


class Progress(Protocol):
    """Where a pipeline announces its stages."""

    def stage(self, title: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """One stage of the work.

        Args:
            title: What is done, in a few words.
            total: Steps it takes, None when that cannot be said.

        Returns:
            A context; inside it, call what it gives with the steps done so far. Stages may lie within stages.
        """
        ...

    def note(self, text: str) -> None:
        """Something the user should know."""
        ...


class SilentProgress:
    """Says nothing."""

    @contextlib.contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """See ``Progress``."""
        del title, total
        yield lambda _done, _total=None, _live="", /: None

    def note(self, text: str) -> None:
        """See ``Progress``."""


class PlainProgress:
    """A line when a stage begins and one when it ends; long ones say in between how far they are."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Writes to ``stream``, standard error when None."""
        self._stream = stream or sys.stderr
        self._numbers = [0]  # of the last stage begun, at each depth

    @contextlib.contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """See ``Progress``."""
        self._numbers[-1] += 1
        head = f"{'  ' * (len(self._numbers) - 1)}[{'.'.join(map(str, self._numbers))}] {title}"
        amount = f" ({total})" if total else ""
        self._say(f"{head}{amount} ...")
        started = spoken = time.monotonic()
        since = (started, 0)  # a stage that goes on from earlier work says at once how much of it is done
        figures = ""

        def advance(done: int, of: int | None = None, live: str = "", /) -> None:
            nonlocal spoken, since, figures
            now, known = time.monotonic(), of or total
            figures = f"; {live}" if live else figures
            if since[1] == 0 and now - started < _AT_ONCE_S:
                since = (now, done)
            if known and since[1] < done < known and now - spoken >= _SPOKEN_EVERY_S:
                spoken = now
                left = (now - since[0]) / (done - since[1]) * (known - done)
                self._say(f"{head}: {done} of {known}, about {left:.0f} s left{figures}")

        self._numbers.append(0)
        try:
            yield advance
        finally:
            self._numbers.pop()
        self._say(f"{head}: done in {time.monotonic() - started:.1f} s{figures}")

    def note(self, text: str) -> None:
        """See ``Progress``."""
        self._say(f"    note: {text}")

    def _say(self, line: str) -> None:
        self._stream.write(plain(line) + "\n")
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
        self._depth = 0
        self._bars = Bars(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[live]}", style="dim", markup=False),
            console=self._console,
        )

    def start(self) -> None:
        """Starts drawing."""
        self._bars.start()

    def stop(self) -> None:
        """Stops drawing."""
        self._bars.stop()

    @contextlib.contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """See ``Progress``."""
        from rich.markup import escape

        task = self._bars.add_task("  " * self._depth + escape(plain(title)), total=total, live="")
        reached, figures = 0, ""

        def advance(done: int, of: int | None = None, live: str = "", /) -> None:
            nonlocal reached, figures
            reached, figures = done, plain(live) if live else figures
            self._bars.update(task, completed=done, total=of or total, live=figures)

        self._depth += 1
        try:
            yield advance
        finally:
            self._depth -= 1
        # An estimate may have been wrong, and a stage without steps has one: itself.
        self._bars.update(task, total=reached or 1, completed=reached or 1)

    def note(self, text: str) -> None:
        """See ``Progress``."""
        from rich.markup import escape

        self._console.print(f"  [dim]note: {escape(plain(text))}[/dim]", highlight=False)


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
