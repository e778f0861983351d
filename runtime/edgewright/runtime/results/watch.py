"""Looks at a board's sensors now and then while something is measured, and keeps a bounded number of looks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgewright.runtime.conditions import take_snapshot
from edgewright.runtime.energy import EnergyMeter
from edgewright.runtime.results.schema import Point

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgewright.runtime.conditions import Snapshot
    from edgewright.runtime.energy import Energy

__all__ = ["MOST_POINTS", "Watch"]

MOST_POINTS = 300
_LEAST_STEP_S = 0.5


class Watch:
    """Begins with a look; ``look`` adds others, never more often than twice a second.

    When there are too many, every second one goes and from then on half as many are taken.
    """

    def __init__(
        self, root: Path = Path("/"), *, step_s: float = _LEAST_STEP_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Looks for the first time.

        Args:
            root: Below which ``sys`` and ``proc`` lie.
            step_s: Seconds between two points, at least.
            clock: Seconds.
        """
        self._root, self._clock = root, clock
        self._step_s = max(step_s, _LEAST_STEP_S)
        self._points: list[Point] = []
        self._times: list[float] = []
        self._frames = 0
        self.before: Snapshot = take_snapshot(root)
        self._energy = EnergyMeter(root, clock)
        self._begun = self._seen = clock()
        self._throttle = self.before.throttle

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self._clock() - self._begun

    @property
    def points(self) -> tuple[Point, ...]:
        """What was seen so far."""
        return tuple(self._points)

    def look(self, times_ms: Sequence[float] = ()) -> Point | None:
        """Takes note of timed frames and, when it is time again, looks at the sensors.

        Args:
            times_ms: Of frames since the last call.

        Returns:
            The new point, None when it was not time.
        """
        self._times.extend(times_ms)
        now = self._clock()
        if now - self._seen < self._step_s:
            return None
        return self._add(now)

    def finish(self) -> tuple[Snapshot, Energy]:
        """The last look: what is left of the timed frames becomes a point."""
        if self._times:
            self._add(self._clock())
        return take_snapshot(self._root), self._energy.total()

    def _add(self, now: float) -> Point:
        self._energy.look()
        seen = take_snapshot(self._root)
        p50, p95 = (float(value) for value in np.percentile(self._times, [50, 95])) if self._times else (None, None)
        point = Point(
            at_s=round(now - self._begun, 3),
            frames=len(self._times),
            p50_ms=p50,
            p95_ms=p95,
            clock_mhz=seen.mean_clock_mhz,
            celsius=seen.hottest,
            throttled=self._held_back(seen),
        )
        self._points.append(point)
        self._times, self._seen = [], now
        if len(self._points) >= MOST_POINTS:
            self._points = self._points[1::2]  # the newest stays
            self._step_s *= 2
        return point

    def _held_back(self, seen: Snapshot) -> tuple[str, ...] | None:
        if seen.throttle is None:
            return None
        before, self._throttle = self._throttle, seen.throttle
        return seen.throttle.since(before)
