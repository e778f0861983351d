"""Results of several boards as one set of JSON values; the page and the Markdown are drawn from it and nothing else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgewright.bundle.text import plain_values
from edgewright.optimize.report.boards.choice import NO_PROMISES, choose, shown_quality, together
from edgewright.runtime.results.soak_figures import soak_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgewright.optimize.contract import Contract
    from edgewright.optimize.report.boards.choice import Choice
    from edgewright.runtime.results.schema import Result
    from edgewright.runtime.results.signing import Signature

__all__ = ["BOARDS_VERSION", "Measurement", "merge"]

BOARDS_VERSION = 1


@dataclass(frozen=True)
class Measurement:
    """One result file.

    Attributes:
        file: Its name, for people; another one for each file.
        result: What it says.
        signature: What is known of who says so.
    """

    file: str
    result: Result
    signature: Signature


def merge(measurements: Sequence[Measurement], promises: Contract = NO_PROMISES) -> dict[str, Any]:
    """Sets boards side by side.

    Args:
        measurements: At least one.
        promises: Limits for the choice.

    Returns:
        JSON values; boards in the order given, bundles in that of their first board.
    """
    titles = _titles(measurements)
    identities = list(dict.fromkeys(one.result.bundle.identity for one in measurements))
    number = 0
    boards: list[dict[str, Any]] = []
    choices = [choose(one.result, promises) for one in measurements]
    for one, title, choice in zip(measurements, titles, choices, strict=True):
        rows = _rows(one.result, number)
        number += len(rows)
        bundle = identities.index(one.result.bundle.identity)
        boards.append({**_board(one, title, choice), "colour": len(boards), "bundle": bundle, "rows": rows})
    limits = {name: value for name, value in asdict(promises).items() if value is not None}
    data = {
        "schema": {"name": "edgewright-boards", "version": BOARDS_VERSION},
        "made": max(one.result.made for one in measurements),
        "promises": limits,
        "verdict": together(choices, promises).value,
        "machines": len({_machine(one.result) for one in measurements}),
        "bundles": [_bundle(identity, measurements) for identity in identities],
        "boards": boards,
    }
    found: dict[str, Any] = plain_values(data)
    return found


def _machine(result: Result) -> tuple[object, ...]:
    """What tells machines apart: nothing else does, so boards of one make want names (``bench --board``)."""
    board = result.board
    machine = board.machine
    return board.name, board.model, machine.processor, machine.architecture, machine.cores, board.emulated_by


def _titles(measurements: Sequence[Measurement]) -> list[str]:
    """A name for each: what tells apart those that bear the same is added, threads first, then when, then the file."""
    tell: tuple[Callable[[Measurement], str], ...] = (
        lambda one: f", {one.result.setting.threads} thread{'' if one.result.setting.threads == 1 else 's'}",
        lambda one: f", {one.result.made[:16].replace('T', ' ')}",
        lambda one: f" ({one.file})",
    )
    names = [one.result.board.name or one.result.board.machine.processor or "unnamed" for one in measurements]
    for what in tell:
        words = [what(one) for one in measurements]
        kinds = {name: {word for other, word in zip(names, words, strict=True) if other == name} for name in names}
        names = [name + word if len(kinds[name]) > 1 else name for name, word in zip(names, words, strict=True)]
    return [f"{name} #{names[:at].count(name) + 1}" if names.count(name) > 1 else name for at, name in enumerate(names)]


def _bundle(identity: str, measurements: Sequence[Measurement]) -> dict[str, Any]:
    own = [one.result.bundle for one in measurements if one.result.bundle.identity == identity]
    digests = list(dict.fromkeys(facts.digest for facts in own))
    return {
        "name": own[0].name,
        "version": own[0].version,
        "verdict": own[0].verdict,
        "identity": identity,
        "digests": digests,
    }


def _board(one: Measurement, title: str, choice: Choice) -> dict[str, Any]:
    result = one.result
    seen = result.conditions
    return {
        "title": title,
        "file": one.file,
        "made": result.made,
        "tool": result.tool,
        "signature": str(one.signature),
        "signed": bool(one.signature.signer),
        "emulated": result.board.emulated,
        "emulated_by": result.board.emulated_by,
        "model": result.board.model,
        "machine": asdict(result.board.machine),
        "setting": asdict(result.setting),
        "conditions": {
            "governors": sorted(set(seen.before.governors.values())),
            "clock_mhz": [seen.before.mean_clock_mhz, seen.after.mean_clock_mhz],
            "celsius": [seen.before.hottest, seen.after.hottest],
            "throttled": None if seen.throttled is None else list(seen.throttled),
            "since_start": list(seen.after.throttle.since_start) if seen.after.throttle is not None else [],
            "throttle_source": None if seen.after.throttle is None else seen.after.throttle.source,
            "memory_total_bytes": seen.after.memory_total_bytes,
            "memory_available_bytes": seen.before.memory_available_bytes,
            "load": [seen.load_before, seen.load_after],
            "watts": None if seen.energy is None else seen.energy.watts,
            "energy_source": None if seen.energy is None else seen.energy.source or seen.energy.why_not,
            "missing": dict(seen.after.missing),
        },
        "left_out": dict(result.left_out),
        "soak": _soak(result),
        "choice": {
            "candidate": choice.candidate,
            "why": choice.why,
            "out": [list(pair) for pair in choice.out],
            "cautions": list(choice.cautions),
            "status": choice.status.value,
            "clauses": [[status.value, sentence] for status, sentence in choice.clauses],
        },
    }


def _rows(result: Result, first: int) -> list[dict[str, Any]]:
    rows = []
    for place, row in enumerate(result.variants, start=1):
        quality = shown_quality(result, row)
        ratio = next((each for each in result.ratios if each.variant == row.candidate), None)
        said = next((each for each in result.accuracy if each.variant == row.candidate), None)
        drop = next((row.judged[name] for name in row.judged if name.endswith("_drop")), None)
        rows.append(
            {
                "number": first + place,
                "candidate": row.candidate,
                "precision": row.precision,
                "format": row.format,
                "engine": row.engine,
                "file_bytes": row.file_bytes,
                "stages": {name: asdict(times) for name, times in row.stages.items()},
                "frames": row.frames,
                "peak_memory_bytes": row.peak_memory_bytes,
                "first_result_ms": row.first_result_ms,
                "golden": row.golden,
                "golden_note": row.golden_note,
                "ratio": None if ratio is None else {**asdict(ratio), "resolved": ratio.resolved},
                "quality": None
                if quality is None
                else {"metric": quality[0], **asdict(quality[1]), "on_board": quality[2]},
                "drop_there": None if said is None else asdict(said),
                "drop_judged": None if drop is None else asdict(drop),
            }
        )
    return rows


def _soak(result: Result) -> dict[str, Any] | None:
    return None if result.soak is None else {**asdict(result.soak), **asdict(soak_figures(result.soak))}
