"""Loss and metric of a training at every look, side by side, as inline SVG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgewright.optimize.report.svg import WIDTH, round_ticks, svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["training_chart"]

_HEIGHT, _TOP, _BOTTOM = 180, 26, 34
_LEFT, _GAP, _RIGHT = 56, 72, 16
_TICKS = 3

_Points = list[tuple[float, float]]


def training_chart(history: Sequence[Mapping[str, Any]]) -> str:
    """The loss of the training pictures, and beside it the metric of the pictures held out.

    Args:
        history: Rows of ``Look.to_json`` in order, out of the report's ``story.training``.

    Returns:
        An SVG element; empty where fewer than two looks have a finite loss.
    """
    losses = _points(history, "loss")
    if len(losses) < 2:
        return ""
    parts = _panel(losses, _LEFT, "loss of the training pictures")
    metrics = _points(history, "metric")
    if len(metrics) > 1:
        parts += _panel(metrics, _LEFT + _width() + _GAP, "metric of the pictures held out")
    return svg(_HEIGHT, "loss and metric of the training, by its steps", parts)


def _width() -> float:
    return (WIDTH - _LEFT - _GAP - _RIGHT) / 2


def _points(history: Sequence[Mapping[str, Any]], key: str) -> _Points:
    return [
        (float(look["step"]), float(look[key]))
        for look in history
        if look[key] is not None and math.isfinite(look[key])
    ]


def _panel(points: _Points, left: float, title: str) -> list[str]:
    lowest, highest = min(value for _, value in points), max(value for _, value in points)
    pad = max(0.08 * (highest - lowest), 1e-6 * max(abs(highest), 1.0))
    low, high, end = lowest - pad, highest + pad, max(step for step, _ in points)
    right, bottom = left + _width(), _HEIGHT - _BOTTOM

    def x(step: float) -> float:
        return round(left + step / max(end, 1.0) * _width(), 1)

    def y(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * (bottom - _TOP), 1)

    parts = [f'<text class="tick" x="{left - 48}" y="12">{title}</text>']
    for value in round_ticks(low, high, _TICKS):
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y(value)}" y2="{y(value)}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y(value) + 4}" text-anchor="end">{value:.4g}</text>')
    parts += [
        f'<text class="tick" x="{x(step)}" y="{bottom + 18}" text-anchor="middle">{step:.6g}</text>'
        for step in round_ticks(0.0, end, _TICKS)
    ]
    parts.append(f'<text class="tick" x="{(left + right) / 2}" y="{bottom + 32}" text-anchor="middle">steps</text>')
    joined = " ".join(f"{x(step)},{y(value)}" for step, value in points)
    return [*parts, f'<polyline class="curve" points="{joined}"/>']
