"""What `edgewright bench` says: progress while it measures, then the figures."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from edgewright.bundle.figures import fixed, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from edgewright.runtime.bench import BenchReport, Conditions, Quantiles, VariantTimes
    from edgewright.runtime.bench_ratio import Ratio
    from edgewright.runtime.energy import Energy
    from edgewright.runtime.results.schema import Point, Result, Setting, Soak, VariantResult

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
            sys.stderr.write(f"timing in {total} turn{'' if total == 1 else 's'} ...\n")
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
    told = [] if point.p50_ms is None else [f"p50 {milliseconds(point.p50_ms)} ms"]
    told += [] if point.clock_mhz is None else [f"{fixed(point.clock_mhz, 0)} MHz"]
    told += [] if point.celsius is None else [f"{fixed(point.celsius, 1)} C"]
    return ", ".join([*told, *(point.throttled or ())])


def bench_lines(report: BenchReport) -> Iterator[str]:
    """A timing without its conditions."""
    where = report.conditions
    yield f"{where.machine}"
    yield f"{where.engine}, {_setting(where, where.load_before)}"
    for times in report.variants:
        yield f"{times.variant} on {times.engine}: {_run(times)}"
        yield from _table(times.stages)
    yield from _end(report.left_out, report.ratios)
    for ratio in report.inference_ratios:
        if ratio.resolved:
            spread = f"[{fixed(ratio.low, 2)} to {fixed(ratio.high, 2)}]"
            yield f"{ratio.variant} against {ratio.baseline}, the model alone: {fixed(ratio.value, 2)} {spread}"


def result_lines(result: Result) -> Iterator[str]:
    """A result with its conditions."""
    board, machine = result.board, str(result.board.machine)
    name = "" if machine.startswith(board.name) else f"{board.name}: "
    yield f"{name}{machine}, {board.machine.system}"
    if board.emulated:
        yield f"EMULATED by {board.emulated_by}: these times say nothing of a real board"
    yield _setting(result.setting, result.conditions.load_before)
    yield from _conditions(result)
    for row in result.variants:
        golden = {True: "right", False: "WRONG", None: "not tried"}[row.golden]
        note = f" ({row.golden_note})" if row.golden_note else ""
        yield f"{row.candidate} on {row.engine}: {_run(row)}, golden answers {golden}{note}"
        yield from _table(row.stages)
    yield from _end(result.left_out, result.ratios)
    if result.fastest is not None:
        yield f"fastest here: {result.fastest.candidate}, {result.fastest.reason}"
    if result.soak is not None:
        yield _soak(result.soak)
    for said in result.accuracy:
        drop = f"{fixed(said.drop.value, 2)} points [{fixed(said.drop.low, 2)} to {fixed(said.drop.high, 2)}]"
        of_it = "" if said.reference_value is None else f", {fixed(100 * said.reference_value, 1)} of {said.reference}"
        lost = f"{drop} lost" if of_it else f"{drop} lost against {said.reference}"
        doubt = "" if said.doubt is None else f"; {said.doubt}"
        yield (
            f"{said.variant}: {said.title} {fixed(100 * said.board.value, 1)} on the board{of_it}; "
            f"{lost} on {said.drop.samples} pictures{doubt}"
        )


def _setting(where: Conditions | Setting, load_before: float | None) -> str:
    threads = f"{where.threads} thread{'' if where.threads == 1 else 's'}"
    pinned = f" pinned to {', '.join(map(str, where.pinned))}" if where.pinned else ""
    width, height = where.frame_size
    load = "unknown" if load_before is None else fixed(load_before, 2)
    return f"{threads}{pinned}, load {load} before, {where.pictures} pictures {width}x{height}"


def _run(times: VariantTimes | VariantResult) -> str:
    memory = "" if times.peak_memory_bytes is None else f", peak memory {times.peak_memory_bytes / 1e6:.0f} MB"
    return (
        f"{times.frames} frames, processor time {milliseconds(times.processor_ms)} ms a frame, "
        f"first answer after {fixed(times.first_result_ms, 0)} ms{memory}"
    )


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
    return "" if before is None or after is None else f"{fixed(before, 0)}{unit} before, {fixed(after, 0)}{unit} after"


def _energy(energy: Energy) -> str:
    if energy.watts is None:
        return f"unknown ({energy.why_not})"
    return f"{fixed(energy.watts, 2)} W on average ({energy.source})"


def _soak(soak: Soak) -> str:
    from edgewright.runtime.results.soak_figures import soak_figures

    found = soak_figures(soak)
    if found.frames_per_s is None:
        return f"soak of {soak.candidate}: {soak.note or 'too short for a figure'}"
    told = [
        f"soak of {soak.candidate}: {soak.frames} frames in {fixed(soak.seconds, 0)} s, {fixed(found.frames_per_s, 1)} a second"
    ]
    if found.first_ms is not None and found.last_ms is not None:
        slower = "" if found.slower is None else f", {fixed(found.slower, 2)} times as long"
        told.append(
            f"first tenth p50 {milliseconds(found.first_ms)} ms, last tenth {milliseconds(found.last_ms)} ms{slower}"
        )
    if found.first_mhz is not None and found.last_mhz is not None:
        told.append(f"clock {fixed(found.first_mhz, 0)} MHz, then {fixed(found.last_mhz, 0)}")
    if found.first_celsius is not None and found.hottest_celsius is not None:
        told.append(f"{fixed(found.first_celsius, 1)} C at first, {fixed(found.hottest_celsius, 1)} C at most")
    if found.held_back:
        told.append(f"held back after {fixed(found.held_back_from_s or 0, 0)} s: {', '.join(found.held_back)}")
    if found.joules_per_frame is not None:
        told.append(f"{fixed(found.joules_per_frame, 3)} J a frame")
    return "; ".join([*told, *([soak.note] if soak.note else [])])


def _table(stages: Mapping[str, Quantiles]) -> Iterator[str]:
    yield f"  {'ms':<12}{'p50':>9}{'p95':>9}{'p99':>9}"
    for stage in _STAGES:
        row = stages[stage]
        yield f"  {stage:<12}{milliseconds(row.p50):>9}{milliseconds(row.p95):>9}{milliseconds(row.p99):>9}"


def _end(left_out: Mapping[str, str], ratios: Iterable[Ratio]) -> Iterator[str]:
    from edgewright.runtime.bench import FRAMES_PER_BLOCK, MIN_PAIRS

    for name, reason in left_out.items():
        yield f"{name} was not timed: {reason}"
    for ratio in ratios:
        if ratio.pairs < MIN_PAIRS:
            yield (
                f"{ratio.variant} against {ratio.baseline}: {fixed(ratio.value, 2)} over {ratio.pairs} pairs of turns, too few "
                f"to know the spread; --runs {MIN_PAIRS * FRAMES_PER_BLOCK} or more"
            )
            continue
        spread = f"[{fixed(ratio.low, 2)} to {fixed(ratio.high, 2)}] over {ratio.pairs} pairs of turns"
        if ratio.resolved:
            yield f"{ratio.variant} is {fixed(ratio.value, 2)} times as fast as {ratio.baseline} {spread}"
        else:
            yield f"{ratio.variant} against {ratio.baseline}: not resolved, noise is larger than the effect {spread}"
