"""What ``scripts/prove_smaller`` reads out of a report of ``edgewright optimize``, and when a promise is kept.

A promise is kept (true) where the whole interval keeps it, broken (false) where the whole interval breaks it, and not told
(null) in between.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["all_of", "at_least", "at_most", "paired_difference", "read_person", "read_pruned", "rounded"]

MACS_LEFT, PRUNED_FASTER, PRUNED_LOST = 0.5, 1.5, 1.0
INT8_FASTER, INT8_SMALLER, INT8_LOST = 3.0, 6.0, 1.5
PERSON_MACS_LEFT, PERSON_FASTER, PERSON_LOST = 0.7, 2.5, 3.0
FLOAT = "float"


def read_pruned(report: dict[str, Any]) -> dict[str, Any]:
    """Half of the multiplications, then INT8: figures by format, and whether each promise is kept.

    Args:
        report: ``report.json`` of a run with a prune step.

    Returns:
        JSON values; ``proved`` needs every promise in every format.
    """
    formats: dict[str, dict[str, Any]] = {}
    for name, (before, pruned, int8) in _ways(report).items():
        kept = {
            "macs": pruned["macs"] / before["macs"] <= MACS_LEFT,
            "pruned_faster": at_least(pruned["speedup"], PRUNED_FASTER),
            "pruned_lost": at_most(pruned["drop"], PRUNED_LOST),
            "int8_faster": at_least(int8["speedup"], INT8_FASTER),
            "int8_smaller": before["bytes"] / int8["bytes"] >= INT8_SMALLER,
            "int8_lost": at_most(int8["drop"], INT8_LOST),
            "steps": _no_failures(before, pruned, int8),
        }
        rows = {FLOAT: before, "pruned": pruned, "int8": int8}
        figures = {step: _figures(row, before) for step, row in rows.items()}
        formats[name] = {"proved": all_of(kept.values()), "kept": kept, **figures}
    proved = all_of(found["proved"] for found in formats.values()) if formats else None
    return {"proved": proved, "formats": formats}


def read_person(report: dict[str, Any]) -> dict[str, Any]:
    """A detector with fewer multiplications and INT8: figures by format, and whether each promise is kept.

    Args:
        report: ``report.json`` of a run with a prune step.

    Returns:
        JSON values; ``proved`` needs one format that keeps every promise.
    """
    formats: dict[str, dict[str, Any]] = {}
    for name, (before, pruned, int8) in _ways(report).items():
        kept = {
            "macs": int8["macs"] / before["macs"] <= PERSON_MACS_LEFT,
            "lost": at_most(int8["drop"], PERSON_LOST),
            "faster": at_least(int8["speedup"], PERSON_FASTER),
            "steps": _no_failures(before, pruned, int8),
        }
        rows = {FLOAT: before, "pruned": pruned, "int8": int8}
        figures = {step: _figures(row, before) for step, row in rows.items()}
        formats[name] = {"proved": all_of(kept.values()), "kept": kept, **figures}
    answers = [found["proved"] for found in formats.values()]
    proved = True if True in answers else None if None in answers or not answers else False
    return {"proved": proved, "formats": formats}


def at_least(figure: Sequence[float | None] | None, limit: float) -> bool | None:
    """Whether ``[value, low, high]`` reaches a limit."""
    if figure is None or figure[1] is None or figure[2] is None:
        return None
    return True if figure[1] >= limit else None if figure[2] >= limit else False


def at_most(figure: Sequence[float | None] | None, limit: float) -> bool | None:
    """Whether ``[value, low, high]`` stays within a limit."""
    if figure is None or figure[1] is None or figure[2] is None:
        return None
    return True if figure[2] <= limit else None if figure[1] <= limit else False


def all_of(answers: Iterable[bool | None]) -> bool | None:
    """False where one is, else None where one cannot be told."""
    found = list(answers)
    return False if False in found else None if None in found else True


def paired_difference(better: Sequence[float], other: Sequence[float]) -> list[float]:
    """Mean of ``better - other`` over pairs, and its 95 % interval by Student's t; infinite with fewer than two pairs."""
    from scipy import stats

    apart = [first - second for first, second in zip(better, other, strict=True)]
    mean = statistics.fmean(apart)
    if len(apart) < 2:
        return [mean, -math.inf, math.inf]
    half = float(stats.t.ppf(0.975, len(apart) - 1)) * statistics.stdev(apart) / math.sqrt(len(apart))
    return [mean, mean - half, mean + half]


def rounded(figure: Sequence[float | None] | None, digits: int = 2) -> list[float | None] | None:
    """For people; what is infinite or unknown is None."""
    if figure is None:
        return None
    return [None if value is None or not math.isfinite(value) else round(value, digits) for value in figure]


def _ways(report: dict[str, Any]) -> dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """By format: the float file, the last float file before INT8, and the INT8 file."""
    ways = {}
    path = report["story"]["path"]
    for name in dict.fromkeys(row["format"] for row in path):
        rows = [row for row in path if row["format"] == name]
        before = next(row for row in rows if row["step"] == FLOAT)
        pruned = [row for row in rows if row is not before and row["precision"] == "float32"]
        int8 = [row for row in rows if row["precision"] == "int8"]
        if pruned and int8:
            ways[name] = (before, pruned[-1], int8[-1])
    return ways


def _figures(row: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    return {
        "macs": row["macs"],
        "macs_left": round(row["macs"] / before["macs"], 4),
        "parameters": row["parameters"],
        "bytes": row["bytes"],
        "times_smaller": round(before["bytes"] / row["bytes"], 2),
        "p50_ms": round(row["p50_ms"], 4),
        "times_faster": rounded(row["speedup"]),
        row["metric"] or "accuracy": rounded(row["accuracy"], 4),
        "points_lost": rounded(row["drop"]),
        "failures": row["failures"],
    }


def _no_failures(*rows: dict[str, Any]) -> bool:
    return not any(row["failures"] for row in rows)
