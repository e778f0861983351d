"""What somebody who waits is told meanwhile: one refreshed line on a terminal, a plain one now and then elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from edgewright.bundle.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import TextIO

__all__ = ["Waiting"]

_SILENT_S = 2.0
_REFRESH_S = 0.5
_CLEAR = "\r\x1b[K"


class Waiting(AbstractContextManager["Waiting"]):
    """Tells what is waited for, once that takes long.

    Args:
        what: The line, given the seconds since the beginning; empty for none.
        stream: Where it goes.
        silent_s: How long a terminal is told nothing.
        plain_every_s: How often anything but a terminal is told; None for never.
    """

    def __init__(
        self,
        what: Callable[[float], str],
        stream: TextIO,
        silent_s: float = _SILENT_S,
        plain_every_s: float | None = None,
    ) -> None:
        """Says nothing yet."""
        self._what = what
        self._stream = stream
        self._terminal = stream.isatty()
        self._silent_s = silent_s if self._terminal else plain_every_s
        self._every_s = _REFRESH_S if self._terminal else plain_every_s
        self._over = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Waiting:  # noqa: PYI034 - Self needs Python 3.11
        """Begins to count."""
        if self._silent_s is not None:
            self._thread = threading.Thread(target=self._tell, name="waiting", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the line away."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Takes the line away for as long as something else is written."""
        with self._writing:
            if self._thread is not None and self._terminal:
                self._write(_CLEAR)
            yield

    def _tell(self) -> None:
        began = time.monotonic()
        if self._over.wait(self._silent_s):
            return
        while True:
            line = plain(self._what(time.monotonic() - began))
            with self._writing:
                if self._terminal:
                    self._write(f"\r{line}\x1b[K")
                elif line:
                    self._write(f"{line}\n")
            if self._over.wait(self._every_s):
                if self._terminal:
                    self._write(_CLEAR)
                return

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # a terminal that went away: what is waited for is what counts
            self._over.set()
