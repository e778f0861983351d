"""A live camera: always the newest frame, and plain words when there is none.

A reader thread keeps one frame in a mailbox. ``take`` gives that frame and watches the reader from outside:

- *liveness is elapsed time*: no frame for ``max(stall_s, 5 frame periods)`` means the source is down, whatever the
  library's ``read`` says (a frozen peer makes it block for half a minute and then return an old frame);
- a stuck reader is **abandoned**, not waited for: a new generation starts, and late frames of the old one are
  ignored. At most ``max_abandoned`` stuck threads are left behind; beyond that no new one starts until one returns;
- reopening waits with full jitter, from 0.25 s growing to 10 s;
- going down and coming back are told once each, with the reason and the blind period.

Nothing here blocks longer than the timeout given to ``take``.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgewright.runtime.sources.backoff import Backoff
from edgewright.runtime.sources.base import EndOfSource, SourceDown, SourceOptions, SourceUp
from edgewright.runtime.sources.mailbox import Mailbox, Reader, ReaderJob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgewright.runtime.sources.capture import Opener
    from edgewright.runtime.types import Frame

__all__ = ["LiveOptions", "LiveSource"]

_PERIODS_TO_STALL = 5
_STUCK_RETRY_S = 1.0


@dataclass(frozen=True)
class LiveOptions:
    """How patient a live source is; all times in seconds.

    Attributes:
        stall_s: Shortest silence that counts as down.
        open_s: How long opening plus the first frame may take.
        steady_s: A connection that held this long starts the backoff afresh when it breaks.
        close_s: How long ``close`` waits for readers to give their cameras back.
        max_abandoned: Stuck reader threads left behind at most.
        backoff: Waits between attempts to open.
    """

    stall_s: float = 2.0
    open_s: float = 10.0
    steady_s: float = 5.0
    close_s: float = 4.0
    max_abandoned: int = 4
    backoff: Backoff = field(default_factory=Backoff)


class LiveSource:
    """Frames of one live camera; see the module's description. Used by one thread."""

    def __init__(
        self,
        opener: Opener,
        options: SourceOptions,
        live: LiveOptions | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """Prepares the source; the first ``take`` starts to open it.

        Args:
            opener: Opens the camera, in a thread of its own.
            options: Name (must be given here), stride and size limit.
            live: How patient to be.
            clock: Monotonic seconds.
            rng: Draws the jitter.
        """
        self._name = options.name or "camera"
        self._live = live or LiveOptions()
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._job = ReaderJob(opener, clock, options.every_nth, options.max_side)
        self._mailbox = Mailbox(self._name)
        self._every = options.every_nth
        self._reader: Reader | None = None
        self._abandoned: list[Reader] = []
        self._started_at = 0.0
        self._retry_at = float("-inf")
        self._failures = 0
        self._attempts = 0
        self._down = False
        self._seeing_until = clock()
        self._closed = False

    @property
    def name(self) -> str:
        """What frames call the camera."""
        return self._name

    @property
    def live(self) -> bool:
        """Time goes on without us."""
        return True

    @property
    def total(self) -> int | None:
        """A camera has no end."""
        return None

    @property
    def fps(self) -> float | None:
        """Measured (at first: announced) frames per second that can be taken."""
        with self._mailbox.changed:
            period = self._mailbox.period_s
        return 1.0 / (period * self._every) if period else None

    @property
    def seen(self) -> int:
        """Frames that reached this process."""
        with self._mailbox.changed:
            return self._mailbox.seen

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames that arrived and were not given, by cause."""
        with self._mailbox.changed:
            return dict(self._mailbox.drops)

    @property
    def abandoned(self) -> int:
        """Reader threads given up and still stuck."""
        self._abandoned = [reader for reader in self._abandoned if reader.alive]
        return len(self._abandoned)

    def take(self, timeout_s: float) -> Frame | SourceDown | SourceUp | EndOfSource | None:
        """The newest frame, a change of the source's state, or None after ``timeout_s``; once closed, the end."""
        box = self._mailbox
        deadline = self._clock() + timeout_s
        while not self._closed:
            now = self._clock()
            self._start_if_due(now)
            item = self._step(now)
            if item is not None or now >= deadline:
                return item
            with box.changed:
                if box.frame is None and box.ended is None:
                    box.changed.wait(max(0.0, min(deadline, self._due(now)) - now))
        return EndOfSource()

    def close(self) -> None:
        """Stops reading; waits a little for readers to give their cameras back. Safe to call twice."""
        self._closed = True
        self._mailbox.next_generation()
        readers = [*self._abandoned, *([self._reader] if self._reader else [])]
        self._reader = None
        for reader in readers:
            reader.interrupt()
        deadline = time.monotonic() + self._live.close_s
        for reader in readers:
            reader.thread.join(max(0.0, deadline - time.monotonic()))
        self._abandoned = [reader for reader in readers if reader.alive]

    def _step(self, now: float) -> Frame | SourceDown | SourceUp | None:
        with self._mailbox.changed:
            frame, ended = self._mailbox.frame, self._mailbox.ended
            if frame is not None and not self._down:
                self._mailbox.frame = None
        if frame is not None:
            if self._down:  # tell first; the frame, or a newer one, is given next
                self._down = False
                return SourceUp(frame.captured_at, max(0.0, frame.captured_at - self._seeing_until), self._attempts)
            self._seeing_until = max(self._seeing_until, frame.captured_at)
            return frame
        if self._reader is None:
            return None
        if ended is not None:
            self._reader = None
            lost = self._lost(ended, now)
            self._mailbox.next_generation()  # else `ended` stays set, and `take` would not wait during the backoff
            return lost
        silent_s, allowed_s, waiting_for = self._silence(now)
        if silent_s <= allowed_s:
            return None
        reader, self._reader = self._reader, None
        self._abandoned.append(reader)
        lost = self._lost(f"no {waiting_for} for {silent_s:.1f} s", now)
        self._mailbox.next_generation()
        reader.interrupt()
        return lost

    def _silence(self, now: float) -> tuple[float, float, str]:
        with self._mailbox.changed:
            last, period = self._mailbox.last_arrival, self._mailbox.period_s
        if last is None:
            return now - self._started_at, self._live.open_s, "first frame"
        return now - last, max(self._live.stall_s, _PERIODS_TO_STALL * (period or 0.0)), "frame"

    def _due(self, now: float) -> float:
        """When something is to be done even if nothing arrives, monotonic seconds."""
        if self._reader is None:
            return self._retry_at
        silent_s, allowed_s, _ = self._silence(now)
        return now + (allowed_s - silent_s) + 0.001

    def _start_if_due(self, now: float) -> None:
        if self._reader is not None or now < self._retry_at:
            return
        if self.abandoned >= self._live.max_abandoned:
            self._retry_at = now + _STUCK_RETRY_S
            return
        self._attempts += 1
        self._started_at = now
        self._reader = Reader(self._mailbox, self._mailbox.next_generation(), self._job)

    def _lost(self, reason: str, now: float) -> SourceDown | None:
        with self._mailbox.changed:
            first, last = self._mailbox.first_arrival, self._mailbox.last_arrival
        if first is not None and last is not None and last - first >= self._live.steady_s:
            self._failures = 0
        self._retry_at = now + self._live.backoff.wait(self._failures, self._rng)
        self._failures += 1
        if self._down:
            return None
        self._down = True
        self._attempts = 0
        return SourceDown(now, reason)
