"""Constant-velocity Kalman filter over all tracks at once (Kalman 1960), in seconds.

The state of a track is centre, width and height of its box and their velocities: (cx, cy, w, h) and (vx, vy, vw, vh),
as in BoT-SORT (Aharon et al. 2022), with noise in proportion to the box, as in DeepSORT (Wojke et al. 2017). Motion
and measurement noise never mix the four coordinates, so the 8x8 covariance of a track is four separate 2x2 blocks and
stays so: it is kept as three (n, 4) arrays, and predicting or updating a hundred tracks is a handful of elementwise
NumPy operations. This is the exact filter, not an approximation of it.

Process noise is that of a continuous-time random walk, so predicting over ``a`` and then ``b`` seconds equals
predicting over ``a + b``: a camera that drops frames is tracked with the same parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BoxFilter", "Noise", "cxcywh_to_xyxy", "xyxy_to_cxcywh"]

_SMALLEST = 1.0  # pixels; keeps noise and sizes away from zero


@dataclass(frozen=True)
class Noise:
    """How boxes move and how well they are seen, in units of the track's box height.

    Attributes:
        measurement: Standard deviation of a detected edge or centre.
        drift: Random walk of the position itself, per square root of a second.
        acceleration: Random walk of the velocity, per second and square root of a second.
        size: Factor on the two for width and height, which change more slowly than places.
        first_velocity: Standard deviation of the unknown first velocity, per second.
    """

    measurement: float = 0.05
    drift: float = 0.05
    acceleration: float = 0.3
    size: float = 0.5
    first_velocity: float = 1.0


def xyxy_to_cxcywh(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Corner boxes (n, 4) as centre, width, height (n, 4)."""
    boxes = np.asarray(boxes, dtype=np.float64)
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(low + high) / 2.0, high - low], axis=1)


def cxcywh_to_xyxy(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Centre, width, height (n, 4) as corner boxes (n, 4); negative sizes count as 0."""
    boxes = np.asarray(boxes, dtype=np.float64)
    half = np.maximum(boxes[:, 2:], 0.0) / 2.0
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


class BoxFilter:
    """The filter's state for n tracks; rows are added, updated by index and kept by mask.

    Attributes:
        place: (n, 4) float64 cx, cy, w, h in pixels.
        velocity: (n, 4) float64 their change per second.
    """

    def __init__(self, noise: Noise | None = None) -> None:
        """An empty filter."""
        self._noise = noise or Noise()
        none = np.zeros((0, 4))
        self.place = none
        self.velocity = none
        # Covariance blocks [[pp, pv], [pv, vv]], one for each track and coordinate.
        self._pp = none
        self._pv = none
        self._vv = none
        self._scale = np.zeros((0, 1))
        size = self._noise.size
        self._shape = np.array([[1.0, 1.0, size, size]])

    def __len__(self) -> int:
        """Number of tracks."""
        return len(self.place)

    @property
    def boxes(self) -> NDArray[np.float64]:
        """(n, 4) xyxy pixels, as now believed."""
        return cxcywh_to_xyxy(self.place)

    @property
    def place_variance(self) -> NDArray[np.float64]:
        """(n, 4) variance of ``place`` in square pixels."""
        return self._pp

    def add(self, boxes: NDArray[np.floating]) -> None:
        """Starts a track for each of ``boxes`` (k, 4) xyxy, at rest with unknown velocity."""
        place = xyxy_to_cxcywh(boxes)
        scale = np.maximum(place[:, 3:4], _SMALLEST)
        zero = np.zeros_like(place)
        place_variance = (2.0 * self._noise.measurement * scale) ** 2 * np.ones((1, 4))
        velocity_variance = (self._noise.first_velocity * scale * self._shape) ** 2
        self.place = np.concatenate([self.place, place])
        self.velocity = np.concatenate([self.velocity, zero])
        self._pp = np.concatenate([self._pp, place_variance])
        self._pv = np.concatenate([self._pv, zero])
        self._vv = np.concatenate([self._vv, velocity_variance])
        self._scale = np.concatenate([self._scale, scale])

    def predict(self, seconds: float) -> None:
        """Moves every track ``seconds`` (0 or more) ahead."""
        if not len(self) or seconds <= 0.0:
            return
        noise = self._scale * self._shape
        drift = (self._noise.drift * noise) ** 2
        acceleration = (self._noise.acceleration * noise) ** 2
        self.place = self.place + seconds * self.velocity
        self._pp = (
            self._pp
            + seconds * (2.0 * self._pv + seconds * self._vv)
            + seconds * drift
            + (seconds**3 / 3.0) * acceleration
        )
        self._pv = self._pv + seconds * self._vv + (seconds**2 / 2.0) * acceleration
        self._vv = self._vv + seconds * acceleration
        # A box that shrinks to nothing while unseen would never be matched again: stop its size there.
        collapsed = self.place[:, 2:] < _SMALLEST
        if collapsed.any():
            self.place[:, 2:][collapsed] = _SMALLEST
            self.velocity[:, 2:][collapsed] = 0.0

    def update(self, rows: NDArray[np.intp], boxes: NDArray[np.floating]) -> None:
        """Corrects some tracks by what was seen.

        Args:
            rows: (k,) which tracks, each at most once.
            boxes: (k, 4) xyxy, the box seen for each.
        """
        if not len(rows):
            return
        seen = xyxy_to_cxcywh(boxes)
        pp, pv = self._pp[rows], self._pv[rows]
        innovation = seen - self.place[rows]
        total = pp + (self._noise.measurement * self._scale[rows]) ** 2
        gain_place, gain_velocity = pp / total, pv / total
        self.place[rows] += gain_place * innovation
        self.velocity[rows] += gain_velocity * innovation
        self._vv[rows] -= gain_velocity * pv
        self._pv[rows] = pv - gain_place * pv
        self._pp[rows] = pp - gain_place * pp
        self._scale[rows] = np.maximum(self.place[rows, 3:4], _SMALLEST)

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Forgets every track whose ``mask`` (n,) is False."""
        self.place, self.velocity = self.place[mask], self.velocity[mask]
        self._pp, self._pv, self._vv = self._pp[mask], self._pv[mask], self._vv[mask]
        self._scale = self._scale[mask]
