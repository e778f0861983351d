"""What `edgewright bench` says: progress while it measures, then the figures."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from edgewright.runtime.bench import BenchReport, Quantiles
    from edgewright.runtime.bench_ratio import Ratio
    from edgewright.runtime.energy import Energy
    from edgewright.runtime.results.schema import Point, Result, Soak, VariantResult

__all__ = ["bench_lines", "result_lines", "show_progress", "show_soak"]

_STAGES = ("preprocess", "inference", "decode", "total")
_SPOKEN_EVERY_S = 10.0


def show_progress() -> Callable[[int, int], None]:
    """Tells of turns on standard error: one line that changes on a terminal, else a line now and then."""
    begun = spoken = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal spoken
        now = time.monotonic()
        if sys.stderr.isatty():
            sys.stderr.write(f"\rtiming: turn {done} of {total}" + ("\n" if done == total else ""))
            sys.stderr.flush()
        elif done == 1:
            sys.stderr.write(f"timing in {total} turns ...\n")
        elif now - spoken >= _SPOKEN_EVERY_S and done < total:
            spoken = now
            left = (now - begun) / done * (total - done)
            sys.stderr.write(f"timing: turn {done} of {total}, about {left:.0f} s left\n")

    return show


def show_soak(seconds: float) -> Callable[[Point], None]:
    """Tells of a long run in the same way."""
    spoken = 0.0

    def show(point: Point) -> None:
        nonlocal spoken
        left = max(seconds - point.at_s, 0.0)
        line = f"soak: {min(point.at_s, seconds):.0f} of {seconds:.0f} s, about {left:.0f} s left; {_state(point)}"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{line}\x1b[K" + ("\n" if left == 0 else ""))
            sys.stderr.flush()
        elif point.at_s - spoken >= _SPOKEN_EVERY_S:
            spoken = point.at_s
            sys.stderr.write(f"{line}\n")

    return show


def _state(point: Point) -> str:
    told = [] if point.p50_ms is None else [f"p50 {point.p50_ms:.2f} ms"]
    told += [] if point.clock_mhz is None else [f"{point.clock_mhz:.0f} MHz"]
    told += [] if point.celsius is None else [f"{point.celsius:.1f} C"]
    return ", ".join([*told, *(point.throttled or ())])


def bench_lines(report: BenchReport) -> Iterator[str]:
    """A timing without its conditions."""
    where = report.conditions
    width, height = where.frame_size
    load = "unknown" if where.load_before is None else f"{where.load_before:.2f}"
    yield f"{where.machine}"
    pinned = f" pinned to {', '.join(map(str, where.pinned))}" if where.pinned else ""
    setting = f"{where.threads} thread(s){pinned}, load {load} before, {where.pictures} pictures {width}x{height}"
    yield f"{where.engine}, {setting}"
    for times in report.variants:
        memory = "" if times.peak_memory_bytes is None else f", peak memory {times.peak_memory_bytes / 1e6:.0f} MB"
        first = f", first answer after {times.first_result_ms:.0f} ms"
        yield f"{times.variant} on {times.engine}: {times.frames} frames, processor time {times.processor_ms:.2f} ms a frame{first}{memory}"
        yield from _table(times.stages)
    yield from _end(report.left_out, report.ratios)
    for ratio in report.inference_ratios:
        if ratio.resolved:
            spread = f"[{ratio.low:.2f} to {ratio.high:.2f}]"
            yield f"{ratio.variant} against {ratio.baseline}, the model alone: {ratio.value:.2f} {spread}"


def result_lines(result: Result) -> Iterator[str]:
    """A result with its conditions."""
    board, setting, seen = result.board, result.setting, result.conditions
    yield f"{board.name}: {board.machine}, {board.machine.system}"
    if board.emulated:
        yield f"EMULATED by {board.emulated_by}: these times say nothing of a real board"
    width, height = setting.frame_size
    pinned = f" pinned to {', '.join(map(str, setting.pinned))}" if setting.pinned else ""
    load = "unknown" if seen.load_before is None else f"{seen.load_before:.2f}"
    yield f"{setting.threads} thread(s){pinned}, load {load} before, {setting.pictures} pictures {width}x{height}"
    yield from _conditions(result)
    for row in result.variants:
        yield from _variant(row)
    yield from _end(result.left_out, result.ratios)
    if result.fastest is not None:
        yield f"fastest here: {result.fastest.candidate}, {result.fastest.reason}"
    if result.soak is not None:
        yield _soak(result.soak)
    for said in result.accuracy:
        drop = f"{said.drop.value:.2f} points [{said.drop.low:.2f} to {said.drop.high:.2f}]"
        there = f"{100 * said.board.value:.1f}" + (
            "" if said.reference_value is None else f", {100 * said.reference_value:.1f} there"
        )
        doubt = "" if said.doubt is None else f"; {said.doubt}"
        yield f"{said.variant}: {said.title} {there}, {drop} lost against {said.reference} on {said.drop.samples} pictures{doubt}"


def _conditions(result: Result) -> Iterator[str]:
    seen = result.conditions
    yield f"governor {', '.join(sorted(set(seen.before.governors.values()))) or _why(result, 'governor')}"
    yield f"clock {_change(seen.before.mean_clock_mhz, seen.after.mean_clock_mhz, ' MHz') or _why(result, 'clock')}"
    yield f"temperature {_change(seen.before.hottest, seen.after.hottest, ' C') or _why(result, 'temperature')}"
    held = seen.throttled
    yield f"throttled: {_why(result, 'throttle') if held is None else ', '.join(held) or 'no'}"
    if seen.energy is not None:
        yield f"energy {_energy(seen.energy)}"


def _why(result: Result, what: str) -> str:
    return f"unknown ({result.conditions.after.missing.get(what, 'not told')})"


def _change(before: float | None, after: float | None, unit: str) -> str:
    return "" if before is None or after is None else f"{before:.0f}{unit} before, {after:.0f}{unit} after"


def _energy(energy: Energy) -> str:
    if energy.watts is None:
        return f"unknown ({energy.why_not})"
    return f"{energy.watts:.2f} W on average ({energy.source})"


def _variant(row: VariantResult) -> Iterator[str]:
    memory = "" if row.peak_memory_bytes is None else f", peak memory {row.peak_memory_bytes / 1e6:.0f} MB"
    golden = {True: "golden answers right", False: "WRONG golden answers", None: "golden answers not tried"}[row.golden]
    note = f" ({row.golden_note})" if row.golden_note else ""
    yield (
        f"{row.candidate} on {row.engine}: {row.frames} frames, processor time {row.processor_ms:.2f} ms a frame, "
        f"first answer after {row.first_result_ms:.0f} ms{memory}, {golden}{note}"
    )
    yield from _table(row.stages)


def _soak(soak: Soak) -> str:
    timed = [point for point in soak.points if point.p50_ms is not None]
    if not timed:
        return f"soak of {soak.candidate}: {soak.note or 'too short for a point'}"
    first, last = timed[0], timed[-1]
    energy = (
        ""
        if soak.energy is None or soak.energy.joules is None
        else f", {soak.energy.joules / soak.frames:.3f} J a frame"
    )
    note = f"; {soak.note}" if soak.note else ""
    return f"soak of {soak.candidate}: {soak.frames} frames in {soak.seconds:.0f} s, at first {_state(first)}, at last {_state(last)}{energy}{note}"


def _table(stages: Mapping[str, Quantiles]) -> Iterator[str]:
    yield f"  {'ms':<12}{'p50':>9}{'p95':>9}{'p99':>9}"
    for stage in _STAGES:
        row = stages[stage]
        yield f"  {stage:<12}{row.p50:>9.2f}{row.p95:>9.2f}{row.p99:>9.2f}"


def _end(left_out: Mapping[str, str], ratios: Iterable[Ratio]) -> Iterator[str]:
    from edgewright.runtime.bench import FRAMES_PER_BLOCK, MIN_PAIRS

    for name, reason in left_out.items():
        yield f"{name} was not timed: {reason}"
    for ratio in ratios:
        if ratio.pairs < MIN_PAIRS:
            yield (
                f"{ratio.variant} against {ratio.baseline}: {ratio.value:.2f} over {ratio.pairs} pairs of turns, too few "
                f"to know the spread; --runs {MIN_PAIRS * FRAMES_PER_BLOCK} or more"
            )
            continue
        spread = f"[{ratio.low:.2f} to {ratio.high:.2f}] over {ratio.pairs} pairs of turns"
        if ratio.resolved:
            yield f"{ratio.variant} is {ratio.value:.2f} times as fast as {ratio.baseline} {spread}"
        else:
            yield f"{ratio.variant} against {ratio.baseline}: not resolved, noise is larger than the effect {spread}"
