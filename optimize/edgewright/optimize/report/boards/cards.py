"""What a board's card says of its choice: the figures that decide, and what they were taken under."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.bundle.figures import fixed, milliseconds
from edgewright.optimize.report.boards.words import metric_name
from edgewright.optimize.sizes import format_bytes
from edgewright.runtime.bench import MIN_PAIRS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["card_figures", "conditions_line", "percent", "points", "ratio_note"]


def card_figures(board: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The chosen variant in figures: what, how much, and the rest in small; empty where nothing was chosen.

    Args:
        board: Of the page's values.
    """
    row = next((row for row in board["rows"] if row["candidate"] == board["choice"]["candidate"]), None)
    return [] if row is None else list(_figures(board, row))


def _figures(board: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    total, alone = row["stages"]["total"], milliseconds(row["stages"]["inference"]["p50"])
    spread = f"median; p95 {milliseconds(total['p95'])}, p99 {milliseconds(total['p99'])}, the model alone {alone}"
    yield "time of a frame", f"{milliseconds(total['p50'])} ms", spread
    if row["ratio"] is not None:
        yield "against float", f"{fixed(row['ratio']['value'], 2)}x", ratio_note(row["ratio"])
    quality = row["quality"]
    where = "" if quality is None else ("this board" if quality["on_board"] else "workstation")
    if quality is None:
        yield "accuracy", "unknown", "neither judged on this board nor when the bundle was made"
    elif quality["samples"] or quality["low"] < quality["high"]:
        interval = f"[{fixed(100 * quality['low'], 1)} to {fixed(100 * quality['high'], 1)}]"
        yield metric_name(quality["metric"]), f"{fixed(100 * quality['value'], 1)} %", f"{interval}, {where}"
    else:
        yield "accuracy", "the measure", "float, which the others are held against"
    there, judged = row["drop_there"], row["drop_judged"]
    if there is not None:
        doubt = f"; {there['doubt']}" if there["doubt"] else ""
        yield (
            "lost",
            f"{fixed(there['drop']['value'], 2)} points",
            f"{_interval(there['drop'], 1.0)}, this board against {there['reference']}{doubt}",
        )
    elif judged is not None:
        yield "lost", f"{fixed(100 * judged['value'], 2)} points", f"{_interval(judged, 100.0)}, workstation"
    memory = row["peak_memory_bytes"]
    size = f"model file {format_bytes(row['file_bytes'])}"
    yield "peak memory", "unknown" if memory is None else format_bytes(memory), size
    soak = board["soak"]
    if soak is not None and soak["candidate"] == row["candidate"] and soak["joules_per_frame"] is not None:
        yield "energy", f"{fixed(soak['joules_per_frame'], 3)} J", "a frame of the long run, whole machine"


def ratio_note(ratio: Mapping[str, Any]) -> str:
    """What a ratio is worth, and against whom."""
    if ratio["pairs"] < MIN_PAIRS:
        return f"as fast as {ratio['baseline']}, too few turns to know the spread"
    noise = "" if ratio["resolved"] else ", within the noise"
    return f"as fast as {ratio['baseline']} [{fixed(ratio['low'], 2)} to {fixed(ratio['high'], 2)}]{noise}"


def percent(figure: Mapping[str, Any]) -> str:
    """A share in percent with its interval; without one where it is exact."""
    value, low, high = (fixed(100 * figure[key], 1) for key in ("value", "low", "high"))
    return value if figure["low"] == figure["high"] and not figure["samples"] else f"{value} [{low} to {high}]"


def points(figure: Mapping[str, Any], factor: float = 1.0) -> str:
    """Points with their interval."""
    return f"{fixed(figure['value'] * factor, 2)} {_interval(figure, factor)}"


def _interval(figure: Mapping[str, Any], factor: float) -> str:
    return f"[{fixed(figure['low'] * factor, 2)} to {fixed(figure['high'] * factor, 2)}]"


def conditions_line(board: Mapping[str, Any]) -> str:
    """What the times were taken under, in one line; what nothing tells comes last.

    Args:
        board: Of the page's values.
    """
    seen = board["conditions"]
    told, unknown = [], []
    for what, text in (
        ("governor", ", ".join(seen["governors"])),
        ("clock", _change(seen["clock_mhz"], "MHz")),
        ("temperature", _change(seen["celsius"], "°C")),
        ("power", "" if seen["watts"] is None else f"{fixed(seen['watts'], 2)} W"),
    ):
        if text:
            told.append(f"{what} {text}")
        else:
            unknown.append(what)
    if seen["throttled"] is None:
        unknown.append("throttling")
    else:
        told.append(f"throttled: {', '.join(seen['throttled'])}" if seen["throttled"] else "not throttled")
    return ", ".join(told) + ("; " if told and unknown else "") + (f"unknown: {', '.join(unknown)}" if unknown else "")


def _change(values: list[float | None], unit: str) -> str:
    """Before and after; one of them where they do not differ."""
    told = list(dict.fromkeys("unknown" if value is None else fixed(value, 0) for value in values))
    return "" if told == ["unknown"] else f"{' to '.join(told)} {unit}"
