"""Class-aware non-maximum suppression, by OpenCV's batched implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.runtime.types import Detections

__all__ = ["iou_matrix", "suppress"]


def suppress(detections: Detections, iou_threshold: float, limit: int) -> Detections:
    """Keeps the best of overlapping boxes of one class.

    Args:
        detections: Any order; boxes in any one unit.
        iou_threshold: A box overlapping a better one of its class by more goes.
        limit: At most so many are kept.

    Returns:
        What is left, best score first.
    """
    if len(detections) == 0:
        return detections
    corners = detections.boxes
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).astype(np.float64)
    kept = cv2.dnn.NMSBoxesBatched(boxes, detections.scores, detections.class_ids.astype(np.int32), 0.0, iou_threshold)
    index = np.asarray(kept, dtype=np.intp).reshape(-1)
    order = np.argsort(-detections.scores[index], kind="stable")
    return detections.select(index[order[:limit]])


def iou_matrix(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of every box of ``a`` with every box of ``b``.

    Args:
        a: (n, 4) xyxy.
        b: (m, 4) xyxy.

    Returns:
        (n, m), 0 where either box has no area.
    """
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    area_a = np.clip(a[:, 2:] - a[:, :2], 0, None).prod(axis=1)
    area_b = np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1)
    union = area_a[:, None] + area_b[None, :] - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)
