"""The camera loop: frame, model, tracker, rules, events.

Invariants:

- A failure never looks like an empty picture: every result has a status, and rules see ``OK`` results only.
- Nothing in the loop waits for a disk or a socket; sinks that need one have a ``Lane``.
- The loop ends by itself only at the end of a file, at a limit, or when the model failed too often in a row. A
  camera that goes away is reported, waited for and taken up again.
- Frame times, not the wall clock, drive tracking and rules, so a file gives the same tracks at any speed.

Example:
    >>> from edgewright.runtime.testing import ListSource, ScriptedModel
    >>> loop = CameraLoop(ListSource.blank(3), ScriptedModel.empty())
    >>> loop.run().frames_processed
    3
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from edgewright.runtime.errors import ModelFailedError, SourceError
from edgewright.runtime.observe import Observation
from edgewright.runtime.rules.base import event_of
from edgewright.runtime.sources.base import EndOfSource, SourceDown, SourceUp
from edgewright.runtime.summary import RunSummary, Tally
from edgewright.runtime.types import Classification, Detections, Event, Frame, Result, ResultStatus, TimeQuality

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edgewright.runtime.observe import EventSink, ResultSink
    from edgewright.runtime.rules.base import Rule
    from edgewright.runtime.sources.base import FrameSource
    from edgewright.runtime.tracking.base import Tracker

__all__ = ["CameraLoop", "LoopLimits", "Model", "Watchers"]

_MS = 1000.0


class Model(Protocol):
    """What the loop asks of a model; ``edgewright.runtime.session.Session`` is one."""

    @property
    def score_threshold(self) -> float:
        """Score from which a detection counts as seen."""
        ...

    @property
    def last_timings_ms(self) -> Mapping[str, float]:
        """Milliseconds of the last ``infer``, by stage."""
        ...

    def infer(self, image: NDArray[np.uint8], score_threshold: float | None = None) -> Detections | Classification:
        """What is in one image (H, W, 3) uint8 BGR."""
        ...


@dataclass(frozen=True)
class LoopLimits:
    """When to call a result late, and when to stop. Times in seconds.

    Attributes:
        max_age_s: A live result older than this when finished is ``STALE``.
        model_timeout_s: A live frame on which the model was busy for longer has no answer: ``TIMEOUT``. Found out
            afterwards, since an engine cannot be interrupted.
        max_model_errors: So many failures of the model in a row end the run. A timeout is none: the model answered, and
            a fresh start makes no board faster.
        max_frames: Stop after so many frames.
        duration_s: Stop after so long.
        give_up_s: Stop with an error when a live source gave nothing for so long; None waits for ever.
        down_every_s: While a source is down, one ``SOURCE_DOWN`` result each so often.
        poll_s: Longest wait for a frame before looking at the limits again.
    """

    max_age_s: float = 2.0
    model_timeout_s: float = 10.0
    max_model_errors: int = 30
    max_frames: int | None = None
    duration_s: float | None = None
    give_up_s: float | None = None
    down_every_s: float = 1.0
    poll_s: float = 0.25


@dataclass(frozen=True)
class Watchers:
    """Who looks at the results: rules in order, then sinks."""

    rules: Sequence[Rule] = ()
    events: Sequence[EventSink] = ()
    results: Sequence[ResultSink] = ()


class CameraLoop:
    """One source, one model, one thread. See the module's description."""

    def __init__(
        self,
        source: FrameSource,
        model: Model,
        tracker: Tracker | None = None,
        watchers: Watchers | None = None,
        limits: LoopLimits | None = None,
        *,
        score_threshold: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Joins the parts; ``run`` starts them.

        Args:
            source: Gives frames; closed by whoever opened it.
            model: Looks at them.
            tracker: Gives identities; None keeps plain detections.
            watchers: Rules and sinks.
            limits: When to stop.
            score_threshold: Overrides the model's.
            clock: Monotonic seconds.
        """
        self._source = source
        self._model = model
        self._tracker = tracker
        self._watchers = watchers or Watchers()
        self._limits = limits or LoopLimits()
        self._threshold = model.score_threshold if score_threshold is None else score_threshold
        # The tracker wants weak boxes too; results keep to the threshold.
        self._floor = self._threshold if tracker is None else min(self._threshold, tracker.score_floor)
        self._clock = clock
        self._tally = Tally()
        self._errors_in_row = 0
        self._late_in_row = 0
        self._started = self._ended = clock()
        self._down: SourceDown | None = None
        self._down_told_at = float("-inf")
        self._silent_since = self._started

    def run(self, stop: Callable[[], bool] = lambda: False) -> RunSummary:
        """Runs until the source ends, a limit is reached or ``stop()`` is true.

        Args:
            stop: Asked between frames.

        Raises:
            SourceError: A file broke in the middle, or a camera stayed away longer than ``give_up_s``.
            ModelFailedError: The model failed ``max_model_errors`` times in a row.
        """
        self._started = self._ended = self._silent_since = self._clock()
        if self._source.live:
            self._tally.note_time(self._started)
        try:
            while not stop() and not self._limit_reached():
                if not self._turn():
                    break
        finally:
            self._ended = self._clock()
            if self._source.live:
                self._tally.note_time(self._ended)
                if self._down is not None:
                    self._tally.blind_s += self._ended - self._silent_since
        return self.summary()

    def summary(self) -> RunSummary:
        """The figures so far, or of the whole run once it ended, however it ended."""
        tracks = None if self._tracker is None else self._tracker.ids_given
        return self._tally.summary(self._source, self._ended - self._started, tracks)

    def _limit_reached(self) -> bool:
        limits = self._limits
        self._ended = self._clock()
        if limits.max_frames is not None and self._tally.processed >= limits.max_frames:
            return True
        return limits.duration_s is not None and self._ended - self._started >= limits.duration_s

    def _turn(self) -> bool:
        """One thing from the source; False at its end."""
        asked = self._clock()
        wait = self._limits.poll_s
        if self._limits.duration_s is not None:
            wait = min(wait, max(0.0, self._started + self._limits.duration_s - asked))
        item = self._source.take(wait)
        if isinstance(item, EndOfSource):
            return False
        if isinstance(item, Frame):
            self._silent_since = self._clock()
            self._frame(item, (self._silent_since - asked) * _MS)
            return True
        now = self._clock()
        if isinstance(item, SourceDown):
            self._down = item
            self._emit(self._source_event("source_down", item.at, {"reason": item.reason}))
        elif isinstance(item, SourceUp):
            self._down = None
            self._tally.blind_s += item.gap_s
            back: dict[str, object] = {"gap_s": round(item.gap_s, 3), "attempts": item.attempts}
            self._emit(self._source_event("source_up", item.at, back))
            return True
        self._while_silent(now)
        return True

    def _frame(self, frame: Frame, read_ms: float) -> None:
        self._tally.processed += 1
        result = self._look(frame, read_ms)
        size = (frame.image.shape[1], frame.image.shape[0])
        timings = dict(result.timings_ms)
        events: list[Event] = []
        if result.status is ResultStatus.OK:
            before = self._clock()
            events = [event for rule in self._watchers.rules for event in rule.update(result, size)]
            timings["rules"] = (self._clock() - before) * _MS
        age_s = self._clock() - frame.captured_at
        timings["end_to_end"] = age_s * _MS
        result = replace(result, timings_ms=timings)
        self._tally.note_result(result)
        for event in events:
            self._emit(event)
        if self._watchers.results:
            overlays = (rule.overlay(size) for rule in self._watchers.rules)
            self._show(Observation(result, frame, tuple(overlay for overlay in overlays if overlay is not None)))
        if self._errors_in_row >= self._limits.max_model_errors:
            message = f"{frame.camera}: the model failed on {self._errors_in_row} frames in a row; last: {result.error}"
            raise ModelFailedError(message)

    def _look(self, frame: Frame, read_ms: float) -> Result:
        asked = self._clock()
        try:
            output = self._model.infer(frame.image, score_threshold=self._floor)
        except Exception as error:  # noqa: BLE001 - an engine may raise anything; one bad frame must not blind a camera
            return self._failure(frame, f"{type(error).__name__}: {error}")
        busy_s = self._clock() - asked
        self._errors_in_row = 0
        if self._source.live and busy_s > self._limits.model_timeout_s:
            text = f"the model took longer than {self._limits.model_timeout_s:g} s for one frame"
            return self._too_late(frame, text)
        self._late_in_row = 0
        timings = {"read": read_ms, **self._model.last_timings_ms}
        tracks = None
        if isinstance(output, Detections):
            if self._tracker is not None:
                before = self._clock()
                size = (frame.image.shape[1], frame.image.shape[0])
                tracks = self._tracker.update(output, frame.media_time, size)
                timings["track"] = (self._clock() - before) * _MS
            output = output.select(output.scores >= self._threshold)
        age_s = self._clock() - frame.captured_at
        stale = self._source.live and age_s > self._limits.max_age_s
        return Result(
            camera=frame.camera,
            frame_index=frame.index,
            captured_at=frame.captured_at,
            media_time=frame.media_time,
            time_quality=frame.time_quality,
            status=ResultStatus.STALE if stale else ResultStatus.OK,
            output=output,
            tracks=tracks,
            timings_ms=timings,
            error=f"results are older than {self._limits.max_age_s:g} s when finished" if stale else None,
        )

    def _failure(self, frame: Frame, text: str) -> Result:
        self._errors_in_row += 1
        self._late_in_row = 0
        return self._no_answer(frame, ResultStatus.MODEL_ERROR, text, self._errors_in_row)

    def _too_late(self, frame: Frame, text: str) -> Result:
        self._late_in_row += 1
        return self._no_answer(frame, ResultStatus.TIMEOUT, text, self._late_in_row)

    def _no_answer(self, frame: Frame, status: ResultStatus, text: str, in_a_row: int) -> Result:
        result = Result(
            camera=frame.camera,
            frame_index=frame.index,
            captured_at=frame.captured_at,
            media_time=frame.media_time,
            time_quality=frame.time_quality,
            status=status,
            error=text,
        )
        fatal = self._errors_in_row >= self._limits.max_model_errors
        if fatal or in_a_row == 1:  # the first of a streak and the last, not each one
            data: dict[str, object] = {"error": text, "in_a_row": in_a_row, "fatal": fatal}
            self._emit(event_of(result, "model_error", data))
        return result

    def _while_silent(self, now: float) -> None:
        """Judges a silence at ``now``, when ``take`` came back without a frame; a frame ends it however slow the model is."""
        silent_s = now - self._silent_since
        give_up = self._limits.give_up_s
        if self._source.live and give_up is not None and silent_s > give_up:
            why = f" ({self._down.reason})" if self._down is not None else ""
            message = f"{self._source.name}: no frame for {silent_s:.0f} s{why}; check the camera, or wait longer"
            raise SourceError(message)
        if self._down is None or now - self._down_told_at < self._limits.down_every_s:
            return
        self._down_told_at = now
        result = Result(
            camera=self._source.name,
            frame_index=-1,
            captured_at=now,
            media_time=now,
            time_quality=TimeQuality.ARRIVAL,
            status=ResultStatus.SOURCE_DOWN,
            error=self._down.reason,
        )
        self._tally.note_result(result)
        self._show(Observation(result))

    def _source_event(self, kind: str, at: float, data: dict[str, object]) -> Event:
        return Event(kind, self._source.name, -1, at, at, TimeQuality.ARRIVAL, data)

    def _emit(self, event: Event) -> None:
        self._tally.events[event.kind] += 1
        for sink in self._watchers.events:
            sink.emit(event)

    def _show(self, observation: Observation) -> None:
        for sink in self._watchers.results:
            sink.observe(observation)
