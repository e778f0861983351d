"""Points in polygons, many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["area", "inside"]


def inside(points: NDArray[np.floating], polygon: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which points lie in a simple polygon or on its edge (even-odd rule).

    Args:
        points: (n, 2).
        polygon: (k, 2) corners in order, either way round, not repeated at the end.

    Returns:
        (n,) booleans.
    """
    points = np.asarray(points, np.float64).reshape(-1, 2)[:, None, :]
    start = np.asarray(polygon, np.float64)
    edge = np.roll(start, -1, axis=0) - start
    to_point = points - start
    cross = edge[:, 0] * to_point[..., 1] - edge[:, 1] * to_point[..., 0]
    along = (to_point * edge).sum(axis=-1)
    length = (edge * edge).sum(axis=-1)
    slack = 1e-9 * (1.0 + np.abs(start).max())
    on_edge = (np.abs(cross) <= slack * np.sqrt(length)) & (along >= 0.0) & (along <= length)
    end_y = start[:, 1] + edge[:, 1]
    straddles = (start[:, 1] > points[..., 1]) != (end_y > points[..., 1])
    # The edge crosses the ray to the right of the point when the point is on its left side (y going up) or right.
    right = np.where(edge[:, 1] > 0.0, cross < 0.0, cross > 0.0)
    odd = (straddles & ~right).sum(axis=1) % 2 == 1
    return np.asarray(on_edge.any(axis=1) | odd)


def area(polygon: NDArray[np.floating]) -> float:
    """Area of a simple polygon (k, 2), in square units."""
    x, y = np.asarray(polygon, np.float64).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2.0)
