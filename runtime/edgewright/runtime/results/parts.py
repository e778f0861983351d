"""Parts of a result: moments of a measurement, figures with intervals, the long run, and what answers are worth."""

from __future__ import annotations

from dataclasses import dataclass

from edgewright.runtime.energy import Energy  # noqa: TC001 - the codec reads these annotations at run time

__all__ = ["BoardAccuracy", "Fastest", "Figure", "Point", "Soak"]


@dataclass(frozen=True)
class Point:
    """The state of a board at one moment of a measurement.

    Attributes:
        at_s: Seconds since it began.
        frames: Frames since the point before.
        p50_ms: Their median; None where nothing was timed by itself.
        p95_ms: Their 95th percentile.
        clock_mhz: Mean clock of the processors; None where nothing tells, as the next two.
        celsius: Hottest sensor.
        throttled: What held the board back, in words.
    """

    at_s: float
    frames: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    clock_mhz: float | None = None
    celsius: float | None = None
    throttled: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
        samples: Pictures it rests on.
    """

    value: float
    low: float
    high: float
    samples: int


@dataclass(frozen=True)
class Fastest:
    """What should run here.

    Attributes:
        candidate: The fastest that gives the golden answers; within the noise, the first of the bundle.
        reason: In words.
    """

    candidate: str
    reason: str


@dataclass(frozen=True)
class Soak:
    """One variant run for a long time: what heat does to it.

    Attributes:
        candidate: Which one.
        wanted_s: How long it should have run.
        seconds: How long it ran.
        frames: In that time.
        points: Spread over it.
        energy: Taken from the supply meanwhile.
        note: Why it ended early, empty when it did not.
    """

    candidate: str
    wanted_s: float
    seconds: float
    frames: int
    points: tuple[Point, ...]
    energy: Energy | None = None
    note: str = ""


@dataclass(frozen=True)
class BoardAccuracy:
    """What a variant's answers on the board are worth, judged on a workstation.

    Attributes:
        variant: Which one.
        metric: ``ap50``, ``ap``, ``top1_accuracy``; without labels ``boxes_kept`` or ``top1_agreement``.
        title: The metric in words.
        reference: What it is held against, in words.
        board: On the board, 0..1.
        reference_value: The reference's, 0..1; None where the reference is the truth.
        drop: Points lost against the reference.
        source: Where the pictures came from.
        doubt: Why the figure tells nothing, None where it does.
    """

    variant: str
    metric: str
    title: str
    reference: str
    board: Figure
    reference_value: float | None
    drop: Figure
    source: str
    doubt: str | None = None
