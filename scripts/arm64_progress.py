"""What ``scripts/arm64`` is doing, said while it does it."""

from __future__ import annotations

import shutil
import sys
import threading
import time

__all__ = ["Progress"]


class Progress:
    """What is happening, on standard error: a line that counts seconds on a terminal, else a line a step."""

    def __init__(self) -> None:
        """Says nothing yet."""
        self._live = sys.stderr.isatty()
        self._text = ""
        self._since = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        if self._live:
            threading.Thread(target=self._tick, daemon=True).start()

    def say(self, text: str) -> None:
        """A new step."""
        with self._lock:
            self._clear()
            self._text, self._since = text, time.monotonic()
        if not self._live:
            print(f"... {text}", file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        """A line of the result, on standard output."""
        with self._lock:
            self._clear()
            print(text, flush=True)

    def end(self) -> None:
        """Takes the line away."""
        self._ended.set()
        with self._lock:
            self._clear()
            self._text = ""

    def _clear(self) -> None:
        if self._live:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def _tick(self) -> None:
        while not self._ended.wait(0.5):
            with self._lock:
                if self._text:
                    room = shutil.get_terminal_size().columns - 1
                    told = f"... {self._text}, {time.monotonic() - self._since:.0f} s"
                    sys.stderr.write(f"\r\033[K{told[:room]}")
                    sys.stderr.flush()
