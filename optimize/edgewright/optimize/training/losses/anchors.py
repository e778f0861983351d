"""Which anchor answers for which object, and what it should say (Liu et al. 2016, section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewright.bundle.manifest import Box
from edgewright.runtime.overlap import iou_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.bundle.manifest import SsdDecode
    from edgewright.optimize.training.types import Boxes

__all__ = ["Matcher", "Matches", "encode"]

_LEAST_SIDE = 1e-4
_MOST_INSIDE = 0.5


@dataclass(frozen=True, eq=False)
class Matches:
    """What the anchors of one picture should say.

    Attributes:
        objects: (k,) which anchors answer for an object.
        classes: (k,) its label.
        codes: (k, 4) float32 in the head's order.
        weights: (k,) float32, above 0.
        ignored: (j,) anchors that count neither way.
    """

    objects: NDArray[np.intp]
    classes: NDArray[np.int64]
    codes: NDArray[np.float32]
    weights: NDArray[np.float32]
    ignored: NDArray[np.intp]


class Matcher:
    """Matches the boxes of pictures with one net's anchors."""

    def __init__(self, decode: SsdDecode, anchors: NDArray[np.float32], least_iou: float) -> None:
        """Keeps the constants.

        Args:
            decode: Order and variances of the codes.
            anchors: (n, 4) cx, cy, w, h as parts of the network's picture.
            least_iou: An anchor that overlaps an object by this much answers for it, besides the best one.
        """
        self._decode, self._anchors, self._least = decode, anchors, least_iou
        half = anchors[:, 2:] / 2
        self._corners = np.concatenate([anchors[:, :2] - half, anchors[:, :2] + half], axis=1)

    def __call__(self, boxes: Boxes) -> Matches:
        """Matches one picture.

        Each anchor belongs to the object that it overlaps most, if by ``least_iou``; and each object gets the anchor
        that overlaps it most, the best fit first, whatever that anchor's own choice was.
        """
        if not len(boxes.corners):
            nothing = np.zeros(0, np.intp)
            empty = np.zeros(0, np.float32)
            return Matches(nothing, nothing.astype(np.int64), np.zeros((0, 4), np.float32), empty, nothing)
        overlap = iou_matrix(boxes.corners, self._corners)
        owner = overlap.argmax(axis=0)
        owner[overlap.max(axis=0) < self._least] = -1
        real = boxes.weights > 0
        # Objects that count neither way take no anchor from those that count.
        given = np.zeros(len(owner), np.bool_)
        _give_best(overlap, np.flatnonzero(real), owner, given)
        _give_best(overlap, np.flatnonzero(~real), owner, given)
        weights = np.where(owner >= 0, boxes.weights[owner], np.float32(0.0))
        objects = np.flatnonzero(weights > 0)
        owners = owner[objects]
        codes = encode(boxes.corners[owners], self._anchors[objects], self._decode)
        ignored = np.flatnonzero((weights <= 0) & ((owner >= 0) | self._within(boxes.corners[~real])))
        return Matches(objects, boxes.classes[owners], codes, weights[objects].astype(np.float32), ignored)

    def _within(self, corners: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which anchors lie mostly in one of some boxes: a crowd that nobody took apart is not nothing."""
        inside = np.zeros(len(self._corners), np.bool_)
        sides = self._corners[:, 2:] - self._corners[:, :2]
        for box in corners:
            low, high = np.maximum(self._corners[:, :2], box[:2]), np.minimum(self._corners[:, 2:], box[2:])
            shared = np.maximum(high - low, 0.0).prod(axis=1)
            inside |= shared > _MOST_INSIDE * sides.prod(axis=1)
        return inside


def _give_best(
    overlap: NDArray[np.float64], rows: NDArray[np.intp], owner: NDArray[np.intp], given: NDArray[np.bool_]
) -> None:
    """Gives each of some objects the anchor that overlaps it most, the best fit first.

    Args:
        overlap: (objects, anchors).
        rows: Which objects.
        owner: Of each anchor; changed.
        given: Anchors that were given before; changed.
    """
    free = overlap[rows]
    free[:, given] = -1.0
    for _ in rows:
        best, anchor = np.unravel_index(int(free.argmax()), free.shape)
        if free[best, anchor] <= 0:
            break  # smaller than every anchor's reach: nobody can answer for it
        owner[anchor], given[anchor] = rows[best], True
        free[best] = -1.0
        free[:, anchor] = -1.0


def encode(corners: NDArray[np.float32], anchors: NDArray[np.float32], decode: SsdDecode) -> NDArray[np.float32]:
    """The codes that decode to given boxes; the other way round than ``SsdDecoder``.

    Args:
        corners: (n, 4) xyxy as parts of the network's picture.
        anchors: (n, 4) cx, cy, w, h, one for each.
        decode: Order and variances.

    Returns:
        (n, 4) float32.
    """
    wide: NDArray[np.float64] = corners.astype(np.float64)
    centre = (wide[:, :2] + wide[:, 2:]) / 2
    sides = np.maximum(wide[:, 2:] - wide[:, :2], _LEAST_SIDE)
    xy = (centre - anchors[:, :2]) / (anchors[:, 2:] * decode.variance_xy)
    wh = np.log(sides / anchors[:, 2:]) / decode.variance_wh
    codes = np.concatenate([xy, wh], axis=1).astype(np.float32)
    return codes[:, [1, 0, 3, 2]] if decode.order is Box.YXHW else codes
