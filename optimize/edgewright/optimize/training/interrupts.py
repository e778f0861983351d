"""Ctrl-C and SIGTERM, held back until a step is whole, so that what is then kept can be gone on from."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from typing_extensions import Self

__all__ = ["Interrupts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While it is entered, SIGINT and SIGTERM wait for the end of whatever is held; a second one waits for nothing.

    Then they do what they would have done at once: whoever handles them is asked. SIGTERM, where nobody handles it,
    becomes a KeyboardInterrupt, so that what was begun is left in order, and ends the process at the exit.

    The first one is answered at once, by a line on standard error: the step that is waited for may take a while.

    Signals reach Python's main thread only; elsewhere, and where somebody ignores them, nothing is changed.
    """

    def __init__(self, said: str = "") -> None:
        """Changes nothing yet.

        Args:
            said: The line that the first signal is answered with; nothing is said where it is empty.
        """
        self._said = said
        self._held = 0  # blocks within blocks
        self._waiting: int | None = None
        self._deadly: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if callable(before) or (number == signal.SIGTERM and before is signal.SIG_DFL):
                    self._before[number] = before
                    signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}
        # One that still waits came amid something that failed: the process was to end all the same.
        deadly = self._deadly or (self._waiting if self._waiting == signal.SIGTERM else None)
        self._waiting = self._deadly = None
        if deadly is not None:
            signal.raise_signal(deadly)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """A block that neither of them tears.

        Raises:
            KeyboardInterrupt: At its end, where one was waiting; or whatever the handler of the signal raises.
        """
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._waiting is not None and not self._held:
            number, self._waiting = self._waiting, None
            self._act(number, None)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self._said:
            _tell(self._said)
            self._said = ""
        if self._held and self._waiting is None:
            self._waiting = number
            return
        self._waiting = None
        self._act(number, frame)

    def _act(self, number: int, frame: FrameType | None) -> None:
        handler = self._before[number]
        if callable(handler):
            handler(number, frame)
            return
        self._deadly = number
        raise KeyboardInterrupt


def _tell(line: str) -> None:
    """Straight to standard error: what the signal came amid may hold the lock of the stream or of a live display."""
    try:
        begun = "\n" if sys.stderr.isatty() else ""  # a bar, or what the terminal echoed
        os.write(sys.stderr.fileno(), f"{begun}{line}\n".encode())
    except (OSError, ValueError, AttributeError):  # closed, or none of its own, as under a test runner
        return
