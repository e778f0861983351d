"""A camera's run as a service: ready, how it fares, and a watchdog that is fed only while frames really flow.

The watchdog is fed from the loop's own thread, between two turns of the loop, and never from a thread of its own: a
loop that hangs feeds nothing, whatever else in the process still lives. A turn feeds only if ``Flow`` finds no fault:

==============================================  ==================================================================
what is seen                                    fed
==============================================  ==================================================================
frames with answers (status ``ok``)             yes
frames, but all answers late or stale           yes, and told: the board is slow, and no restart makes it faster
frames, but the model fails on each             for ``patience_s``, then no
the source says that it is down, each second    yes: a camera that is away is told, and no restart brings it back
neither a frame nor such a word                 for ``patience_s``, then no: who watches the source has failed
no frame at all, whatever is said               for ``needs_frames_s``, then no: a fresh start may find the camera
the model or a sink hangs                       no: there is no turn
==============================================  ==================================================================

Without a service manager (no ``NOTIFY_SOCKET``) all of this does nothing.
"""

from __future__ import annotations

import logging
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.device.heat import HeatState
from edgewright.device.notify import Notifier, watchdog_interval_s
from edgewright.runtime.types import ResultStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from edgewright.device.config import ServiceSettings
    from edgewright.device.heat import HeatReport
    from edgewright.runtime.observe import Observation, ResultSink
    from edgewright.runtime.sources import FrameSource

__all__ = ["Flow", "FlowLimits", "Service"]

_STATUS_EVERY_S = 10.0
_NEW_STATUS_S = 2.0  # after a change: long enough for a rate
_FEEDS_PER_INTERVAL = 4.0
_LONGEST_WORDS = 350
_SHORTEST_PATIENCE_S = 15.0  # a live source may take 10 s to open before it says that it is down
_PERIODS_OF_PATIENCE = 10.0

_LATE = (ResultStatus.STALE, ResultStatus.TIMEOUT)  # the model answered, but nobody may use it

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FlowLimits:
    """How long a camera may give no answers, seconds.

    Attributes:
        patience_s: Without an answer, and without the source's word that it is down.
        needs_frames_s: Without a frame, for whatever reason; infinity waits for ever.
    """

    patience_s: float = _SHORTEST_PATIENCE_S
    needs_frames_s: float = math.inf


class Flow:
    """Judges whether frames flow. Times are monotonic seconds, given by the caller."""

    def __init__(self, limits: FlowLimits, now: float) -> None:
        """All is well so far."""
        self.limits = limits
        self._answered = self._seen = now
        self._down_told: float | None = None
        self._last: ResultStatus | None = None

    @property
    def down(self) -> bool:
        """Whether the last thing heard was that the source is down."""
        return self._down_told is not None

    @property
    def seen(self) -> bool:
        """Whether there ever was a frame."""
        return self._last is not None

    def unseen_s(self, now: float) -> float:
        """Seconds without a frame."""
        return now - self._seen

    def note(self, status: ResultStatus, now: float) -> None:
        """Takes note of a result."""
        if status is ResultStatus.SOURCE_DOWN:
            self._down_told = now
            return
        self._down_told = None
        self._seen, self._last = now, status
        if status is ResultStatus.OK or status in _LATE:
            self._answered = now

    def fault(self, now: float, period_s: float | None = None) -> str | None:
        """Why the watchdog must not be fed now, in words; None when all is well.

        Args:
            now: Monotonic seconds.
            period_s: Seconds from frame to frame, as far as known: a slow camera is given ten of them.
        """
        limits = self.limits
        unseen_s = self.unseen_s(now)
        if unseen_s > limits.needs_frames_s:
            return f"no frame for {unseen_s:.0f} s, at most {limits.needs_frames_s:g} s are allowed"
        if self._down_told is not None and now - self._down_told <= limits.patience_s:
            return None
        silent_s = now - self._answered
        if silent_s <= max(limits.patience_s, _PERIODS_OF_PATIENCE * (period_s or 0.0)):
            return None
        if self._last is not ResultStatus.MODEL_ERROR:
            return f"neither a frame nor a word of the source for {unseen_s:.0f} s"
        return f"no answer to any frame for {silent_s:.0f} s, the last was {self._last.value}"


class Service:
    """Speaks to the service manager on the loop's thread; a ``ResultSink``.

    Use it as a context around the run, its ``sinks`` among the loop's, and ``watching(stop)`` for the loop's ``stop``.
    """

    def __init__(
        self,
        source: FrameSource,
        settings: ServiceSettings,
        environ: Mapping[str, str] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        heat: Callable[[], HeatReport | None] = lambda: None,
    ) -> None:
        """Looks whether a manager started this process.

        Args:
            source: Names the camera and knows its rate.
            settings: When a camera that is away for long ends in a restart.
            environ: Environment variables; None takes the process's.
            clock: Monotonic seconds.
            heat: How hot the board is, None where that is not known.
        """
        values = os.environ if environ is None else environ
        self._manager = Notifier.from_environment(values)
        self._interval_s = watchdog_interval_s(values)
        self._source = source
        self._clock = clock
        self._heat = heat
        patience_s = max(_SHORTEST_PATIENCE_S, self._interval_s or 0.0)
        self._flow = Flow(FlowLimits(patience_s, settings.watchdog_needs_frames_s or math.inf), clock())
        self._ready = self._stopping = False
        self._feed_at = self._status_at = float("-inf")
        self._state = (False, False, False, HeatState.OK)
        self._fault: str | None = None
        self._last_error = ""
        self._window = _Window(clock())

    @property
    def sinks(self) -> tuple[ResultSink, ...]:
        """To be put among the loop's sinks for results; none where there is no manager."""
        return () if self._manager is None else (self,)

    def __enter__(self) -> Service:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, trace
        self.stopping("" if error is None else f"ended: {error}")
        if self._manager is not None:
            self._manager.close()

    def watching(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """``stop`` for the loop, which asks it between two turns: that is when the manager is spoken to."""
        if self._manager is None:
            return stop

        def turn() -> bool:
            if stop():
                return True
            self._turn(self._clock())
            return False

        return turn

    def observe(self, observation: Observation) -> None:
        """Takes note of a result."""
        result = observation.result
        self._flow.note(result.status, self._clock())
        self._window.note(result.status, result.timings_ms.get("end_to_end", 0.0))
        if result.error:
            self._last_error = result.error

    def stopping(self, words: str = "") -> None:
        """Says, once, that the run ends; what is still to be delivered may take a while."""
        if self._manager is None or self._stopping:
            return
        self._stopping = True
        self._manager.send(STOPPING="1", STATUS=words or f"{self._source.name}: stopping")

    def _turn(self, now: float) -> None:
        manager = self._manager
        if manager is None:
            return
        if not self._ready:
            # The model is loaded and the loop turns. The camera may still be away: that must not fail the start.
            self._flow = Flow(self._flow.limits, now)
            self._status_at = now + _STATUS_EVERY_S
            self._ready = manager.send(READY="1", STATUS=f"{self._source.name}: waiting for the first frame")
        fps = self._source.fps
        fault = self._flow.fault(now, 1.0 / fps if fps else None)
        if (fault is None) != (self._fault is None):
            self._tell(fault)
        self._fault = fault
        if fault is None and self._interval_s is not None and now >= self._feed_at and manager.send(WATCHDOG="1"):
            self._feed_at = now + self._interval_s / _FEEDS_PER_INTERVAL
        heat = self._heat()
        hot = HeatState.OK if heat is None else heat.state
        state = (fault is not None, self._flow.down, self._flow.seen, hot)
        if state != self._state:
            self._state = state
            self._window, self._status_at = _Window(now), now + _NEW_STATUS_S
        if now >= self._status_at:
            # A long error must not push the temperature out of the line, which the protocol keeps short.
            words = self._status(now)[:_LONGEST_WORDS]
            manager.send(STATUS=words if heat is None else f"{words}; board {heat}")
            self._window, self._status_at = _Window(now), now + _STATUS_EVERY_S

    def _tell(self, fault: str | None) -> None:
        if self._interval_s is None:
            return
        if fault is None:
            _log.warning("%s: frames flow again, the watchdog is fed", self._source.name)
        else:
            _log.warning("%s: %s; the watchdog is not fed, a restart is due", self._source.name, fault)

    def _status(self, now: float) -> str:
        name, window = self._source.name, self._window
        if self._fault is not None:
            return f"{name}: {self._fault}"
        if self._flow.down:
            return f"{name}: away for {self._flow.unseen_s(now):.0f} s: {self._last_error}; waiting for it"
        if not self._flow.seen:
            return f"{name}: waiting for the first frame for {self._flow.unseen_s(now):.0f} s"
        words = f"{name}: {window.answers / max(now - window.began, 1e-9):.1f} answers/s"
        if self._source.live and window.answers:
            words += f", age {window.age_ms / window.answers:.0f} ms, at most {window.oldest_ms:.0f} ms"
        if window.late:
            words += f", {window.late} too late to be used"
            words += "" if window.answers else ": this board is too slow for its model and frame rate"
        return words + (f", {window.others} without answer: {self._last_error}" if window.others else "")


class _Window:
    """What happened since the last status."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.answers = self.late = self.others = 0
        self.age_ms = self.oldest_ms = 0.0

    def note(self, status: ResultStatus, age_ms: float) -> None:
        if status is ResultStatus.OK:
            self.answers += 1
            self.age_ms += age_ms
            self.oldest_ms = max(self.oldest_ms, age_ms)
        elif status in _LATE:
            self.late += 1
        elif status is not ResultStatus.SOURCE_DOWN:
            self.others += 1
