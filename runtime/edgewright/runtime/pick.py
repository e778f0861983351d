"""Finding what runs a bundle fastest on this machine.

Only what repeats its golden answers on this machine may win; the bundle's first variant
keeps its place unless another is faster by more than the noise (the 95 % interval of the ratio of alternating turns).
Accuracy is not weighed again: every integer variant of a bundle was judged against its contract when it was made.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from edgewright.bundle.reader import open_bundle
from edgewright.runtime.backends.choice import NO_WISHES
from edgewright.runtime.bench import bench_bundle
from edgewright.runtime.bench_process import BenchError
from edgewright.runtime.bench_ratio import MIN_PAIRS, ratio_of
from edgewright.runtime.candidates import read_candidate
from edgewright.runtime.picks import Pick, engines_of
from edgewright.runtime.verify import check_variant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgewright.bundle.reader import Bundle
    from edgewright.runtime.backends.choice import EngineOptions
    from edgewright.runtime.bench import BenchReport, BenchSettings
    from edgewright.runtime.candidates import Candidate

__all__ = ["PickReport", "against_next", "pick_fastest", "winner_of"]


@dataclass(frozen=True)
class PickReport:
    """What ``pick_fastest`` measured and chose.

    Attributes:
        pick: The winner, ready to be stored.
        bench: Every candidate's times.
        excluded: Candidates that could not win, and why.
    """

    pick: Pick
    bench: BenchReport
    excluded: Mapping[str, str]


def pick_fastest(
    path: Path,
    settings: BenchSettings,
    *,
    options: EngineOptions = NO_WISHES,
    on_block: Callable[[int, int], None] | None = None,
) -> PickReport:
    """Times every variant of a bundle on every backend of this machine and chooses.

    Args:
        path: Bundle directory or ``.edge`` file.
        settings: How long and how.
        options: What the owner of the machine says of its engines.
        on_block: Called with the turns done and their number.

    Raises:
        BundleError: The bundle is not right.
        BenchError: It carries no frames, or nothing of it runs and gives the golden answers here.
        MissingExtraError: There is an engine for none of its variants.
    """
    bench = bench_bundle(path, settings, on_block=on_block, options=options, every_backend=True)
    timed = [row.variant for row in bench.variants]
    excluded = dict(bench.left_out)
    with open_bundle(path) as bundle:
        for name in timed:
            problem = _wrong_answers(bundle, read_candidate(name), settings.threads, options)
            if problem is not None:
                excluded[name] = problem
        digest, title = bundle.digest, bundle.manifest.name
    fair = [name for name in timed if name not in excluded]
    if not fair:
        msg = f"nothing of {path} gives its golden answers on this machine: {'; '.join(excluded.values())}"
        raise BenchError(msg)
    medians = {row.variant: _block_medians(row.totals_ms, settings.frames_per_block) for row in bench.variants}
    winner = winner_of(fair, medians)
    times = {row.variant: row.stages["total"].p50 for row in bench.variants}
    pick = Pick(
        digest=digest,
        name=title,
        machine=str(bench.conditions.machine),
        threads=settings.threads,
        candidate=winner,
        p50_ms=times,
        engines=engines_of(timed),
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        reason=against_next(winner, {name: times[name] for name in fair}, medians),
    )
    return PickReport(pick, bench, excluded)


def winner_of(names: Sequence[str], medians: Mapping[str, Sequence[float]]) -> str:
    """The fastest; within the noise, the one that comes first.

    Args:
        names: In the order of preference.
        medians: Median time of each turn, by name; turns of one number were neighbours.
    """
    champion = names[0]
    for _ in names:  # each step gains more than the noise, so this ends long before
        better = (name for name in names if name != champion and _beats(name, champion, medians))
        challenger = next(better, None)
        if challenger is None:
            break
        champion = challenger
    return champion


def against_next(winner: str, times: Mapping[str, float], medians: Mapping[str, Sequence[float]]) -> str:
    """How the winner stands against the runner-up, in words: the ratio with its interval, and whether it is a tie.

    Args:
        winner: Name of the winner.
        times: Median time, in ms, of each that could have won; the runner-up is the fastest of the others.
        medians: Median time of each turn, by name.
    """
    others = [name for name in times if name != winner]
    if not others:
        return f"{times[winner]:.3g} ms, and nothing else was compared"
    runner_up = min(others, key=lambda name: times[name])
    ratio = ratio_of(runner_up, winner, medians)
    p50 = f"p50 {times[winner]:.3g} and {times[runner_up]:.3g} ms"
    if ratio.pairs < MIN_PAIRS:
        return (
            f"a tie with {runner_up}: {ratio.value:.2f} times as fast over {ratio.pairs} pairs of turns, too few to know the "
            f"spread, {p50}, so the bundle's order decides"
        )
    figures = (
        f"{ratio.value:.2f} times as fast as {runner_up} [{ratio.low:.2f} to {ratio.high:.2f}] turn by turn, {p50}"
    )
    return figures if ratio.resolved else f"a tie within the noise: {figures}, so the bundle's order decides"


def _wrong_answers(bundle: Bundle, candidate: Candidate, threads: int, options: EngineOptions) -> str | None:
    checks = check_variant(bundle, candidate.variant, threads, backend=candidate.backend, options=options)
    worst = next((check for check in checks if not check.ok), None)
    if worst is None:
        return None
    return (
        f"{candidate} does not give the golden answers here: output {worst.output!r} is off by {worst.max_difference:.3g}, "
        f"{worst.tolerance:.3g} is allowed"
    )


def _block_medians(totals: Sequence[float], length: int) -> list[float]:
    return [statistics.median(totals[start : start + length]) for start in range(0, len(totals), length)]


def _beats(name: str, champion: str, medians: Mapping[str, Sequence[float]]) -> bool:
    ratio = ratio_of(champion, name, medians)
    return ratio.resolved and ratio.value > 1.0
