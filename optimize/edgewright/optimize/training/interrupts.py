"""Ctrl-C, held back until a step is whole, so that what is then kept can be gone on from."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from typing_extensions import Self

__all__ = ["Interrupts"]


class Interrupts:
    """While it is entered, SIGINT waits for the end of whatever is held; a second one waits for nothing.

    Signals reach Python's main thread only; elsewhere, and where somebody ignores SIGINT, nothing is changed.
    """

    def __init__(self) -> None:
        """Changes nothing yet."""
        self._held = 0  # blocks within blocks
        self._waiting = False
        self._before: Any = None

    def __enter__(self) -> Self:
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(before):
            self._before = before
            signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """A block that Ctrl-C does not tear.

        Raises:
            KeyboardInterrupt: At its end, where one was waiting.
        """
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._waiting and not self._held:
            self._waiting = False
            self._before(signal.SIGINT, None)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self._held and not self._waiting:
            self._waiting = True
            return
        self._waiting = False
        self._before(number, frame)
