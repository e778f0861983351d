"""Where a reader thread leaves the newest frame, and the reader thread itself.

The mailbox holds one frame. A newer frame replaces one that nobody took, and the loss is counted. Each reader
carries a generation number; once the mailbox moved on, whatever an abandoned reader still brings is counted as
``late`` and ignored.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.runtime.errors import SourceError
from edgewright.runtime.sources.base import shrink
from edgewright.runtime.sources.uri import redact
from edgewright.runtime.types import Frame, TimeQuality

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from edgewright.runtime.sources.capture import Capture, Opener

__all__ = ["Mailbox", "Reader", "ReaderJob"]

_SMOOTHING = 0.1  # weight of the newest interval in the running frame period
_LONGEST_INTERVAL_S = 60.0


class Mailbox:
    """One frame, and what is known about the stream it came from.

    Every attribute is read and written under ``changed`` only.

    Attributes:
        changed: Notified when a frame arrives or a reader ends.
        generation: Number of the reader that counts.
        frame: The newest frame nobody took yet.
        ended: Why the current reader ended, None while it runs.
        first_arrival: Monotonic seconds of the current reader's first frame, None before it.
        last_arrival: The same for its newest.
        period_s: Running mean of the time between frames, None while unknown.
        seen: Frames that arrived, over all readers.
        drops: Frames that arrived and were not given, by cause.
    """

    def __init__(self, camera: str) -> None:
        """An empty box for the named camera."""
        self.changed = threading.Condition()
        self.generation = 0
        self.frame: Frame | None = None
        self.ended: str | None = None
        self.first_arrival: float | None = None
        self.last_arrival: float | None = None
        self.period_s: float | None = None
        self.seen = 0
        self.drops: Counter[str] = Counter()
        self._camera = camera

    def next_generation(self) -> int:
        """Forgets the current reader and an untaken frame of it; returns the number for its successor."""
        with self.changed:
            if self.frame is not None:
                self.drops["late"] += 1
            self.frame = None
            self.generation += 1
            self.ended = self.first_arrival = self.last_arrival = None
            return self.generation

    def is_current(self, generation: int) -> bool:
        """Whether the reader with this number still counts."""
        with self.changed:
            return generation == self.generation

    def announce(self, generation: int, fps: float | None) -> None:
        """Takes the announced frame rate as a first guess of the period."""
        with self.changed:
            if generation == self.generation and self.period_s is None and fps:
                self.period_s = 1.0 / fps

    def arrived(self, generation: int) -> int | None:
        """Counts a frame that arrived; its index, or None when the reader no longer counts."""
        with self.changed:
            index = self.seen
            self.seen += 1
            if generation != self.generation:
                self.drops["late"] += 1
                return None
            return index

    def put(self, generation: int, at: float, frame: Frame | None, cause: str = "") -> None:
        """Leaves a frame, or notes that one was not used.

        Args:
            generation: The reader's number.
            at: Monotonic seconds of the arrival.
            frame: The frame, None when it was passed over.
            cause: Why it was passed over.
        """
        with self.changed:
            if generation != self.generation:
                self.drops["late"] += 1
                return
            if frame is None:
                self.drops[cause] += 1
            else:
                if self.frame is not None:
                    self.drops["overwritten"] += 1
                self.frame = frame
            if cause != "undecodable":
                self._note_arrival(at)
            self.changed.notify_all()

    def end(self, generation: int, reason: str) -> None:
        """Says that a reader is finished and why."""
        with self.changed:
            if generation == self.generation:
                self.ended = reason
                self.changed.notify_all()

    def camera(self) -> str:
        """What frames call the camera."""
        return self._camera

    def _note_arrival(self, at: float) -> None:
        if self.last_arrival is None:
            self.first_arrival = at
        else:
            interval = min(max(at - self.last_arrival, 0.0), _LONGEST_INTERVAL_S)
            known = interval if self.period_s is None else self.period_s
            self.period_s = known + _SMOOTHING * (interval - known)
        self.last_arrival = at


@dataclass(frozen=True)
class ReaderJob:
    """What a reader does.

    Attributes:
        opener: Opens the camera.
        clock: Monotonic seconds.
        every_nth: Leave only every n-th frame.
        max_side: Scale larger frames down to this many pixels.
    """

    opener: Opener
    clock: Callable[[], float]
    every_nth: int = 1
    max_side: int | None = None


class Reader:
    """A daemon thread that opens a camera and leaves its frames in a mailbox until told to stop or abandoned."""

    def __init__(self, mailbox: Mailbox, generation: int, job: ReaderJob) -> None:
        """Starts the thread."""
        self._mailbox = mailbox
        self._generation = generation
        self._job = job
        self._capture: Capture | None = None
        self.thread = threading.Thread(target=self._run, name=f"reader-{generation}", daemon=True)
        self.thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self.thread.is_alive()

    def interrupt(self) -> None:
        """Asks a camera that is waited for to let go. To be called once the mailbox has moved on: the thread then ends."""
        capture = self._capture
        if capture is not None:
            capture.interrupt()

    def _run(self) -> None:
        try:
            self._capture = capture = self._job.opener()
        except SourceError as error:
            self._mailbox.end(self._generation, str(error))
            return
        except Exception as error:  # noqa: BLE001 - a driver may raise anything; the camera must be tried again
            self._mailbox.end(self._generation, redact(f"opening failed: {type(error).__name__}: {error}"))
            return
        try:
            reason = self._read(capture)
        except SourceError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - as above: no driver's error may silence a camera for good
            reason = redact(f"reading failed: {type(error).__name__}: {error}")
        finally:
            capture.close()
        self._mailbox.end(self._generation, reason)

    def _read(self, capture: Capture) -> str:
        job, mailbox, generation = self._job, self._mailbox, self._generation
        mailbox.announce(generation, capture.fps)
        turn = 0
        while mailbox.is_current(generation):
            if not capture.grab():
                return "the stream ended or the connection was lost"
            arrived = job.clock()
            index = mailbox.arrived(generation)
            if index is None:
                break
            wanted = turn % job.every_nth == 0
            turn += 1
            image = capture.retrieve() if wanted else None
            if image is None:
                mailbox.put(generation, arrived, None, "undecodable" if wanted else "every_nth")
                continue
            stamp = capture.stamp(arrived)
            mailbox.put(generation, arrived, self._frame(image, index, stamp))
        return "abandoned"

    def _frame(self, image: NDArray[np.uint8], index: int, stamp: tuple[float, TimeQuality]) -> Frame:
        captured_at, quality = stamp
        return Frame(
            image=shrink(image, self._job.max_side),
            camera=self._mailbox.camera(),
            index=index,
            captured_at=captured_at,
            media_time=captured_at,
            time_quality=quality,
        )
