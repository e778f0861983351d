"""A detector looks at a picture as a whole and at overlapping tiles of it, in which small objects are larger.

What a tile cuts off is half an object, so boxes at the inner borders of tiles are dropped: the overlap shows the object
whole in the next tile, or a larger tile does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.errors import SpecError
from edgewright.runtime.nms import suppress
from edgewright.runtime.overlap import iou_matrix
from edgewright.runtime.types import Detections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.distillation.look import Look

__all__ = ["Merging", "Tile", "look_on_tiles", "merged", "tiles_of"]

_MOST_BOXES = 1000


@dataclass(frozen=True)
class Tile:
    """A part of a picture, in pixels.

    Attributes:
        left: First column.
        top: First row.
        right: Column behind the last.
        bottom: Row behind the last.
    """

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Merging:
    """When two boxes are one object.

    Attributes:
        iou: Boxes of one class that overlap by more are the same object.
        nested: So are those of which one lies in the other by more than this part.
        border: Part of a tile's side that does not show objects whole.
        certain: Score from which a box is a label.
    """

    iou: float
    nested: float
    border: float
    certain: float


def tiles_of(width: int, height: int, grid: int, overlap: float) -> tuple[Tile, ...]:
    """Cuts a picture into ``grid`` x ``grid`` tiles of its own shape that overlap.

    Args:
        width: Of the picture, in pixels.
        height: Of the picture.
        grid: Tiles a side; 1 is the picture itself.
        overlap: Part of a tile's side that it shares with its neighbour, 0 to below 1.
    """
    columns, rows = _cuts(width, grid, overlap), _cuts(height, grid, overlap)
    return tuple(Tile(left, top, right, bottom) for top, bottom in rows for left, right in columns)


def look_on_tiles(
    look: Look, image: NDArray[np.uint8], tiles: Sequence[Tile], score_threshold: float, *, border: float
) -> Detections:
    """What a detector sees on tiles, in pixels of the whole picture; not yet merged.

    Args:
        look: The detector.
        image: (H, W, 3) uint8 BGR.
        tiles: Parts to look at.
        score_threshold: Boxes below are dropped.
        border: Boxes that come nearer to a tile's inner border than this part of its side are dropped.

    Raises:
        SpecError: It is no detector.
    """
    height, width = image.shape[:2]
    found: list[Detections] = []
    for tile in tiles:
        part = np.ascontiguousarray(image[tile.top : tile.bottom, tile.left : tile.right])
        seen = look.infer(part, score_threshold)
        if not isinstance(seen, Detections):
            msg = "a classifier finds no boxes; pseudo-labels need a detector"
            raise SpecError(msg)
        boxes = seen.boxes + np.array([tile.left, tile.top] * 2, np.float32)
        near = border * np.array([tile.right - tile.left, tile.bottom - tile.top])
        cut = (tile.left > 0) & (boxes[:, 0] < tile.left + near[0])
        cut |= (tile.top > 0) & (boxes[:, 1] < tile.top + near[1])
        cut |= (tile.right < width) & (boxes[:, 2] > tile.right - near[0])
        cut |= (tile.bottom < height) & (boxes[:, 3] > tile.bottom - near[1])
        found.append(Detections(boxes, seen.scores, seen.class_ids).select(~cut))
    return Detections(
        np.concatenate([seen.boxes for seen in found]),
        np.concatenate([seen.scores for seen in found]),
        np.concatenate([seen.class_ids for seen in found]),
    )


def merged(looks: Sequence[tuple[Sequence[Tile], Detections]], settings: Merging) -> Detections:
    """One box an object; a finer look decides wherever it could see the object whole.

    Of the boxes that coarser looks add, those that fit into a finer tile and yet were not seen there are doubtful:
    their score is lowered to just below ``certain``.

    Args:
        looks: Tiles and what was seen on them, the coarsest first.
        settings: How.

    Returns:
        Best score first.
    """
    kept = Detections.empty()
    finer: list[Tile] = []
    for tiles, found in reversed(looks):
        best = _distinct(suppress(found, settings.iou, _MOST_BOXES), settings.nested)
        owners = _owners(best, kept, settings)
        kept = _surer(kept, best.scores, owners)
        new = best.select(owners < 0)
        doubtful = np.nextafter(np.float32(settings.certain), np.float32(0.0))
        fits = np.array([_fits(box, finer, settings.border) for box in new.boxes], np.bool_)
        scores = np.where(fits, np.minimum(new.scores, doubtful), new.scores)
        kept = Detections(
            np.concatenate([kept.boxes, new.boxes]),
            np.concatenate([kept.scores, scores]),
            np.concatenate([kept.class_ids, new.class_ids]),
        )
        finer += tiles
    return kept.select(np.argsort(-kept.scores, kind="stable"))


def _distinct(best: Detections, nested: float) -> Detections:
    """Without boxes that lie in a surer one of their class, or around it; best first."""
    keep = np.ones(len(best), np.bool_)
    for row in range(1, len(best)):
        above = np.flatnonzero(keep[:row] & (best.class_ids[:row] == best.class_ids[row]))
        keep[row] = not (_inside(best.boxes[row], best.boxes[above]) > nested).any()
    return best.select(keep)


def _owners(found: Detections, kept: Detections, settings: Merging) -> NDArray[np.intp]:
    """Which kept box each of ``found`` is, -1 for none."""
    if not len(kept):
        return np.full(len(found), -1, np.intp)
    overlap = iou_matrix(found.boxes, kept.boxes)
    nested = np.stack([_inside(box, kept.boxes) for box in found.boxes]) if len(found) else overlap
    same = found.class_ids[:, None] == kept.class_ids[None, :]
    alike = ((overlap > settings.iou) | (nested > settings.nested)) & same
    best = np.where(alike, overlap, -1.0).argmax(axis=1)
    return np.where(alike.any(axis=1), best, -1)


def _surer(kept: Detections, scores: NDArray[np.float32], owners: NDArray[np.intp]) -> Detections:
    """With the scores of coarser looks at the same objects, where those are higher; the places stay the finer ones."""
    raised = kept.scores.copy()
    np.maximum.at(raised, owners[owners >= 0], scores[owners >= 0])
    return Detections(kept.boxes, raised, kept.class_ids)


def _fits(box: NDArray[np.float32], tiles: Sequence[Tile], border: float) -> bool:
    """Whether some tile shows the box whole, away from its border."""
    for tile in tiles:
        near = border * np.array([tile.right - tile.left, tile.bottom - tile.top])
        low, high = np.array([tile.left, tile.top]) + near, np.array([tile.right, tile.bottom]) - near
        if (box[:2] >= low).all() and (box[2:] <= high).all():
            return True
    return False


def _inside(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of ``box`` that lies in each of ``others``, or of them in it where they are smaller."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    areas = np.minimum((box[2:] - box[:2]).prod(), (others[:, 2:] - others[:, :2]).prod(axis=1))
    parts: NDArray[np.float32] = shared / np.maximum(areas, np.float32(1e-6))
    return parts


def _cuts(length: int, grid: int, overlap: float) -> list[tuple[int, int]]:
    side = min(length, math.ceil(length / (grid - (grid - 1) * overlap)))
    starts = np.linspace(0, length - side, grid).round().astype(int)
    return [(int(start), int(start) + side) for start in dict.fromkeys(starts.tolist())]
