"""Timing variants of a bundle against each other, so that the ratio means something.

- Each variant runs in a process of its own: in one process, several models disturb each other's caches and threads.
- The processes take turns in short blocks (A B, B A, A B, ...): what else the machine does hits both alike.
- The first frames of a turn do not count: they pay for the caches that the others' turns have filled.
- The ratio is the median over pairs of neighbouring blocks, with its interval (``bench_ratio``).

A frame is timed from the picture to the decoded answer, through the very ``Session`` of the camera loop. Works on a
device: nothing of the workstation half is needed.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgewright.bundle.arrays import npz_bytes
from edgewright.bundle.atomic import write_bytes
from edgewright.bundle.errors import MissingExtraError
from edgewright.bundle.reader import open_bundle
from edgewright.runtime.backends.choice import NO_WISHES
from edgewright.runtime.bench_process import BenchError, BenchProcess, Started
from edgewright.runtime.bench_ratio import MIN_PAIRS, Ratio, ratio_of
from edgewright.runtime.bench_report import (
    DEFAULT_SETTINGS,
    FRAMES_PER_BLOCK,
    BenchReport,
    BenchSettings,
    Conditions,
    Quantiles,
    VariantTimes,
)
from edgewright.runtime.candidates import candidates_of, read_candidate, without_engine
from edgewright.runtime.machine import describe_machine, load_average
from edgewright.runtime.results.frames import golden_frames, timed_size
from edgewright.runtime.session import pick_variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Variant
    from edgewright.runtime.backends.choice import EngineOptions

__all__ = [
    "FRAMES_PER_BLOCK",
    "MIN_PAIRS",
    "MOST_RUNS",
    "BenchError",
    "BenchReport",
    "BenchSettings",
    "Conditions",
    "Quantiles",
    "Ratio",
    "VariantTimes",
    "baseline_of",
    "bench_bundle",
    "settings_for",
    "time_variants",
]

STAGES = ("preprocess", "inference", "decode", "total")
MOST_RUNS = 1_000_000
_NO_BASELINES: Mapping[str, str] = MappingProxyType({})


def bench_bundle(
    path: Path,
    settings: BenchSettings = DEFAULT_SETTINGS,
    *,
    on_block: Callable[[int, int], None] | None = None,
    options: EngineOptions = NO_WISHES,
    every_backend: bool = False,
) -> BenchReport:
    """Times every variant of a bundle on its golden frames, enlarged to the size of the frames that optimize timed.

    A variant for which this machine has no engine is left out and named.

    Args:
        path: Bundle directory or ``.edge`` file.
        settings: How long and how.
        on_block: Called with the turns done and their number.
        options: What the owner of the machine says of its engines.
        every_backend: Each variant on everything that runs its format here; what refuses a variant is left out.

    Raises:
        BundleError: The bundle is not right.
        IntegrityError: It carries no golden frames.
        BenchError: A variant cannot be timed.
        MissingExtraError: There is an engine for none of its variants.
    """
    with open_bundle(path) as bundle:
        variants, size = bundle.manifest.variants, timed_size(bundle.manifest)
    frames = golden_frames(path, size)
    missing = without_engine(variants)
    runnable = [variant for variant in variants if variant.name not in missing]
    if not runnable:
        msg = f"timing {path} needs an engine for {variants[0].format.value} variants, and none is installed"
        raise MissingExtraError(msg, variants[0].format.value)
    names = [variant.name for variant in runnable]
    if every_backend:
        names = [str(candidate) for candidate in candidates_of(runnable, options)]
    reference = baseline_of(runnable)
    baseline = next(name for name in names if read_candidate(name).variant == reference)
    report = time_variants(
        path,
        names,
        frames,
        settings,
        baseline=baseline,
        own=_own_baselines(names, runnable),
        on_block=on_block,
        options=options,
        strict=not every_backend,
    )
    return replace(report, left_out={**missing, **report.left_out})


def settings_for(runs: int, threads: int) -> BenchSettings:
    """How to time about ``runs`` frames of each variant.

    Raises:
        BenchError: That is no number of frames.
    """
    if not 1 <= runs <= MOST_RUNS:
        msg = f"--runs cannot be {runs}; give a number from 1 to {MOST_RUNS}, {MIN_PAIRS * FRAMES_PER_BLOCK} or more to compare"
        raise BenchError(msg)
    return BenchSettings(threads=threads, blocks=math.ceil(runs / FRAMES_PER_BLOCK))


def baseline_of(variants: Sequence[Variant]) -> str:
    """The variant others are held against: the first float one, else the first."""
    floats = [variant.name for variant in variants if variant.precision.value.startswith("float")]
    return floats[0] if floats else variants[0].name


def _own_baselines(names: Sequence[str], variants: Sequence[Variant]) -> dict[str, str]:
    """By candidate, the float one of the same file format, on the same backend where it runs there."""
    formats = {variant.name: variant.format for variant in variants}
    floats = [variant for variant in variants if variant.precision.value.startswith("float")]
    own = {}
    for name in names:
        candidate = read_candidate(name)
        like = [variant.name for variant in floats if variant.format is formats[candidate.variant]]
        fitting = [other for other in names if like and read_candidate(other).variant == like[0]]
        beside = [other for other in fitting if read_candidate(other).backend is candidate.backend]
        if fitting:
            own[name] = (beside or fitting)[0]
    return own


def time_variants(
    bundle: Path,
    names: Sequence[str],
    frames: Sequence[NDArray[np.uint8]],
    settings: BenchSettings = DEFAULT_SETTINGS,
    *,
    baseline: str | None = None,
    own: Mapping[str, str] = _NO_BASELINES,
    on_block: Callable[[int, int], None] | None = None,
    options: EngineOptions = NO_WISHES,
    strict: bool = True,
) -> BenchReport:
    """Times variants of one bundle, each in a process of its own, taking turns.

    Args:
        bundle: Bundle directory or ``.edge`` file.
        names: Which variants, each ``VARIANT`` or ``VARIANT@BACKEND``.
        frames: Real pictures (H, W, 3) uint8 BGR; they go round.
        settings: How long and how.
        baseline: The variant that ratios are taken against; the first one when None.
        own: By variant, another one that it is held against first.
        on_block: Called with the turns done and their number.
        options: What the owner of the machine says of its engines.
        strict: Whether a variant that its engine refuses is an error, or left out.

    Returns:
        Times, ratios, conditions.

    Raises:
        BundleError: The bundle is not right.
        BenchError: A variant cannot be run, or its process died or hung.
    """
    _check(settings, frames)
    with open_bundle(bundle) as opened:
        for name in names:
            pick_variant(opened, read_candidate(name).variant)
    load_before = load_average()
    with tempfile.TemporaryDirectory(prefix="edgewright-bench-") as folder:
        frames_file = Path(folder) / "frames.npz"
        write_bytes(frames_file, npz_bytes({f"{index:06d}": frame for index, frame in enumerate(frames)}))
        start = {
            name: lambda name=name: BenchProcess(
                bundle, name, settings.threads, frames_file, settings.timeout_s, options=options
            )
            for name in names
        }
        turns = _take_turns(start, settings, on_block, strict=strict)
    blocks = turns.blocks
    names = list(blocks)
    times = tuple(_variant_times(name, turns) for name in names)
    reference = baseline if baseline in blocks else names[0]
    pairs = {(base, name): None for name in names for base in (own.get(name, reference), reference)}
    pairs = {(base, name): None for base, name in pairs if base != name and base in blocks}
    height, width = frames[0].shape[:2]
    conditions = Conditions(
        machine=describe_machine(),
        threads=settings.threads,
        load_before=load_before,
        load_after=load_average(),
        engine="; ".join(dict.fromkeys(row.engine for row in times)),
        frame_size=(width, height),
        pictures=len(frames),
        pinned=turns.started[names[0]].pinned,
    )
    ratios, alone = (_ratios(pairs, blocks, stage) for stage in ("total", "inference"))
    return BenchReport(times, ratios, conditions, alone, turns.refused)


def _ratios(
    pairs: Iterable[tuple[str, str]], blocks: Mapping[str, Sequence[Mapping[str, Sequence[float]]]], stage: str
) -> tuple[Ratio, ...]:
    medians = {name: [statistics.median(block[stage]) for block in turns] for name, turns in blocks.items()}
    return tuple(ratio_of(base, name, medians) for base, name in pairs)


def _check(settings: BenchSettings, frames: Sequence[NDArray[np.uint8]]) -> None:
    if not frames:
        msg = "timing needs at least one picture"
        raise BenchError(msg)
    if (
        min(settings.threads, settings.blocks, settings.frames_per_block) < 1
        or min(settings.warmup, settings.settle) < 0
    ):
        msg = f"timing needs at least one thread, one block and one frame a block; got {settings}"
        raise BenchError(msg)


@dataclass(frozen=True, eq=False)
class _Turns:
    blocks: dict[str, list[dict[str, list[float]]]]
    peaks: dict[str, int | None]
    started: dict[str, Started]
    refused: dict[str, str]


def _take_turns(
    start: Mapping[str, Callable[[], BenchProcess]],
    settings: BenchSettings,
    on_block: Callable[[int, int], None] | None,
    *,
    strict: bool,
) -> _Turns:
    started: dict[str, Started] = {}
    refused: dict[str, str] = {}
    with contextlib.ExitStack() as running:
        processes = {name: running.enter_context(begin()) for name, begin in start.items()}
        for name, process in list(processes.items()):
            answer = _warmed_up(process, settings.warmup)
            if isinstance(answer, Started):
                started[name] = answer
            elif strict:
                raise answer
            else:
                refused[name] = str(answer)
                processes.pop(name).kill()
        if not processes:
            msg = f"nothing of it can be timed here: {'; '.join(refused.values())}"
            raise BenchError(msg)
        names = list(processes)
        blocks: dict[str, list[dict[str, list[float]]]] = {name: [] for name in names}
        for turn in range(settings.blocks):
            # A B, then B A: a machine that slowly warms up or cools down favours neither.
            for name in names if turn % 2 == 0 else reversed(names):
                block = processes[name].run(settings.settle + settings.frames_per_block)
                blocks[name].append({stage: times[settings.settle :] for stage, times in block.items()})
            if on_block is not None:
                on_block(turn + 1, settings.blocks)
        peaks = {name: process.finish() for name, process in processes.items()}
    return _Turns(blocks, peaks, started, refused)


def _warmed_up(process: BenchProcess, frames: int) -> Started | BenchError:
    try:
        started = process.wait_ready()
        if frames:
            process.run(frames)
    except BenchError as error:
        return error
    return started


def _variant_times(name: str, turns: _Turns) -> VariantTimes:
    blocks = turns.blocks[name]
    joined = {stage: [value for block in blocks for value in block[stage]] for stage in (*STAGES, "processor")}
    return VariantTimes(
        variant=name,
        stages={stage: _quantiles(joined[stage]) for stage in STAGES},
        processor_ms=statistics.median(joined["processor"]),
        frames=len(joined["total"]),
        peak_memory_bytes=turns.peaks[name],
        first_result_ms=turns.started[name].first_result_ms,
        totals_ms=tuple(round(value, 4) for value in joined["total"]),
        engine=turns.started[name].engine,
    )


def _quantiles(values: Sequence[float]) -> Quantiles:
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return Quantiles(float(p50), float(p95), float(p99))
