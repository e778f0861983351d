"""The charts of the page of boards, as inline SVG; colours come from the page's style sheet, one a board."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from edgewright.bundle.figures import fixed, milliseconds
from edgewright.optimize.report.boards.labels import Box, boxes_along, place_labels, text_width
from edgewright.optimize.report.boards.words import metric_name
from edgewright.optimize.report.svg import WIDTH, svg

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["COLOURS", "front_chart", "times_chart", "trend_chart"]

COLOURS = 8
"""Boards that a colour of their own is there for; further ones begin again."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 30, 46
_LABEL = 13
_NAMED = 24
_MINUTES_FROM = 180.0
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
    names = [_name(row, len(rows)) for _, row in rows]
    widths = [text_width(name) for name in names]
    # A third of the place at most goes to names, so that there is room for all of them.
    height = max(340, math.ceil(_TOP + _BOTTOM + 3 * sum(widths) * _LABEL / (WIDTH - _LEFT - _RIGHT)))
    low, high = _spread([row["quality"][end] for _, row in rows for end in ("low", "high")], 0.08)
    times = [row["stages"]["total"]["p50"] for _, row in rows]
    begin, end = _spread(times, 0.2)
    begin = max(begin, 0.0)

    def x(value: float) -> float:
        return float(round(_LEFT + (value - begin) / (end - begin) * (WIDTH - _LEFT - _RIGHT), 1))

    def y(value: float) -> float:
        return float(round(_TOP + (high - value) / (high - low) * (height - _TOP - _BOTTOM), 1))

    places = [(x(row["stages"]["total"]["p50"]), y(row["quality"]["value"])) for _, row in rows]
    front = [places[at] for at in _front([row for _, row in rows])]
    parts = [
        *_grid_x(x, (begin, end), (_TOP, height - _BOTTOM), "ms, median of a frame"),
        *_grid_y(y, low, high, 100.0),
        f'<text class="tick" x="4" y="12">{escape(_short(metric_name(metric), 60))}, percent</text>',
        f'<polyline class="front" points="{" ".join(f"{across},{level}" for across, level in front)}"/>',
    ]
    whiskers = [Box(across - 1, y(row["quality"]["high"]), 2, y(row["quality"]["low"]) - y(row["quality"]["high"]))
                for (across, _), (_, row) in zip(places, rows, strict=True)]  # fmt: skip
    inside = Box(_LEFT, _TOP, WIDTH - _LEFT, height - _TOP - _BOTTOM)
    labels = place_labels(places, widths, _LABEL, inside, [*whiskers, *boxes_along(front)])
    parts += [
        f'<line class="whisker" x1="{box.x + 1:.1f}" x2="{box.x + 1:.1f}" y1="{box.y}" y2="{box.y + box.height:.1f}"/>'
        for box in whiskers
    ]
    for (number, row), (across, level), name, label in zip(rows, places, names, labels, strict=True):
        tint = number % COLOURS
        if label.leader is not None:
            x1, y1, x2, y2 = label.leader
            parts.append(f'<line class="leader s{tint}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
        kind = "solid" if row["quality"]["on_board"] else "hollow"
        told = f"{row['candidate']}: {fixed(100 * row['quality']['value'], 1)} %, {milliseconds(row['stages']['total']['p50'])} ms"
        parts += [
            f'<circle class="{kind} b{tint}" cx="{across}" cy="{level}" r="5.5"><title>{escape(told)}</title></circle>',
            f'<text class="name f{tint}" x="{label.box.x + 1:.1f}" y="{label.box.y + _LABEL - 3:.1f}">{escape(name)}</text>',
        ]
    return svg(
        height, f"{escape(metric_name(metric))} in percent against median time of a frame, by board and variant", parts
    )


def _name(row: Mapping[str, Any], count: int) -> str:
    """The number alone where there are many."""
    return str(row["number"]) if count > _NAMED else f"{row['number']} {_short(row['candidate'], 18)}"


def _front(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Those that no other is before in both time and quality, the fastest first."""
    order = sorted(range(len(rows)), key=lambda at: (rows[at]["stages"]["total"]["p50"], -rows[at]["quality"]["value"]))
    found: list[int] = []
    for at in order:
        if not found or rows[at]["quality"]["value"] > rows[found[-1]]["quality"]["value"]:
            found.append(at)
    return found


def _spread(values: Sequence[float], share: float) -> tuple[float, float]:
    """From the least to the most, with some room on both sides."""
    low, high = min(values), max(values)
    pad = share * max(high - low, 1e-3 if share < 0.1 else 0.3 * high, 1e-6 * abs(high), 1e-12)
    return low - pad, high + pad


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

    parts = _grid_x(x, (0.0, end), (6, height - _BOTTOM), "ms")
    level, last = 6.0, -1
    for number, board, row in rows:
        if number != last:
            level += 20
            mark = " (emulated, no times of a board)" if board["emulated"] else ""
            parts.append(
                f'<text class="board" x="0" y="{level - 4}">{escape(_short(board["title"], 70) + mark)}</text>'
            )
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
            told = f"p99 {fixed(total['p99'], 0)} ms, beyond the edge"
            parts.append(
                f'<text class="name" x="{WIDTH - _RIGHT - 8}" y="{middle + 4}" text-anchor="end">{told}</text>'
            )
        level += step
    return svg(height, "time of a frame by board and variant, milliseconds", parts)


def trend_chart(boards: Sequence[Mapping[str, Any]], key: str, unit: str) -> str:
    """One quantity over the long run, a line a board; red behind it where the board held itself back.

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
    height, top = 210, 24
    values = [point[key] for _, points in lines for point in points]
    low, high = _spread(values, 0.05)
    room = 0.05 * abs(high)  # a clock that stands still is a line and no noise
    low, high = (0.0, high) if key == "p50_ms" else (low - room, high + room)
    end = max(*(points[-1]["at_s"] for _, points in lines), 1e-3)
    scale, across_unit = (60.0, "minutes") if end >= _MINUTES_FROM else (1.0, "seconds")

    def x(value: float) -> float:
        return float(round(_LEFT + min(value / end, 1.0) * (WIDTH - _LEFT - _RIGHT), 1))

    def y(value: float) -> float:
        return float(round(top + (high - value) / (high - low) * (height - top - _BOTTOM), 1))

    parts = [
        *_grid_x(lambda value: x(value * scale), (0.0, end / scale), (top, height - _BOTTOM), across_unit),
        *_grid_y(y, low, high, 1.0),
    ]
    parts.append(f'<text class="tick" x="4" y="11">{escape(unit)}</text>')
    for number, points in lines:
        places = [(x(point["at_s"]), y(point[key]), point["throttled"]) for point in points]
        parts += [
            f'<circle class="held" cx="{across}" cy="{level}" r="4.5"/>' for across, level, held in places if held
        ]
        path = " ".join(f"{across},{level}" for across, level, _ in places)
        parts.append(f'<polyline class="trend s{number % COLOURS}" points="{path}"/>')
    return svg(height, f"{escape(unit)} over the long run, by board", parts)


def _real(boards: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    return [(board["colour"], board) for board in boards if not board["emulated"]]


def _only(boards: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all are emulated."""
    return all(board["emulated"] for board in boards)


def _short(text: str, longest: int = 32) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _grid_x(
    x: Callable[[float], float], span: tuple[float, float], levels: tuple[float, float], unit: str
) -> list[str]:
    (begin, end), (top, bottom) = span, levels
    step = _step(end - begin)
    parts = []
    for number in range(math.ceil(begin / step - 1e-9), math.floor(end / step + 1e-9) + 1):
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
    rough = max(span, 1e-12) / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    return min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(step - rough))
