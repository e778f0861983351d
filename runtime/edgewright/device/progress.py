"""Shows how a run goes: one refreshed line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.runtime.observe import Observation
    from edgewright.runtime.sources import FrameSource

__all__ = ["PLAIN_EVERY_S", "SERVICE_EVERY_S", "Progress", "TextSink"]

_TERMINAL_EVERY_S = 0.2
PLAIN_EVERY_S = 5.0
"""From line to line where somebody may be reading along."""
SERVICE_EVERY_S = 600.0
"""From line to line in a log that lies on flash; the service manager is told far more often how a run fares."""
_CLEAR = "\r\x1b[K"


class TextSink(Protocol):
    """As much of a text stream as progress needs; ``edgewright.device.aside.Aside`` never blocks."""

    def write(self, text: str, /) -> int:
        """Takes text."""
        ...

    def flush(self) -> None:
        """Passes on what was taken."""
        ...

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        ...


class Progress:
    """A ``ResultSink`` that writes a line about every result's place in the run."""

    def __init__(
        self,
        source: FrameSource,
        stream: TextSink,
        *,
        most: int | None = None,
        plain_every_s: float = PLAIN_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the clock.

        Args:
            source: Tells how many frames there are.
            stream: Where to write, on the loop's thread; a terminal gets one refreshed line.
            most: Frames after which the run ends anyway.
            plain_every_s: Seconds from line to line where there is no terminal.
            clock: Monotonic seconds.
        """
        totals = [number for number in (source.total, most) if number is not None]
        self._total = min(totals) if totals else None
        self._stream = stream
        self._terminal = stream.isatty()
        self._every_s = _TERMINAL_EVERY_S if self._terminal else plain_every_s
        self._clock = clock
        self._started = self._told = clock()
        self._frames = 0
        self._was_down = False

    def observe(self, observation: Observation) -> None:
        """Counts a result and writes a line when it is time."""
        now = self._clock()
        if observation.frame is None:
            if not self._was_down:
                self._write(f"{observation.result.camera}: down: {observation.result.error}", last=True)
            self._was_down = True
            return
        if self._was_down:
            self._was_down = False
            self._write(f"{observation.result.camera}: up again", last=True)
        self._frames += 1
        finished = self._frames == self._total
        if finished and self._terminal:
            self._write(self._line(now), last=True)
        elif now - self._told >= self._every_s:
            self._told = now
            self._write(self._line(now), last=False)

    def _line(self, now: float) -> str:
        rate = self._frames / max(now - self._started, 1e-9)
        if self._total is None:
            return f"frame {self._frames}, {rate:.1f} frames/s"
        left_s = max(0, self._total - self._frames) / max(rate, 1e-9)
        return f"frame {self._frames}/{self._total}, {rate:.1f} frames/s, {left_s:.0f} s left"

    def _write(self, text: str, *, last: bool) -> None:
        if self._terminal:
            self._stream.write(f"{_CLEAR}{text}" + ("\n" if last else ""))
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()
