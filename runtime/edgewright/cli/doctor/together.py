"""All checks at once, for each mostly waits: findings in the order of the checks, and a word on what takes long."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from edgewright.bundle.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import TextIO

    from edgewright.cli.doctor.asking import Children
    from edgewright.cli.doctor.findings import Finding
    from edgewright.cli.doctor.look import Look

__all__ = ["Waiting", "look_together"]

_SILENT_S = 2.0
_REFRESH_S = 0.5
_MOST_NAMED = 4


def look_together(
    checks: Sequence[Callable[[Look], Iterator[Finding]]], look: Look, children: Children
) -> tuple[Finding, ...]:
    """What every check finds, in their order.

    Args:
        checks: Each runs on a thread of its own.
        look: What they are given.
        children: Ended when a check fails or the user gives up, for the threads wait for them.
    """
    with ThreadPoolExecutor(max(1, len(checks)), "doctor") as pool:
        under_way = [pool.submit(_all_of, check, look) for check in checks]
        try:
            return tuple(finding for found in under_way for finding in found.result())
        except BaseException:
            children.end()
            raise


def _all_of(check: Callable[[Look], Iterator[Finding]], look: Look) -> tuple[Finding, ...]:
    return tuple(check(look))


class Waiting(AbstractContextManager["Waiting"]):
    """Tells a terminal what is waited for, once that takes longer than two seconds; elsewhere nothing is written.

    Args:
        what: Names of what has not answered yet.
        stream: The terminal.
        silent_s: How long nothing is said.
    """

    def __init__(self, what: Callable[[], Sequence[str]], stream: TextIO, silent_s: float = _SILENT_S) -> None:
        """Says nothing yet."""
        self._what = what
        self._stream = stream
        self._silent_s = silent_s
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Waiting:  # noqa: PYI034 - Self needs Python 3.11
        """Begins to count."""
        if self._stream.isatty():
            self._thread = threading.Thread(target=self._tell, name="doctor-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the line away."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _tell(self) -> None:
        began = time.monotonic()
        if self._over.wait(self._silent_s):
            return
        while True:
            names = self._what()
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            line = (
                f"looking: {', '.join(names[:_MOST_NAMED]) or 'this machine'}{more} ({time.monotonic() - began:.0f} s)"
            )
            self._write(f"\r{plain(line)}\x1b[K")
            if self._over.wait(_REFRESH_S):
                self._write("\r\x1b[K")
                return

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # a terminal that went away: the findings are what counts
            self._over.set()
