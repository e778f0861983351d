"""What a long run comes to, in few figures: one definition for the terminal, the page and the Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.runtime.results.parts import Point, Soak

__all__ = ["SoakFigures", "soak_figures"]

_PARTS = 10


@dataclass(frozen=True)
class SoakFigures:
    """A long run in short; None where nothing tells.

    Attributes:
        first_ms: Median time of a frame over the first tenth of the points: the mean of theirs, by their frames.
        last_ms: The same over the last tenth.
        slower: ``last_ms`` over ``first_ms``; None with fewer than two timed points.
        frames_per_s: All frames over the whole time, looks at the sensors included.
        first_mhz: Mean clock over the first tenth.
        last_mhz: The same over the last tenth.
        first_celsius: Hottest sensor at the first point that tells.
        hottest_celsius: The highest of all.
        held_back: What held the board back, each once; None where no point tells.
        held_back_from_s: When it was first seen.
        joules_per_frame: Taken from the supply by the whole machine.
    """

    first_ms: float | None = None
    last_ms: float | None = None
    slower: float | None = None
    frames_per_s: float | None = None
    first_mhz: float | None = None
    last_mhz: float | None = None
    first_celsius: float | None = None
    hottest_celsius: float | None = None
    held_back: tuple[str, ...] | None = None
    held_back_from_s: float | None = None
    joules_per_frame: float | None = None


def soak_figures(soak: Soak) -> SoakFigures:
    """Sums a long run up.

    Args:
        soak: As it was measured.
    """
    timed = [(point.p50_ms, max(point.frames, 1)) for point in soak.points if point.p50_ms is not None]
    clocks = [(point.clock_mhz, 1) for point in soak.points if point.clock_mhz is not None]
    heat = [point.celsius for point in soak.points if point.celsius is not None]
    first_ms, last_ms = _ends(timed)
    first_mhz, last_mhz = _ends(clocks)
    told = [point for point in soak.points if point.throttled is not None]
    held = next((point for point in told if point.throttled), None)
    joules = None if soak.energy is None or not soak.frames else soak.energy.joules
    return SoakFigures(
        first_ms=first_ms,
        last_ms=last_ms,
        slower=last_ms / first_ms if first_ms and last_ms is not None and len(timed) > 1 else None,
        frames_per_s=soak.frames / soak.seconds if soak.frames and soak.seconds > 0 else None,
        first_mhz=first_mhz,
        last_mhz=last_mhz,
        first_celsius=heat[0] if heat else None,
        hottest_celsius=max(heat, default=None),
        held_back=_reasons(told) if told else None,
        held_back_from_s=None if held is None else held.at_s,
        joules_per_frame=None if joules is None else joules / soak.frames,
    )


def _reasons(points: Sequence[Point]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for point in points for word in point.throttled or ()))


def _ends(values: Sequence[tuple[float, int]]) -> tuple[float | None, float | None]:
    """The means of the first and of the last tenth, each of one value at least, by weight."""
    if not values:
        return None, None
    count = max(1, len(values) // _PARTS)
    return _mean(values[:count]), _mean(values[-count:])


def _mean(values: Sequence[tuple[float, int]]) -> float:
    return sum(value * weight for value, weight in values) / sum(weight for _, weight in values)
