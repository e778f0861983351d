"""The ordered table of regions as bars: what each does to the answers, beside what it costs in float."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from edgewright.bundle.figures import signed
from edgewright.optimize.report.svg import WIDTH, svg
from edgewright.optimize.sizes import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["noisiest", "region_chart", "shown_regions", "signed_bytes", "sqnr_chart"]

_NAME_END = 214
_BAR_END = 484
_VALUES = 540  # where figures beside the bars end
_ROW = 24
_TOP = 34
_LONGEST_NAME = 30  # characters beside the bars
_PLENTY_DB = 60.0


def region_chart(rows: Sequence[Mapping[str, Any]], most: int = 16) -> str:
    """Regions in order: share of the harm as a bar, bytes and milliseconds in figures; kept ones filled.

    Args:
        rows: ``SearchResult.rows``.
        most: Rows shown; kept regions are always among them.

    Returns:
        An SVG element; classes ``bar``, ``bar kept``, ``name``, ``tick``, ``grid`` take their colours from the page.
    """
    shown = shown_regions(rows, most)
    end = max((row["regained"] for row in shown), default=0.0) or 1.0
    parts = _head("region", "share of all layers' harm", "size", "time")
    for number, row in enumerate(shown):
        top = _TOP + _ROW * number
        value = f"{row['regained']:.1%}"
        parts += _bar(row["name"], row["regained"] / end, top, kept=row["kept"], value=value)
        parts.append(_text(_VALUES, top + 14, "tick", value))
        parts.append(_text(620, top + 14, "tick", signed_bytes(row["weight_bytes"])))
        if row["extra_ms"] is not None:
            parts.append(_text(WIDTH - 10, top + 14, "tick", f"{signed(row['extra_ms'], 2)} ms"))
    hidden = len(rows) - len(shown)
    height = _TOP + _ROW * len(shown) + 10
    if hidden > 0:
        parts.append(_text(_NAME_END - 8, height + 6, "tick", f"and {hidden} more"))
        height += 16
    return svg(height, "what regions do to the answers, and what they cost in float", parts)


def sqnr_chart(rows: Sequence[Mapping[str, Any]], most: int = 16) -> str:
    """The layers that allow the least on their own, worst first: own SQNR as a bar, accumulated as a mark.

    Args:
        rows: ``TensorError.to_json`` of each tensor.
        most: Rows shown.

    Returns:
        An SVG element; the mark has the class ``limit``.
    """
    worst = noisiest(rows, most)
    end = max([_PLENTY_DB] + [row["own_sqnr"] for row in worst if row["own_sqnr"] < 2 * _PLENTY_DB])
    parts = _head("layer", "SQNR of its own (line: in total)", "own, dB", "total, dB")
    for number, row in enumerate(worst):
        top = _TOP + _ROW * number
        share = min(max(row["own_sqnr"] / end, 0.0), 1.0)
        name = row["node"] or row["tensor"]
        parts += _bar(name, share, top, kept=False, value=f"{row['own_sqnr']:.1f} dB")
        parts.append(_text(620, top + 14, "tick", f"{row['own_sqnr']:.1f}"))
        parts.append(_text(WIDTH - 10, top + 14, "tick", f"{row['sqnr']:.1f}"))
        x = round(_NAME_END + min(max(row["sqnr"] / end, 0.0), 1.0) * (_BAR_END - _NAME_END), 1)
        parts.append(f'<line class="limit" x1="{x}" x2="{x}" y1="{top + 1}" y2="{top + 19}"/>')
    return svg(_TOP + _ROW * len(worst) + 10, "signal to quantization noise of the worst layers", parts)


def shown_regions(rows: Sequence[Mapping[str, Any]], most: int = 16) -> list[Mapping[str, Any]]:
    """The first rows, and those further down that are kept in float."""
    return list(rows[:most]) + [row for row in rows[most:] if row["kept"]]


def noisiest(rows: Sequence[Mapping[str, Any]], most: int = 16) -> list[Mapping[str, Any]]:
    """The layers that allow the least on their own, worst first."""
    return sorted((row for row in rows if row["own_sqnr"] is not None), key=lambda row: row["own_sqnr"])[:most]


def _head(first: str, second: str, third: str, fourth: str) -> list[str]:
    line = f'<line class="grid" x1="{_NAME_END}" x2="{_NAME_END}" y1="{_TOP - 6}" y2="{_TOP}"/>'
    return [
        _text(_NAME_END - 8, 18, "tick", first),
        _text(_NAME_END, 18, "tick", second, anchor="start"),
        _text(620, 18, "tick", third),
        _text(WIDTH - 10, 18, "tick", fourth),
        line,
    ]


def _bar(name: str, share: float, top: int, *, kept: bool, value: str) -> list[str]:
    width = max(share, 0.0) * (_BAR_END - _NAME_END)
    label = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    css = "bar kept" if kept else "bar"
    title = f"<title>{escape(name)}: {value}{', kept in float' if kept else ''}</title>"
    return [
        _text(_NAME_END - 8, top + 14, "name", label),
        f'<rect class="{css}" x="{_NAME_END}" y="{top + 2}" width="{max(width, 1):.1f}" height="16" rx="2">{title}</rect>',
    ]


def _text(x: float, y: float, css: str, text: str, anchor: str = "end") -> str:
    return f'<text class="{css}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def signed_bytes(count: int) -> str:
    """A difference of sizes, for people."""
    sign = "" if count == 0 else "-+"[count > 0]
    return f"{sign}{format_bytes(abs(count))}"
