"""Small charts as inline SVG: no script, no font, no network; colours come from the page's style sheet."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.figures import milliseconds
from edgewright.optimize.report.svg import WIDTH, svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["gauge", "latency_chart", "stage_chart"]

_LEFT = 104
_RIGHT = 16
_LABEL = 28  # width of one percentile's name
_FURTHEST = 2.0  # of a speed-up, on the scale
_STAGES = ("preprocess", "inference", "decode")


def gauge(clause: Mapping[str, Any]) -> str:
    """Where a figure and its interval lie against the limit.

    Args:
        clause: A row of the report's ``verdict.clauses``.

    Returns:
        An SVG element, empty when nothing was measured.
    """
    value, limit = clause["value"], clause["limit"]
    if value is None:
        return ""
    low, high = clause["low"], clause["high"]
    if clause["kind"] == "min_speedup":
        # A ratio that may be anything would leave no room for the limit.
        high = min(high, max(_FURTHEST, 2 * value, 2 * limit))
    at_most = clause["kind"].startswith("max")
    span = max(high, limit) - min(low, limit)
    pad = 0.18 * span if span > 0 else max(abs(limit) * 0.2, 1.0)
    start, end = min(low, limit) - pad, max(high, limit) + pad
    width, height, middle = 260, 30, 15

    def at(x: float) -> float:
        return round(float((x - start) / (end - start) * width), 1)

    good = (0.0, at(limit)) if at_most else (at(limit), float(width))
    parts = [
        f'<rect class="good" x="{good[0]}" y="4" width="{max(good[1] - good[0], 0):.1f}" height="22" rx="3"/>',
        f'<line class="limit" x1="{at(limit)}" x2="{at(limit)}" y1="1" y2="29"/>',
        f'<line class="spread" x1="{at(low)}" x2="{at(high)}" y1="{middle}" y2="{middle}"/>',
        f'<circle class="dot {escape(clause["status"].lower())}" cx="{at(value)}" cy="{middle}" r="5"/>',
    ]
    label = escape(clause["sentence"], quote=True)
    return f'<svg class="gauge" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def latency_chart(variants: Sequence[Mapping[str, Any]]) -> str:
    """Every timed frame of every variant as a dot, with p50, p95 and p99 marked.

    Args:
        variants: Rows of the report's ``speed.variants``.

    Returns:
        An SVG element.
    """
    end = _axis_end(max(row["stages"]["total"]["p99"] for row in variants) * 1.08)
    row_height, bottom = 64, 34
    height = row_height * len(variants) + bottom
    parts = [_axis(end, height - bottom)]
    beyond = sum(value > end for row in variants for value in row["totals_ms"])
    for number, row in enumerate(variants):
        middle = row_height * number + 34
        parts.append(
            f'<text class="name" x="{_LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(row["name"])}</text>'
        )
        values = np.array(row["totals_ms"])
        # The same scatter every time: a report must not change when it is drawn again.
        heights = np.random.default_rng(number).uniform(-13, 13, len(values))
        dots = [
            f'<circle cx="{_at(value, end)}" cy="{middle + up:.1f}" r="2"/>'
            for value, up in zip(values, heights, strict=True)
            if value <= end
        ]
        parts.append(f'<g class="dots v{number}">{"".join(dots)}</g>')
        parts += _marks(row["stages"]["total"], end, middle)
    if beyond:
        # Far to the right they would squeeze everything else.
        told = f"{beyond} slower frame{'' if beyond == 1 else 's'} beyond the edge"
        parts.append(f'<text class="tick" x="{WIDTH - _RIGHT}" y="{height + 10}" text-anchor="end">{told}</text>')
        height += 16
    return svg(height, "time of every frame by variant, milliseconds", parts)


def stage_chart(variants: Sequence[Mapping[str, Any]]) -> str:
    """Median time of each stage, stacked, one bar a variant.

    Args:
        variants: Rows of the report's ``speed.variants``.

    Returns:
        An SVG element.
    """
    sums = [sum(row["stages"][stage]["p50"] for stage in _STAGES) for row in variants]
    end = _axis_end(max(sums) * 1.05)
    row_height, bottom = 40, 34
    height = row_height * len(variants) + bottom
    parts = [_axis(end, height - bottom)]
    for number, row in enumerate(variants):
        top, x = row_height * number + 8, 0.0
        parts.append(
            f'<text class="name" x="{_LEFT - 10}" y="{top + 17}" text-anchor="end">{escape(row["name"])}</text>'
        )
        for stage in _STAGES:
            spent = row["stages"][stage]["p50"]
            left, right = _at(x, end), _at(x + spent, end)
            title = f"<title>{stage} {milliseconds(spent)} ms</title>"
            parts.append(
                f'<rect class="{stage}" x="{left}" y="{top}" width="{right - left:.1f}" height="24">{title}</rect>'
            )
            x += spent
    return svg(height, "median time of each stage by variant, milliseconds", parts)


def _at(value: float, end: float) -> float:
    return round(_LEFT + float(value) / end * (WIDTH - _LEFT - _RIGHT), 1)


def _marks(total: Mapping[str, float], end: float, middle: float) -> list[str]:
    """Lines at the percentiles; those too near each other share a label."""
    places = {key: _at(total[key], end) for key in ("p50", "p95", "p99")}
    parts, groups = [], list[list[str]]()
    for key, x in places.items():
        parts.append(f'<line class="mark {key}" x1="{x}" x2="{x}" y1="{middle - 17}" y2="{middle + 17}"/>')
        # A shared label is longer, and stands in the middle of its lines.
        if groups and x - places[groups[-1][-1]] < _LABEL * (1 + len(groups[-1])) / 2:
            groups[-1].append(key)
        else:
            groups.append([key])
    for keys in groups:
        x = round((places[keys[0]] + places[keys[-1]]) / 2, 1)
        label = ", ".join(keys)
        parts.append(f'<text class="marked" x="{x}" y="{middle - 21}" text-anchor="middle">{label}</text>')
    return parts


def _axis(end: float, bottom: float) -> str:
    step = _axis_step(end)
    parts = []
    for number in range(int(end / step + 1e-9) + 1):
        x = _at(number * step, end)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="14" y2="{bottom}"/>')
        unit = " ms" if number == 0 else ""
        parts.append(
            f'<text class="tick" x="{x}" y="{bottom + 18}" text-anchor="middle">{number * step:g}{unit}</text>'
        )
    return "".join(parts)


def _axis_step(end: float) -> float:
    """A round number that gives four to ten ticks."""
    rough = end / 6
    power = 10.0 ** np.floor(np.log10(rough))
    return float(min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(step - rough)))


def _axis_end(value: float) -> float:
    return max(float(value), 1e-6)
