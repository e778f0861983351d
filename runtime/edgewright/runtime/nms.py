"""Class-aware non-maximum suppression, by OpenCV's batched implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from edgewright.runtime.types import Detections

__all__ = ["suppress"]


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
    kept = cv2.dnn.NMSBoxesBatched(  # its stubs know lists only; arrays are taken without a copy
        boxes,  # type: ignore[arg-type]
        detections.scores,  # type: ignore[arg-type]
        detections.class_ids.astype(np.int32),  # type: ignore[arg-type]
        0.0,
        iou_threshold,
    )
    index = np.asarray(kept, dtype=np.intp).reshape(-1)
    order = np.argsort(-detections.scores[index], kind="stable")
    return detections.select(index[order[:limit]])
