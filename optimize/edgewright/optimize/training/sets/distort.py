"""How pictures are distorted while training, so that a network does not learn them by heart.

Some distortions have few forms (mirrored or not, shifted by whole pixels): those are numbered, so that what a teacher says
of each can be remembered. The others differ every time.

All of it works on whole batches of planes (n, 3, H, W) and draws from one generator in a fixed order.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgewright.optimize.errors import SpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FRESH", "Distort", "Distorted", "distorted"]

FRESH = -1
"""View of a picture that was distorted in a way that will not come again."""

_MOST_ZOOM = 0.9
_GREY = 114


@dataclass(frozen=True)
class Distort:
    """What may happen to a training picture; the defaults are modest and leave teachers something to remember.

    Attributes:
        mirror: Left and right are exchanged in half of the pictures. Wrong where the side matters, as in writing.
        shift: Moved by up to so many network pixels each way; the edge is repeated.
        brightness: Grey levels are raised or lowered by up to this part of 255.
        contrast: Distances from the middle grey level are stretched by up to this part.
        zoom: For each picture a window of the size of the picture times 1 - zoom to 1 + zoom is shown, at a random
            place; past the edge it is grey.
        cutout: Side of a grey square at a random place (DeVries & Taylor 2017), in network pixels; 0 for none.
    """

    mirror: bool = True
    shift: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    zoom: float = 0.0
    cutout: int = 0

    def __post_init__(self) -> None:
        """Refuses what makes no sense.

        Raises:
            SpecError: Naming the setting.
        """
        for name, high in (("brightness", 1.0), ("contrast", 1.0), ("zoom", _MOST_ZOOM)):
            value = getattr(self, name)
            if not 0.0 <= value <= high:
                msg = f"distort.{name} is {value}; it must lie between 0 and {high:g}"
                raise SpecError(msg)
        for name in ("shift", "cutout"):
            value = getattr(self, name)
            if value < 0:
                msg = f"distort.{name} is {value}; give 0 or more pixels"
                raise SpecError(msg)

    @property
    def finite(self) -> bool:
        """Whether a picture has only so many forms, each with its number."""
        return not (self.brightness or self.contrast or self.zoom or self.cutout)

    @property
    def views(self) -> int:
        """How many forms a picture has, where they can be counted."""
        return (1 + self.mirror) * (2 * self.shift + 1) ** 2 if self.finite else 0

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    @staticmethod
    def none() -> Distort:
        """Pictures as they are."""
        return Distort(mirror=False)


@dataclass(frozen=True, eq=False)
class Distorted:
    """A distorted batch.

    Attributes:
        planes: (n, 3, H, W), uint8 where no grey level changed, else float32 within 0..255.
        views: (n,) int64 number of each picture's form, 0 for an undistorted one, ``FRESH`` where it has none.
        matrices: (n, 2, 3) float64, from old to new network pixels, for boxes.
    """

    planes: NDArray[Any]
    views: NDArray[np.int64]
    matrices: NDArray[np.float64]


def distorted(planes: NDArray[np.uint8], how: Distort, rng: np.random.Generator) -> Distorted:
    """Distorts a batch.

    Args:
        planes: (n, 3, H, W); not changed.
        how: What may happen.
        rng: Where chance comes from; the same state gives the same batch.
    """
    count, _, height, width = planes.shape
    views = np.zeros(count, np.int64)
    matrices = np.tile(np.eye(2, 3), (count, 1, 1))
    if how.mirror:
        flipped: NDArray[np.bool_] = rng.integers(0, 2, (count,)).astype(np.bool_)
        planes = np.where(flipped[:, None, None, None], planes[..., ::-1], planes)
        views += flipped
        matrices[flipped, 0] = (-1.0, 0.0, float(width))
    if how.shift:
        moves = rng.integers(-how.shift, how.shift + 1, (count, 2))
        planes = _shifted(planes, moves, how.shift)
        matrices[:, :, 2] += moves
        views += (1 + how.mirror) * _move_number(moves, how.shift)
    if how.zoom:
        sizes: NDArray[np.float64] = 1.0 + rng.uniform(-how.zoom, how.zoom, (count,))
        places = rng.uniform(0.0, 1.0, (count, 2))
        planes = _zoomed(planes, sizes, places, matrices)
    if how.cutout:
        planes = _cut(planes, how.cutout, rng.integers(0, (height, width), (count, 2)))
    shaded: NDArray[Any] = planes
    if how.brightness or how.contrast:
        shaded = _shaded(planes, how, rng)
    return Distorted(shaded, views if how.finite else np.full(count, FRESH, np.int64), matrices)


def _move_number(moves: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Numbers the moves; the one that moves nothing is 0."""
    side = 2 * most + 1
    numbers: NDArray[np.int64] = (moves % side) @ np.array([side, 1])
    return numbers


def _shifted(planes: NDArray[np.uint8], moves: NDArray[np.int64], most: int) -> NDArray[np.uint8]:
    padded = np.pad(planes, ((0, 0), (0, 0), (most, most), (most, most)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, planes.shape[2:], axis=(2, 3))
    chosen: NDArray[np.uint8] = windows[np.arange(len(planes)), :, most - moves[:, 1], most - moves[:, 0]]
    return chosen


def _zoomed(
    planes: NDArray[np.uint8],
    sizes: NDArray[np.float64],
    places: NDArray[np.float64],
    matrices: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Shows a window of each picture; ``matrices`` are changed along."""
    height, width = planes.shape[2:]
    out = np.empty_like(planes)
    for row, (size, place) in enumerate(zip(sizes, places, strict=True)):
        corner = place * (1.0 - size) * np.array([width, height])
        step = np.array([[1.0, 0.0, -corner[0]], [0.0, 1.0, -corner[1]]]) / size
        # Pixel centres lie at half pixels for boxes, and at whole ones for OpenCV.
        pixels = step.copy()
        pixels[:, 2] += 0.5 / size - 0.5
        for plane in range(planes.shape[1]):
            out[row, plane] = cv2.warpAffine(
                planes[row, plane], pixels, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=_GREY
            )
        matrices[row] = step[:, :2] @ matrices[row] + np.array([[0, 0, step[0, 2]], [0, 0, step[1, 2]]])
    return out


def _cut(planes: NDArray[np.uint8], side: int, centres: NDArray[np.int64]) -> NDArray[np.uint8]:
    out = planes.copy()
    for row, (y, x) in enumerate(centres - side // 2):
        out[row, :, max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)] = _GREY
    return out


def _shaded(planes: NDArray[np.uint8], how: Distort, rng: np.random.Generator) -> NDArray[np.float32]:
    middle = 127.5
    count = len(planes)
    gain = 1.0 + rng.uniform(-how.contrast, how.contrast, count)
    offset = middle - gain * middle + 255.0 * rng.uniform(-how.brightness, how.brightness, count)
    out = planes.astype(np.float32)
    out *= gain.astype(np.float32)[:, None, None, None]
    out += offset.astype(np.float32)[:, None, None, None]
    np.clip(out, 0.0, 255.0, out=out)
    return out
