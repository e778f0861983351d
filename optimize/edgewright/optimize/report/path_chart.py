"""Accuracy against latency after every step, as inline SVG, with the front that no other file is before."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from edgewright.optimize.report.svg import WIDTH, round_ticks, svg

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["path_chart", "path_front"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 34, 46
_HEIGHT = 320
_LABEL = 13  # between two numbers that would lie on each other


def path_front(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Which rows no other one beats in both accuracy and latency, the fastest first.

    Args:
        rows: Of the report's ``story.path``.
    """
    order = sorted(range(len(rows)), key=lambda k: (rows[k]["p50_ms"], -_quality(rows[k])))
    front: list[int] = []
    for k in order:
        if not front or _quality(rows[k]) > _quality(rows[front[-1]]):
            front.append(k)
    return front


def path_chart(rows: Sequence[Mapping[str, Any]]) -> str:
    """One dot a file, numbered as the rows are, with the interval of its accuracy; a line along the front.

    Args:
        rows: Of the report's ``story.path``; accuracy against labels, or agreement with float where there are none.

    Returns:
        An SVG element, empty where nothing was measured.
    """
    drawn = [(number, row) for number, row in enumerate(rows, start=1) if _figure(row) is not None]
    # The last step's file and the shipped one may be the same, measured twice: the later row is what is shipped.
    once = {_file(row): (number, row) for number, row in drawn}
    numbers, shown = [number for number, _ in once.values()], [row for _, row in once.values()]
    if len(shown) < 2:
        return ""
    lows = [float((_figure(row) or (0, 0, 0))[1]) for row in shown]
    highs = [float((_figure(row) or (0, 0, 0))[2]) for row in shown]
    end = 1.1 * max(row["p50_ms"] for row in shown)
    pad = 0.08 * max(max(highs) - min(lows), 1e-3)
    # Nothing is better than all of it.
    low, high = max(0.0, min(lows) - pad), min(1.0, max(highs) + pad)

    def x(value: float) -> float:
        return float(round(_LEFT + value / end * (WIDTH - _LEFT - _RIGHT), 1))

    def y(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    parts = _axes(x, y, end, (low, high), "agreement" if shown[0]["accuracy"] is None else "accuracy")
    front = path_front(shown)
    points = " ".join(f"{x(shown[k]['p50_ms'])},{y(_quality(shown[k]))}" for k in front)
    parts.append(f'<polyline class="front" points="{points}"/>')
    kinds = list(dict.fromkeys(row["format"] for row in shown))
    taken: list[tuple[float, float]] = []
    for number, row in zip(numbers, shown, strict=True):
        value, least, most = _figure(row) or (0.0, 0.0, 0.0)
        across, down = x(row["p50_ms"]), y(value)
        parts += [
            f'<line class="whisker" x1="{across}" x2="{across}" y1="{y(least)}" y2="{y(most)}"/>',
            f'<circle class="v{kinds.index(row["format"])}" cx="{across}" cy="{down}" r="5"/>',
        ]
        level = _free(across, down, taken)
        name = escape(f"{row['step']} ({row['format']})")
        parts.append(f'<text class="name" x="{across + 9}" y="{level + 4}">{number}<title>{name}</title></text>')
    return svg(_HEIGHT, "accuracy against median time of a frame, after every step", parts)


def _free(across: float, down: float, taken: list[tuple[float, float]]) -> float:
    """A height for a label at which no other one lies."""
    level = down
    while any(abs(level - other) < _LABEL and abs(across - there) < 2 * _LABEL for there, other in taken):
        level += _LABEL
    taken.append((across, level))
    return level


def _axes(
    x: Callable[[float], float], y: Callable[[float], float], end: float, span: tuple[float, float], title: str
) -> list[str]:
    parts = []
    bottom = _HEIGHT - _BOTTOM
    for at in round_ticks(0.0, end):
        parts.append(f'<line class="grid" x1="{x(at)}" x2="{x(at)}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x(at)}" y="{bottom + 18}" text-anchor="middle">{at:.6g}</text>')
    for percent in round_ticks(100 * span[0], 100 * span[1]):
        level = y(percent / 100)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{level}" y2="{level}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{level + 4}" text-anchor="end">{percent:.6g}</text>')
    parts.append(
        f'<text class="tick" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{bottom + 36}" text-anchor="middle">ms</text>'
    )
    parts.append(f'<text class="tick" x="4" y="12">{title}, percent</text>')
    return parts


def _file(row: Mapping[str, Any]) -> tuple[object, ...]:
    """What tells two files apart, as far as rows tell."""
    agreement = row["agreement"]
    kept = None if agreement is None else agreement[0]
    return row["format"], row["precision"], row["bytes"], row["parameters"], row["macs"], kept


def _figure(row: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """The accuracy as a share, with its interval; the agreement with float where there are no labels."""
    if row["accuracy"] is not None:
        return _interval(row["accuracy"], 1.0)
    if row["step"] == "float":
        return 1.0, 1.0, 1.0
    if row["agreement"] is None:
        return None
    return _interval(row["agreement"], 100.0)


def _interval(figure: Sequence[float | None], whole: float) -> tuple[float, float, float]:
    """As shares; without an interval the value itself stands for both ends."""
    value = (figure[0] or 0.0) / whole
    low, high = (value if end is None else end / whole for end in figure[1:])
    return value, low, high


def _quality(row: Mapping[str, Any]) -> float:
    found = _figure(row)
    return -1.0 if found is None else found[0]
