"""Pictures of what both models saw: float on the left, INT8 on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgewright.optimize.evaluate.agreement import match_frame
from edgewright.runtime.types import Classification, Detections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.evaluate.observe import Observation, Seen
    from edgewright.optimize.judge import Picture

__all__ = ["draw_pictures"]

_PANEL = 560
_GAP = 8
_QUALITY = 78
_TOP = 3
# BGR; told apart without colour vision too, for boxes that only one model has are drawn thicker.
_AGREED = (180, 200, 40)
_ALONE = (30, 120, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_pictures(
    pictures: Sequence[Picture], observation: Observation, labels: Sequence[str], threshold: float | None
) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Draws chosen pictures.

    Args:
        pictures: Which.
        observation: Both models' answers, that ``Picture.seen`` points into.
        labels: The model's labels, may be empty.
        threshold: A detector's score threshold, None for a classifier.

    Returns:
        A row for the report each, and the JPEGs by file name.
    """
    rows, files = [], {}
    for number, picture in enumerate(pictures):
        seen = observation.seen[picture.seen]
        name = f"picture-{number}.jpg"
        image = _scaled(picture.sample.image)
        row = {"file": name, "name": picture.sample.name, "why": picture.why}
        if threshold is None:
            drawn, told = image, _classes(seen, labels)
        else:
            drawn, told = _side_by_side(picture.sample.image, image, seen, threshold)
            told |= _alone(seen, labels, threshold)
        good, data = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if good:
            files[name] = data.tobytes()
            rows.append({**row, **told, "width": drawn.shape[1], "height": drawn.shape[0]})
    return rows, files


def _scaled(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    factor = _PANEL / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def _side_by_side(
    original: NDArray[np.uint8], image: NDArray[np.uint8], seen: Seen, threshold: float
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    if not isinstance(seen.float_, Detections) or not isinstance(seen.int8, Detections):
        return image, {}
    match = match_frame(seen.float_, seen.int8, threshold)
    factor = image.shape[1] / original.shape[1]
    panels = []
    for column, said in enumerate((seen.float_, seen.int8)):
        boxes = said.select(said.scores >= threshold)
        panels.append(_draw_boxes(image.copy(), boxes, set(match.pairs[:, column].tolist()), factor))
    gap = np.full((image.shape[0], _GAP, 3), 255, np.uint8)
    told = {"float_boxes": match.float_boxes, "int8_boxes": match.int8_boxes, "agreed": match.kept}
    return np.hstack([panels[0], gap, panels[1]]), told


def _alone(seen: Seen, labels: Sequence[str], threshold: float) -> dict[str, Any]:
    """What only one of the two saw, best first."""
    if not isinstance(seen.float_, Detections) or not isinstance(seen.int8, Detections):
        return {}
    match = match_frame(seen.float_, seen.int8, threshold)
    return {
        name: [
            _scored(labels, int(label), float(score))
            for label, score in zip(boxes.class_ids, boxes.scores, strict=True)
        ]
        for name, boxes in (("lost", match.lost), ("extra", match.extra))
    }


def _draw_boxes(image: NDArray[np.uint8], boxes: Detections, agreed: set[int], factor: float) -> NDArray[np.uint8]:
    for number, (box, score) in enumerate(zip(boxes.boxes, boxes.scores, strict=True)):
        colour, width = (_AGREED, 2) if number in agreed else (_ALONE, 4)
        x1, y1, x2, y2 = (round(float(edge) * factor) for edge in box)
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, width, cv2.LINE_AA)
        text = f"{score:.2f}"
        (wide, tall), _ = cv2.getTextSize(text, _FONT, 0.45, 1)
        top = max(y1, tall + 6)
        cv2.rectangle(image, (x1, top - tall - 6), (x1 + wide + 6, top), colour, cv2.FILLED)
        cv2.putText(image, text, (x1 + 3, top - 4), _FONT, 0.45, (20, 20, 20), 1, cv2.LINE_AA)
    return image


def _classes(seen: Seen, labels: Sequence[str]) -> dict[str, Any]:
    return {"float": _best(seen.float_, labels), "int8": _best(seen.int8, labels)}


def _best(said: Detections | Classification, labels: Sequence[str]) -> list[dict[str, Any]]:
    if not isinstance(said, Classification):
        return []
    rows = zip(said.class_ids[:_TOP].tolist(), said.scores[:_TOP].tolist(), strict=True)
    return [_scored(labels, label, score) for label, score in rows]


def _scored(labels: Sequence[str], label: int, score: float) -> dict[str, Any]:
    return {"label": labels[label] if label < len(labels) else f"class {label}", "score": round(score, 4)}
