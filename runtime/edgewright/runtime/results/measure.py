"""Times a bundle on this machine and writes down under what: what ``edgewright bench BUNDLE -o RESULT.json`` does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.errors import EdgewrightError
from edgewright.bundle.reader import open_bundle
from edgewright.runtime.backends.choice import NO_WISHES
from edgewright.runtime.bench import bench_bundle, time_variants
from edgewright.runtime.candidates import read_candidate
from edgewright.runtime.conditions import board_model, emulation
from edgewright.runtime.machine import describe_machine
from edgewright.runtime.results.fastest import fastest_of
from edgewright.runtime.results.frames import golden_frames, timed_size
from edgewright.runtime.results.schema import (
    Board,
    BoardConditions,
    BundleFacts,
    Figure,
    Result,
    Setting,
    VariantResult,
    bundle_identity,
)
from edgewright.runtime.results.watch import Watch
from edgewright.runtime.verify import check_variant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgewright.bundle.manifest import Manifest
    from edgewright.bundle.reader import Bundle
    from edgewright.runtime.backends.choice import EngineOptions
    from edgewright.runtime.bench import BenchReport, BenchSettings, VariantTimes

__all__ = ["BoardTiming", "measure_board", "this_board", "tool_name"]

#: What was measured of a variant on the workstation and is worth setting beside a board's times.
_JUDGED = ("ap50", "ap50_drop", "ap", "ap_drop", "top1_accuracy", "top1_accuracy_drop", "boxes_kept", "top1_agreement")
_MOST_TURNS = 1000


@dataclass(frozen=True)
class BoardTiming:
    """How a board is timed.

    Attributes:
        settings: How long, with how many threads.
        options: What the owner of the machine says of its engines.
        every_backend: Each variant on everything that runs its format here.
        name: What people call the board; None takes its device tree's model, else its processor.
        only: Which variants, ``VARIANT`` or ``VARIANT@BACKEND`` each; all when empty.
        root: Below which ``sys`` and ``proc`` lie.
    """

    settings: BenchSettings
    options: EngineOptions = NO_WISHES
    every_backend: bool = False
    name: str | None = None
    only: tuple[str, ...] = ()
    root: Path = Path("/")


def measure_board(
    path: Path, timing: BoardTiming, on_block: Callable[[int, int], None] | None = None
) -> tuple[Result, BenchReport]:
    """Times every variant, tries its golden answers, and looks at the sensors before, between and after.

    Args:
        path: Bundle directory or ``.edge`` file.
        timing: How.
        on_block: Called with the turns done and their number.

    Returns:
        The result, and the timing itself with every frame.

    Raises:
        BundleError: The bundle is not right.
        BenchError: It carries no frames, or a variant cannot be timed.
        MissingExtraError: There is an engine for none of its variants.
    """
    watch = Watch(timing.root)

    def turn(done: int, total: int) -> None:
        watch.look()
        if on_block is not None:
            on_block(done, total)

    bench = _timed(path, timing, turn)
    after, energy = watch.finish()
    where = bench.conditions
    with open_bundle(path) as bundle:
        manifest = bundle.manifest
        facts = BundleFacts(
            manifest.name, manifest.version, bundle.digest, bundle_identity(manifest), manifest.provenance.verdict
        )
        rows = tuple(_variant_result(bundle, times, timing) for times in bench.variants)
    result = Result(
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        tool=tool_name(),
        board=this_board(timing.name, timing.root),
        bundle=facts,
        setting=Setting(
            where.threads, timing.settings.frames_per_block, where.frame_size, where.pictures, tuple(where.pinned)
        ),
        conditions=BoardConditions(watch.before, after, watch.points, where.load_before, where.load_after, energy),
        variants=rows,
        ratios=bench.ratios,
        left_out={name: _one_line(why) for name, why in bench.left_out.items()},
        fastest=fastest_of(rows),
    )
    return result, bench


def _timed(path: Path, timing: BoardTiming, turn: Callable[[int, int], None]) -> BenchReport:
    if not timing.only:
        return bench_bundle(
            path, timing.settings, on_block=turn, options=timing.options, every_backend=timing.every_backend
        )
    with open_bundle(path) as bundle:
        size = timed_size(bundle.manifest)
    frames = golden_frames(path, size)
    names = list(dict.fromkeys(timing.only))
    return time_variants(path, names, frames, timing.settings, on_block=turn, options=timing.options)


def this_board(name: str | None = None, root: Path = Path("/")) -> Board:
    """The machine this runs on.

    Args:
        name: What people call it; None takes its device tree's model, else its processor.
        root: Below which ``sys`` and ``proc`` lie.
    """
    model, machine, played = board_model(root), describe_machine(), emulation(root)
    return Board(name or model or machine.processor, model, machine, None if played is None else played.by)


def tool_name() -> str:
    """This program and its version."""
    return f"edgewright {version('edgewright')}"


def _variant_result(bundle: Bundle, times: VariantTimes, timing: BoardTiming) -> VariantResult:
    candidate = read_candidate(times.variant)
    declared = bundle.manifest.variant(candidate.variant)
    golden, note = _golden(bundle, times.variant, timing)
    return VariantResult(
        candidate=times.variant,
        variant=candidate.variant,
        format=declared.format.value,
        precision=declared.precision.value,
        sha256=declared.sha256,
        file_bytes=declared.bytes,
        engine=times.engine,
        stages=times.stages,
        processor_ms=times.processor_ms,
        frames=times.frames,
        first_result_ms=times.first_result_ms,
        turns_ms=_turns(times.totals_ms, timing.settings.frames_per_block),
        peak_memory_bytes=times.peak_memory_bytes,
        golden=golden,
        golden_note=note,
        judged=_judged(bundle.manifest, candidate.variant),
    )


def _golden(bundle: Bundle, name: str, timing: BoardTiming) -> tuple[bool | None, str]:
    candidate = read_candidate(name)
    try:
        checks = check_variant(
            bundle, candidate.variant, timing.settings.threads, backend=candidate.backend, options=timing.options
        )
    except EdgewrightError as error:
        return None, _one_line(str(error))
    wrong = [check for check in checks if not check.ok]
    if not wrong:
        return True, ""
    worst = max(wrong, key=lambda check: check.max_difference / check.tolerance if check.tolerance else 0.0)
    off = f"output {worst.output!r} is off by {worst.max_difference:.3g}, {worst.tolerance:.3g} is allowed"
    return False, _one_line(off)


def _turns(totals: Sequence[float], length: int) -> tuple[float, ...]:
    """The median of each turn; of very many, evenly spread ones, the same for every variant."""
    import statistics

    count = len(totals) // length
    step = max(1, -(-count // _MOST_TURNS))
    return tuple(
        round(statistics.median(totals[turn * length : (turn + 1) * length]), 4) for turn in range(0, count, step)
    )


def _judged(manifest: Manifest, variant: str) -> dict[str, Figure]:
    """The float model's own figures stand under ``float``, whatever its variant is called in another format."""
    precision = manifest.variant(variant).precision.value
    names = {variant, "float"} if precision.startswith("float") else {variant}
    return {
        row.name: Figure(row.value, row.low, row.high, row.samples)
        for row in manifest.metrics
        if row.variant in names and row.name in _JUDGED
    }


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]
