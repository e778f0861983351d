"""Intersection over union of two sets of boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["iou_matrix"]


def iou_matrix(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """IoU of every box in ``first`` (n, 4) with every box in ``second`` (m, 4), both xyxy: (n, m) in 0..1."""
    left: NDArray[np.float64] = first.astype(np.float64)
    right: NDArray[np.float64] = second.astype(np.float64)
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    sides = np.minimum(left[:, None, 2:], right[None, :, 2:]) - low
    np.maximum(sides, 0.0, out=sides)
    shared = sides[..., 0] * sides[..., 1]
    union = _areas(left)[:, None] + _areas(right)[None, :] - shared
    overlap: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0.0)
    return overlap


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    areas: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return areas
