"""Workstation side of timing: the candidate's variants against each other, as the bundle and the contract want it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.bundle.manifest import Latency
from edgewright.optimize.contract import Measured
from edgewright.optimize.errors import JudgeError
from edgewright.runtime.bench import FRAMES_PER_BLOCK, MIN_PAIRS, BenchError, BenchReport, BenchSettings, time_variants

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["latency_of", "measure_speed", "speedup_of"]


def measure_speed(
    bundle: Path,
    names: Sequence[str],
    frames: Sequence[NDArray[np.uint8]],
    settings: BenchSettings,
    on_block: Callable[[int], None],
) -> BenchReport:
    """Times variants in processes of their own, taking turns.

    Args:
        bundle: The candidate's bundle.
        names: Its variants; ratios are taken against the first.
        frames: Real pictures.
        settings: How long and how.
        on_block: Called with the turns done.

    Raises:
        JudgeError: A variant cannot be run, or its process died or hung.
    """
    try:
        return time_variants(
            bundle, names, frames, settings, baseline=names[0], on_block=lambda done, _total: on_block(done)
        )
    except BenchError as error:
        raise JudgeError(str(error)) from error


def latency_of(report: BenchReport, variant: str) -> Latency:
    """One variant's times as its manifest entry holds them."""
    times = next(row for row in report.variants if row.variant == variant)
    ratio = report.ratio(variant)
    total = times.stages["total"]
    return Latency(
        machine=str(report.conditions.machine),
        threads=report.conditions.threads,
        runs=times.frames,
        p50_ms=total.p50,
        p95_ms=total.p95,
        p99_ms=total.p99,
        speedup=None if ratio is None else ratio.value,
        speedup_low=None if ratio is None else ratio.low,
        speedup_high=None if ratio is None else ratio.high,
        extra={"frame_size": list(report.conditions.frame_size), "engine": times.engine},
    )


def speedup_of(report: BenchReport, variant: str) -> Measured | None:
    """The ratio a contract is about; its samples are timed frames, as ``--runs`` counts them."""
    ratio = report.ratio(variant)
    if ratio is None:
        return None
    frames = next(row.frames for row in report.variants if row.variant == variant)
    enough = MIN_PAIRS * FRAMES_PER_BLOCK if ratio.pairs < MIN_PAIRS else None
    return Measured(ratio.value, ratio.low, ratio.high, frames, enough)
