"""Where the names of points stand in a chart: beside their point, and never one over another.

Each name takes the cheapest free place of a fine grid: near its point, rather to the right of it, and rather not on a
line. It is the same for the same points. Where there is no free place left, the least covered one is taken: none is lost.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Box", "Label", "boxes_along", "place_labels", "text_width"]

_GRID = 2.0
_POINT = 8.0  # half of what a point takes, its rim and some air included
_AIR = 1.5
_COVERED = 1e6
_ON_LINE = 14.0
_BESIDE_ANOTHER = 30.0  # would be read as its name
_NEAR = 20.0
_REACH = 90.0
_LEFTWARDS = 3.0
_WIDTH_OF = 7.1  # of a character, at most about; a chart cannot measure


@dataclass(frozen=True)
class Box:
    """A rectangle, in units of the chart.

    Attributes:
        x: Left edge.
        y: Upper edge.
        width: To the right.
        height: Downwards.
    """

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: Box) -> bool:
        """Whether both share more than an edge."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass(frozen=True)
class Label:
    """A name in its place.

    Attributes:
        box: What it takes.
        leader: Where a line begins and ends that joins it with its point, (x1, y1, x2, y2); None where it stands beside it.
    """

    box: Box
    leader: tuple[float, float, float, float] | None


def text_width(text: str) -> float:
    """About what a name takes."""
    return round(_WIDTH_OF * len(text) + 2, 1)


def boxes_along(points: Sequence[tuple[float, float]]) -> list[Box]:
    """Small boxes along a line, for names to keep away from.

    Args:
        points: Of the line, in order.
    """
    found = []
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        count = max(1, int(max(abs(x2 - x1), abs(y2 - y1)) // 6))
        found += [
            Box(x1 + (x2 - x1) * step / count - 1, y1 + (y2 - y1) * step / count - 1, 2, 2) for step in range(count + 1)
        ]
    return found


def place_labels(
    points: Sequence[tuple[float, float]],
    widths: Sequence[float],
    height: float,
    inside: Box,
    lines: Sequence[Box] = (),
) -> list[Label]:
    """Places a name at each point.

    Args:
        points: (x, y) of each.
        widths: Of each name.
        height: Of every name.
        inside: Where names may stand.
        lines: What they should rather not stand on.

    Returns:
        A label a point, in the same order.
    """
    taken = [Box(x - _POINT, y - _POINT, 2 * _POINT, 2 * _POINT) for x, y in points]
    found: list[Label] = []
    for at, (point, width) in enumerate(zip(points, widths, strict=True)):
        others = [Box(x - _NEAR, y - _POINT, 2 * _NEAR, 2 * _POINT) for x, y in (*points[:at], *points[at + 1 :])]
        obstacles = ((_COVERED, taken), (_ON_LINE, lines), (_BESIDE_ANOTHER, others))
        for reach in (_REACH, math.inf):  # looking everywhere takes long, and is seldom needed
            cost, box = _cheapest(point, (width, height), _around(point, inside, (reach + width, reach)), obstacles)
            if cost < _COVERED:
                break
        taken.append(Box(box.x - _AIR, box.y, width + 2 * _AIR, height))
        found.append(Label(box, _leader(point, box)))
    return found


def _around(point: tuple[float, float], inside: Box, reach: tuple[float, float]) -> Box:
    """The part of a chart that is near a point."""
    (x, y), (across, down) = point, reach
    left, right = max(inside.x, x - across), min(inside.x + inside.width, x + across)
    top, bottom = max(inside.y, y - down), min(inside.y + inside.height, y + down)
    return Box(left, top, right - left, bottom - top)


def _cheapest(
    point: tuple[float, float],
    size: tuple[float, float],
    inside: Box,
    obstacles: Sequence[tuple[float, Sequence[Box]]],
) -> tuple[float, Box]:
    """The best place for a name, and what it costs."""
    width, height = size
    across = np.arange(inside.x, max(inside.x + inside.width - width, inside.x) + 1e-6, _GRID)
    down = np.arange(inside.y, max(inside.y + inside.height - height, inside.y) + 1e-6, _GRID)
    cost = _distance(point, across, down, width, height)
    for factor, boxes in obstacles:
        near = [box for box in boxes if box.meets(inside)]
        cost += factor * _met(near, across, down, width, height, once=factor != _COVERED)
    row, column = np.unravel_index(int(np.argmin(cost)), cost.shape)
    place = Box(round(float(across[column]), 1), round(float(down[row]), 1), width, height)
    return float(cost[row, column]), place


def _distance(
    point: tuple[float, float], across: NDArray[np.float64], down: NDArray[np.float64], width: float, height: float
) -> NDArray[np.float64]:
    """From a point to the nearest edge of a name at each place, a little more to its left or far above and below."""
    x, y = point
    beside = np.maximum(np.maximum(across - x, x - across - width), 0.0)[None, :]
    above = np.maximum(np.maximum(down - y, y - down - height), 0.0)[:, None]
    off = 0.2 * np.abs(down + height / 2 - y)[:, None]
    left = np.where(across + width / 2 < x, _LEFTWARDS, 0.0)[None, :]
    return np.asarray(np.hypot(beside, above) + off + left, np.float64)


def _met(
    boxes: Sequence[Box],
    across: NDArray[np.float64],
    down: NDArray[np.float64],
    width: float,
    height: float,
    *,
    once: bool,
) -> NDArray[np.float64]:
    """How many boxes a name at each place would meet; whether it would meet any, with ``once``."""
    count = np.zeros((len(down), len(across)))
    for box in boxes:
        left, right = np.searchsorted(across, (box.x - width, box.x + box.width), side="right")
        top, bottom = np.searchsorted(down, (box.y - height, box.y + box.height), side="right")
        # A place on the far edge touches and does not meet.
        right -= right > left and across[right - 1] >= box.x + box.width
        bottom -= bottom > top and down[bottom - 1] >= box.y + box.height
        count[top:bottom, left:right] += 1
    return np.minimum(count, 1.0) if once else count


def _leader(point: tuple[float, float], box: Box) -> tuple[float, float, float, float] | None:
    x, y = point
    to_x, to_y = min(max(x, box.x), box.x + box.width), min(max(y, box.y), box.y + box.height)
    far = float(np.hypot(to_x - x, to_y - y))
    if far <= _POINT + 3 * _GRID:
        return None
    share = 6.5 / far  # begins at the rim of the point
    return round(x + (to_x - x) * share, 1), round(y + (to_y - y) * share, 1), round(to_x, 1), round(to_y, 1)
