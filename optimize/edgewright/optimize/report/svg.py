"""The frame that all charts of the report share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["WIDTH", "round_ticks", "svg"]

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


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within both ends.

    Args:
        low: The lower end.
        high: The upper end.
        about: How many are wanted, roughly.
    """
    rough = max(high - low, 1e-9) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda size: abs(size - rough))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 9) for number in range(first, last + 1)]
