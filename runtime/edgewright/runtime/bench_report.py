"""What timing a bundle takes and gives: settings, times, ratios and the conditions they hold under."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.runtime.bench_ratio import Ratio
    from edgewright.runtime.machine import Machine

__all__ = [
    "DEFAULT_SETTINGS",
    "FRAMES_PER_BLOCK",
    "BenchReport",
    "BenchSettings",
    "Conditions",
    "Quantiles",
    "VariantTimes",
]

FRAMES_PER_BLOCK = 5


@dataclass(frozen=True)
class BenchSettings:
    """How long and how to time.

    Attributes:
        threads: Given to the engine.
        blocks: Turns of each variant; each gives one ratio.
        frames_per_block: Frames in one turn that count.
        settle: Frames at the start of each turn that do not: they fetch the network back into the caches, which the
            others' turns have filled. The turns are the measurement's doing, not the device's.
        warmup: Frames before the first turn, not counted.
        timeout_s: Longest wait for one turn.
    """

    threads: int = 1
    blocks: int = 48
    frames_per_block: int = FRAMES_PER_BLOCK
    settle: int = 2
    warmup: int = 10
    timeout_s: float = 120.0


DEFAULT_SETTINGS = BenchSettings()
"""240 frames of each variant on one thread."""


@dataclass(frozen=True)
class Quantiles:
    """Median, 95th and 99th percentile, milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class VariantTimes:
    """What one variant took.

    Attributes:
        variant: Its name.
        stages: ``preprocess``, ``inference``, ``decode`` and ``total``.
        processor_ms: Median processor time of a frame; less than the total when the machine was busy.
        frames: Frames timed.
        peak_memory_bytes: Most resident memory of its process; None where the system does not tell.
        first_result_ms: From opening the bundle to the first decoded answer.
        totals_ms: Every timed frame's total, in order.
        engine: Engine and version it ran on.
    """

    variant: str
    stages: Mapping[str, Quantiles]
    processor_ms: float
    frames: int
    peak_memory_bytes: int | None
    first_result_ms: float
    totals_ms: tuple[float, ...] = field(repr=False)
    engine: str = "unknown engine"


@dataclass(frozen=True)
class Conditions:
    """What else determines a timing.

    Attributes:
        machine: The processor.
        threads: Given to the engine.
        load_before: Load average before, None where the system does not tell.
        load_after: Load average after; includes the timing itself.
        engine: Engines and versions, each once.
        frame_size: (width, height) of the first frame.
        pictures: How many different frames went round.
        pinned: Numbers of the processors that every timing process kept to, empty where the system cannot pin.
    """

    machine: Machine
    threads: int
    load_before: float | None
    load_after: float | None
    engine: str
    frame_size: tuple[int, int]
    pictures: int
    pinned: tuple[int, ...] = ()


@dataclass(frozen=True)
class BenchReport:
    """What timing found.

    Attributes:
        variants: What each took.
        ratios: Of each against the baseline; before it, where that is another, against the float one of its own format.
        conditions: What else determines them.
        inference_ratios: The same pairs, of the model alone: without fitting the frame and decoding the answer.
        left_out: What could not be timed here, and why.
    """

    variants: tuple[VariantTimes, ...]
    ratios: tuple[Ratio, ...]
    conditions: Conditions
    inference_ratios: tuple[Ratio, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def ratio(self, variant: str) -> Ratio | None:
        """The ratio of ``variant`` against its nearest baseline, None for the baseline itself."""
        return next((ratio for ratio in self.ratios if ratio.variant == variant), None)
