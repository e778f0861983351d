"""The frame that all charts of the report share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["WIDTH", "svg"]

WIDTH = 720
"""Of every chart, in its own units."""


def svg(height: float, label: str, parts: Sequence[str]) -> str:
    """A chart as an SVG element.

    Args:
        height: In units of ``WIDTH``.
        label: What it shows, for readers who cannot see it; plain words without marks.
        parts: SVG elements, escaped where they hold foreign text.
    """
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
