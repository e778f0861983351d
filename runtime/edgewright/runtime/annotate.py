"""Draws what was seen into a picture: box, id, label, score, zones with their counts, and trouble in words."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgewright.runtime.types import Classification, Detections, ResultStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.runtime.observe import Observation
    from edgewright.runtime.rules.base import Overlay
    from edgewright.runtime.types import Result

__all__ = ["annotate", "color_of"]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _BLACK, _ZONE, _TROUBLE = (255, 255, 255), (0, 0, 0), (0, 200, 255), (40, 40, 230)
_GOLDEN = 0.618033988749895  # steps of the golden ratio keep neighbouring numbers far apart on the colour circle
_REFERENCE_HEIGHT = 720.0
_CAPTION_SHARE = 0.8  # of the size of the lines in the corner
_TINT, _DARKER = 0.5, 0.6  # a dark tint keeps white letters readable over any colour

_Color = tuple[int, int, int]


def color_of(number: int) -> tuple[int, int, int]:
    """A bright BGR colour that always belongs to this number; neighbouring numbers differ clearly."""
    # The value steps too: hues alone repeat closely after a dozen ids.
    red, green, blue = colorsys.hsv_to_rgb((number * _GOLDEN) % 1.0, 0.85, 1.0 - 0.25 * (number % 2))
    return round(blue * 255), round(green * 255), round(red * 255)


def annotate(observation: Observation, labels: Sequence[str]) -> NDArray[np.uint8] | None:
    """A copy of the frame with everything drawn in; None when there is no frame.

    Args:
        observation: What to draw.
        labels: Names by class id.
    """
    if observation.frame is None:
        return None
    canvas = np.ascontiguousarray(observation.frame.image).copy()
    scale = max(0.4, min(1.2, 0.55 * canvas.shape[0] / _REFERENCE_HEIGHT))
    for overlay in observation.overlays:
        _outline(canvas, overlay)
    result = observation.result
    marks = _marks(result, labels)
    for box, _, color in marks:
        corners = [round(float(value)) for value in box]
        cv2.rectangle(canvas, corners[:2], corners[2:], color, 1 if scale < 0.6 else 2, cv2.LINE_AA)
    for box, caption, color in marks:  # after all boxes: no outline runs through a neighbour's caption
        _caption(canvas, box, caption, color, scale)
    lines = [(f"{overlay.name}: {overlay.text}", _ZONE) for overlay in observation.overlays]
    if isinstance(result.output, Classification):
        pairs = zip(result.output.class_ids, result.output.scores, strict=True)
        lines += [(f"{_name(labels, int(class_id))} {score:.2f}", _WHITE) for class_id, score in pairs]
    if result.status is not ResultStatus.OK:
        lines.append((f"{result.status.value}: {result.error or ''}", _TROUBLE))
    _lines(canvas, lines, scale)
    return canvas


def _marks(result: Result, labels: Sequence[str]) -> list[tuple[NDArray[np.float32], str, _Color]]:
    """Box, caption and colour of everything to be marked."""
    if result.tracks is not None:
        tracks = result.tracks
        rows = zip(tracks.ids, tracks.boxes, tracks.scores, tracks.class_ids, strict=True)
        return [
            (box, f"#{number} {_name(labels, int(class_id))} {score:.2f}", color_of(int(number)))
            for number, box, score, class_id in rows
        ]
    if isinstance(result.output, Detections):
        seen = result.output
        return [
            (box, f"{_name(labels, int(class_id))} {score:.2f}", color_of(int(class_id) + 1))
            for box, score, class_id in zip(seen.boxes, seen.scores, seen.class_ids, strict=True)
        ]
    return []


def _name(labels: Sequence[str], class_id: int) -> str:
    text = labels[class_id] if 0 <= class_id < len(labels) else str(class_id)
    return text.encode("ascii", "replace").decode("ascii")  # the built-in font has no other letters


def _outline(canvas: NDArray[np.uint8], overlay: Overlay) -> None:
    if overlay.polygon is not None:
        corners = np.round(overlay.polygon).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(canvas, [corners], isClosed=True, color=_ZONE, thickness=1, lineType=cv2.LINE_AA)


def _caption(canvas: NDArray[np.uint8], box: NDArray[np.float32], caption: str, color: _Color, scale: float) -> None:
    """Writes above the box, over a tinted patch: whoever stands behind shows through."""
    left, top, _, bottom = (round(float(value)) for value in box)
    scale *= _CAPTION_SHARE
    (width, height), base = cv2.getTextSize(caption, _FONT, scale, 1)
    x = max(0, min(left, canvas.shape[1] - width - 4))
    y = top if top > height + base + 2 else min(bottom + height + base + 2, canvas.shape[0])
    patch = canvas[max(0, y - height - base - 2) : max(0, y), x : x + width + 4]
    patch[:] = (patch * (1.0 - _TINT) + np.array(color) * (_TINT * _DARKER)).astype(np.uint8)
    cv2.putText(canvas, caption, (x + 2, y - base), _FONT, scale, _WHITE, 1, cv2.LINE_AA)


def _lines(canvas: NDArray[np.uint8], lines: list[tuple[str, _Color]], scale: float) -> None:
    top = 0
    for text, color in lines:
        shown = text.encode("ascii", "replace").decode("ascii")
        (width, height), base = cv2.getTextSize(shown, _FONT, scale * 1.3, 1)
        bottom = top + height + base + 6
        cv2.rectangle(canvas, (0, top), (width + 12, bottom), _BLACK, cv2.FILLED)
        cv2.putText(canvas, shown, (6, bottom - base - 2), _FONT, scale * 1.3, color, 1, cv2.LINE_AA)
        top = bottom
