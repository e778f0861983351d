"""The charts of the page of boards, as inline SVG; colours come from the page's style sheet, one a board."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from edgewright.optimize.report.svg import WIDTH, svg

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["COLOURS", "front_chart", "times_chart", "trend_chart"]

COLOURS = 8
"""Boards that a colour of their own is there for; further ones begin again."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 30, 46
_LABEL = 13
_NAMES = 250


def front_chart(boards: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Quality against median time, every variant of every real board; a line along the front of all.

    Args:
        boards: Of the page's values, of one bundle.
        metric: Which quality; rows of another are not shown.

    Returns:
        An SVG element, empty where less than two files can be compared.
    """
    rows = [
        (number, row)
        for number, board in _real(boards)
        for row in board["rows"]
        if row["quality"] is not None and row["quality"]["metric"] == metric and row["golden"] is not False
    ]
    if len(rows) < 2:
        return ""
    height = 340
    low, high = min(row["quality"]["low"] for _, row in rows), max(row["quality"]["high"] for _, row in rows)
    pad = 0.08 * max(high - low, 1e-3)
    low, high = low - pad, high + pad
    times = [row["stages"]["total"]["p50"] for _, row in rows]
    end = 1.1 * max(times)

    def x(value: float) -> float:
        return float(round(_LEFT + value / end * (WIDTH - _LEFT - _RIGHT), 1))

    def y(value: float) -> float:
        return float(round(_TOP + (high - value) / (high - low) * (height - _TOP - _BOTTOM), 1))

    parts = [*_grid_x(x, end, _TOP, height - _BOTTOM, "ms, median of a frame"), *_grid_y(y, low, high, 100.0)]
    front: list[Mapping[str, Any]] = []
    for _, row in sorted(rows, key=lambda pair: (pair[1]["stages"]["total"]["p50"], -pair[1]["quality"]["value"])):
        if not front or row["quality"]["value"] > front[-1]["quality"]["value"]:
            front.append(row)
    points = " ".join(f"{x(row['stages']['total']['p50'])},{y(row['quality']['value'])}" for row in front)
    parts.append(f'<polyline class="front" points="{points}"/>')
    taken: list[tuple[float, float]] = []
    for number, row in rows:
        across, quality = x(row["stages"]["total"]["p50"]), row["quality"]
        kind = "solid" if quality["on_board"] else "hollow"
        parts += [
            f'<line class="whisker" x1="{across}" x2="{across}" y1="{y(quality["low"])}" y2="{y(quality["high"])}"/>',
            f'<circle class="{kind} b{number % COLOURS}" cx="{across}" cy="{y(quality["value"])}" r="5.5"/>',
        ]
        level = _free(across, y(quality["value"]), taken)
        name = escape(f"{row['candidate']}: {100 * quality['value']:.1f}, {row['stages']['total']['p50']:.2f} ms")
        parts.append(
            f'<text class="name" x="{across + 10}" y="{level + 4}">{row["number"]}<title>{name}</title></text>'
        )
    return svg(height, f"{escape(metric)} in percent against median time of a frame, by board and variant", parts)


def times_chart(boards: Sequence[Mapping[str, Any]]) -> str:
    """Median, 95th and 99th percentile of every variant of every board on one scale, a bar each.

    Args:
        boards: Of the page's values.

    Returns:
        An SVG element.
    """
    rows = [(board["colour"], board, row) for board in boards for row in board["rows"]]
    end = 1.04 * max(row["stages"]["total"]["p99"] for _, board, row in rows if not board["emulated"] or _only(boards))
    step, height = 26, 26 * len(rows) + 20 * len(boards) + _BOTTOM + 6

    def x(value: float) -> float:
        return float(round(_NAMES + min(value / end, 1.0) * (WIDTH - _NAMES - _RIGHT), 1))

    parts = _grid_x(x, end, 6, height - _BOTTOM, "ms")
    level, last = 6.0, -1
    for number, board, row in rows:
        if number != last:
            level += 20
            mark = " (emulated, no times of a board)" if board["emulated"] else ""
            parts.append(f'<text class="board" x="0" y="{level - 4}">{escape(board["title"] + mark)}</text>')
            last = number
        total, middle = row["stages"]["total"], level + step / 2
        tint = "emulated" if board["emulated"] else f"b{number % COLOURS}"
        beyond = total["p99"] > end
        name = escape(f"{row['number']} {_short(row['candidate'])}")
        parts += [
            f'<text class="name" x="{_NAMES - 10}" y="{middle + 4}" text-anchor="end">{name}</text>',
            f'<rect class="{tint}" x="{_NAMES}" y="{middle - 8}" width="{x(total["p50"]) - _NAMES:.1f}" height="16" rx="3"/>',
            f'<line class="spread" x1="{x(total["p50"])}" x2="{x(total["p95"])}" y1="{middle}" y2="{middle}"/>',
            f'<line class="thin" x1="{x(total["p95"])}" x2="{x(total["p99"])}" y1="{middle}" y2="{middle}"/>',
        ]
        if beyond:
            told = f"p99 {total['p99']:.0f} ms, beyond the edge"
            parts.append(f'<text class="tick" x="{WIDTH - _RIGHT}" y="{middle - 8}" text-anchor="end">{told}</text>')
        level += step
    return svg(height, "time of a frame by board and variant, milliseconds", parts)


def trend_chart(boards: Sequence[Mapping[str, Any]], key: str, unit: str) -> str:
    """One quantity over the long run, a line a board; red marks where a board held itself back.

    Args:
        boards: Of the page's values.
        key: ``p50_ms``, ``clock_mhz`` or ``celsius``.
        unit: Of it.

    Returns:
        An SVG element, empty where no board tells it.
    """
    lines = []
    for number, board in _real(boards):
        points = [point for point in (board["soak"] or {"points": ()})["points"] if point[key] is not None]
        if points:
            lines.append((number, points))
    if not lines:
        return ""
    height = 200
    values = [point[key] for _, points in lines for point in points]
    low = 0.0 if key == "p50_ms" else min(values)
    high = max(values)
    pad = 0.1 * max(high - low, 0.1 * abs(high), 1e-6)
    low, high = (low if key == "p50_ms" else low - pad), high + pad
    end = max(points[-1]["at_s"] for _, points in lines)

    def x(value: float) -> float:
        return float(round(_LEFT + value / end * (WIDTH - _LEFT - _RIGHT), 1))

    def y(value: float) -> float:
        return float(round(_TOP - 14 + (high - value) / (high - low) * (height - _TOP - _BOTTOM + 14), 1))

    parts = [*_grid_x(x, end, _TOP - 14, height - _BOTTOM, "seconds"), *_grid_y(y, low, high, 1.0)]
    parts.append(f'<text class="tick" x="4" y="11">{escape(unit)}</text>')
    for number, points in lines:
        path = " ".join(f"{x(point['at_s'])},{y(point[key])}" for point in points)
        parts.append(f'<polyline class="trend s{number % COLOURS}" points="{path}"/>')
        parts += [
            f'<circle class="held" cx="{x(point["at_s"])}" cy="{y(point[key])}" r="2.5"/>'
            for point in points
            if point["throttled"]
        ]
    return svg(height, f"{escape(unit)} over the long run, by board", parts)


def _real(boards: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    return [(board["colour"], board) for board in boards if not board["emulated"]]


def _only(boards: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all are emulated."""
    return all(board["emulated"] for board in boards)


def _short(text: str, longest: int = 32) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _free(across: float, down: float, taken: list[tuple[float, float]]) -> float:
    """A height for a label at which no other one lies."""
    level = down
    while any(abs(level - other) < _LABEL and abs(across - there) < 2 * _LABEL for there, other in taken):
        level += _LABEL
    taken.append((across, level))
    return level


def _grid_x(x: Callable[[float], float], end: float, top: float, bottom: float, unit: str) -> list[str]:
    step = _step(end)
    parts = []
    for number in range(int(end / step + 1e-9) + 1):
        at = x(number * step)
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{at}" y="{bottom + 17}" text-anchor="middle">{number * step:g}</text>')
    parts.append(f'<text class="tick" x="{WIDTH - _RIGHT}" y="{bottom + 34}" text-anchor="end">{escape(unit)}</text>')
    return parts


def _grid_y(y: Callable[[float], float], low: float, high: float, factor: float) -> list[str]:
    step = _step((high - low) * factor, 4) / factor
    parts = []
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        at = y(number * step)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 8}" y="{at + 4}" text-anchor="end">{number * step * factor:g}</text>'
        )
    return parts


def _step(span: float, ticks: int = 6) -> float:
    """A round number that gives about so many ticks."""
    rough = max(span, 1e-9) / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    return min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(step - rough))
