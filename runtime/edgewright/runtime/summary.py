"""What a run of the camera loop amounted to."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgewright.runtime.latency import LatencyRecorder, LatencySummary
from edgewright.runtime.types import ResultStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.runtime.sources.base import FrameSource
    from edgewright.runtime.types import Result

__all__ = ["RunSummary", "Tally"]

_ERRORS_KEPT = 10


@dataclass(frozen=True)
class RunSummary:
    """Figures of one run.

    Attributes:
        camera: Name of the source.
        live: Whether it is a camera.
        duration_s: Seconds from the first look to the last.
        frames_seen: Frames that reached this process.
        frames_processed: Frames the model was run on, failures included.
        frames_dropped: Frames seen and not processed, by cause.
        results: Results by status.
        fps: Frames processed per second of ``duration_s``.
        stages: Latency by stage. ``read`` is the wait for a frame, ``end_to_end`` capture (for a file: decoding) to
            finished result.
        tracks: Identities confirmed, None when nothing was tracked.
        events: Events raised, by kind.
        coverage: Share of the scene's seconds in which at least one frame was looked at with success, 0..1.
        blind_s: Seconds for which a live source gave nothing.
        errors: The first few different errors, in words.
    """

    camera: str
    live: bool
    duration_s: float
    frames_seen: int
    frames_processed: int
    frames_dropped: Mapping[str, int]
    results: Mapping[str, int]
    fps: float
    stages: Mapping[str, LatencySummary]
    tracks: int | None
    events: Mapping[str, int]
    coverage: float
    blind_s: float
    errors: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values; figures that do not exist are None."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


class Tally:
    """Counts while the loop runs; memory does not grow with time."""

    def __init__(self) -> None:
        """Nothing counted."""
        self.latency = LatencyRecorder()
        self.events: Counter[str] = Counter()
        self.results: Counter[str] = Counter()
        self.processed = 0
        self.blind_s = 0.0
        self._errors: dict[str, None] = {}
        self._looked = 0
        self._last_second: int | None = None
        self._first: float | None = None
        self._last = 0.0

    def note_time(self, scene_s: float) -> None:
        """Says that the scene's clock reached ``scene_s``."""
        if self._first is None:
            self._first = scene_s
        self._last = max(self._last, scene_s)

    def note_error(self, text: str) -> None:
        """Keeps an error's words if they are new and few."""
        if len(self._errors) < _ERRORS_KEPT:
            self._errors.setdefault(text)

    def note_result(self, result: Result) -> None:
        """Counts a result, its timings and the second it belongs to."""
        self.results[result.status.value] += 1
        if result.error:
            self.note_error(result.error)
        self.note_time(result.media_time)
        for stage, milliseconds in result.timings_ms.items():
            self.latency.add(stage, milliseconds)
        if result.status is ResultStatus.OK and self._first is not None:
            second = int(result.media_time - self._first)
            if second != self._last_second:
                self._looked += 1
                self._last_second = second

    @property
    def coverage(self) -> float:
        """Share of seconds looked at; 0 when nothing happened."""
        if self._first is None:
            return 0.0
        # The last second may have only just begun: it counts when it was looked at.
        whole = int(self._last - self._first)
        seconds = max(1, whole + (self._last_second == whole))
        return min(1.0, self._looked / seconds)

    def summary(self, source: FrameSource, duration_s: float, tracks: int | None) -> RunSummary:
        """The figures so far."""
        return RunSummary(
            camera=source.name,
            live=source.live,
            duration_s=duration_s,
            frames_seen=source.seen,
            frames_processed=self.processed,
            frames_dropped=dict(source.drops),
            results=dict(self.results),
            fps=self.processed / duration_s if duration_s > 0 else 0.0,
            stages=self.latency.summary(),
            tracks=tracks,
            events=dict(self.events),
            coverage=self.coverage,
            blind_s=self.blind_s,
            errors=tuple(self._errors),
        )
