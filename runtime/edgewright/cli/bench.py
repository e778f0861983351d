"""`edgewright bench`: times every variant of a bundle on this machine."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.errors import ExitCode
from edgewright.cli.arguments import add_engine_arguments, threads_argument

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from edgewright.runtime.backends.choice import EngineOptions
    from edgewright.runtime.bench import BenchReport, BenchSettings

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG = """\
examples:
  edgewright bench person.edge
  edgewright bench person.edge --threads 2 --runs 500 --json
  edgewright bench person.edge --pick          # 'edgewright run person.edge' then takes the fastest

Each variant runs in a process of its own and they take turns; a bundle made with --keep-float gives the ratio, too.
--pick times every variant on every backend that this machine has, leaves out what does not give the golden answers
here, and keeps the winner for this machine, bundle, engines and number of threads. A tie keeps the bundle's order.
"""
_STAGES = ("preprocess", "inference", "decode", "total")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="bundle directory or .edge file")
    parser.add_argument(
        "--threads", type=threads_argument, default=1, metavar="N", help="threads of the engine (default 1)"
    )
    parser.add_argument("--runs", type=int, default=240, metavar="N", help="timed frames a variant (default 240)")
    parser.add_argument("--pick", action="store_true", help="time every backend and keep the winner for 'run'")
    add_engine_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")


def run(args: argparse.Namespace) -> int:
    """Times the bundle and prints what was found."""
    from edgewright.device_profiles.profile import load_profile
    from edgewright.runtime.backends.choice import engine_cache_folder, engine_options
    from edgewright.runtime.bench import bench_bundle, settings_for

    settings = settings_for(args.runs, args.threads)
    on_block = None if args.json else _show_progress
    profile = None if args.profile is None else load_profile(args.profile)
    cache = args.engine_cache or engine_cache_folder()
    options = engine_options(profile, args.delegate, args.delegate_option or (), cache)
    if args.pick:
        return _pick(args, settings, options, on_block)
    report = bench_bundle(args.bundle, settings, on_block=on_block, options=options)
    print(json.dumps(_as_json(report)) if args.json else "\n".join(_lines(report)))
    return ExitCode.OK


def _pick(
    args: argparse.Namespace,
    settings: BenchSettings,
    options: EngineOptions,
    on_block: Callable[[int, int], None] | None,
) -> int:
    from edgewright.runtime.pick import pick_fastest
    from edgewright.runtime.picks import picks_path, read_picks, store_pick

    path = args.picks or picks_path()
    read_picks(path)  # a file that is none should be told before minutes of timing
    found = pick_fastest(args.bundle, settings, options=options, on_block=on_block)
    store_pick(path, found.pick)
    if args.json:
        told = {"pick": asdict(found.pick), "excluded": dict(found.excluded), "picks": str(path)}
        print(json.dumps({**_as_json(found.bench), **told}))
        return ExitCode.OK
    print("\n".join(_lines(found.bench)))
    for name, reason in found.excluded.items():
        if name not in found.bench.left_out:
            print(f"{name} cannot be picked: {reason}")
    print(f"picked {found.pick.candidate}: {found.pick.reason}")
    print("only speed was compared: what a variant may lose was judged when the bundle was made")
    print(f"kept in {path}; 'edgewright run' uses it")
    return ExitCode.OK


def _as_json(report: BenchReport) -> dict[str, object]:
    ratios = [{**asdict(ratio), "resolved": ratio.resolved} for ratio in report.ratios]
    return {**asdict(report), "ratios": ratios}


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\rtiming: turn {done} of {total}" + ("\n" if done == total else ""))
        sys.stderr.flush()
    elif done == 1:
        sys.stderr.write(f"timing in {total} turns ...\n")


def _lines(report: BenchReport) -> Iterator[str]:
    from edgewright.runtime.bench import FRAMES_PER_BLOCK, MIN_PAIRS

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
        yield f"  {'ms':<12}{'p50':>9}{'p95':>9}{'p99':>9}"
        for stage in _STAGES:
            row = times.stages[stage]
            yield f"  {stage:<12}{row.p50:>9.2f}{row.p95:>9.2f}{row.p99:>9.2f}"
    for name, reason in report.left_out.items():
        yield f"{name} was not timed: {reason}"
    for ratio in report.ratios:
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
