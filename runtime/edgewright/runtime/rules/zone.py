"""How many objects stand in a zone.

An object is in a zone when the middle of its box's lower edge is: that is where a person's feet are. The count has
to hold for ``min_frames`` frames before a ``zone_count`` event tells it, so a flickering box raises nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewright.runtime.errors import RuleConfigError
from edgewright.runtime.rules.base import Overlay, event_of
from edgewright.runtime.rules.polygon import area, inside
from edgewright.runtime.rules.stable import Stable
from edgewright.runtime.types import Detections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.runtime.types import Event, Result

__all__ = ["WHOLE_FRAME", "Zone", "ZoneCount", "parse_zone"]

_CORNERS = 3
_SHAPE = "a zone looks like door=0.1,0.2;0.5,0.2;0.5,0.9 (three or more corners x,y, as fractions 0..1 or in pixels)"


@dataclass(frozen=True)
class Zone:
    """A named polygon in the picture.

    Attributes:
        name: What events call it.
        corners: (x, y) in order, three or more; fractions of width and height if ``fractions``, else pixels.
        fractions: How to read ``corners``.
        min_frames: Frames a new count must hold.
    """

    name: str
    corners: tuple[tuple[float, float], ...]
    fractions: bool = True
    min_frames: int = 3

    def __post_init__(self) -> None:
        """Refuses what is no polygon.

        Raises:
            RuleConfigError: No name, too few or impossible corners, no area, ``min_frames`` below 1.
        """
        if not self.name:
            message = f"a zone has no name; {_SHAPE}"
            raise RuleConfigError(message)
        if self.min_frames < 1:
            message = f"zone {self.name}: min_frames must be at least 1, got {self.min_frames}"
            raise RuleConfigError(message)
        if len(self.corners) < _CORNERS:
            message = f"zone {self.name}: {len(self.corners)} corners make no area; {_SHAPE}"
            raise RuleConfigError(message)
        flat = [value for corner in self.corners for value in corner]
        if not all(math.isfinite(value) and value >= 0.0 for value in flat):
            message = f"zone {self.name}: corners must be numbers of 0 or more; {_SHAPE}"
            raise RuleConfigError(message)
        if self.fractions and max(flat) > 1.0:
            message = f"zone {self.name}: fractions must lie within 0..1; {_SHAPE}"
            raise RuleConfigError(message)
        if area(np.array(self.corners)) <= 0.0:
            message = f"zone {self.name}: the corners lie on one line; {_SHAPE}"
            raise RuleConfigError(message)

    def pixels(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """Corners (k, 2) in pixels of a frame of this (width, height)."""
        factor = np.array(size, np.float64) if self.fractions else 1.0
        return np.asarray(np.array(self.corners, np.float64) * factor)


WHOLE_FRAME = Zone("view", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))


def parse_zone(text: str, min_frames: int = 3) -> Zone:
    """Reads ``name=x1,y1;x2,y2;x3,y3;...``; all values up to 1 mean fractions, any larger one pixels.

    Raises:
        RuleConfigError: The text says something else.
    """
    name, found, rest = text.partition("=")
    if not found:
        message = f"zone {text!r} has no '='; {_SHAPE}"
        raise RuleConfigError(message)
    corners = []
    for corner in filter(None, (part.strip() for part in rest.split(";"))):
        try:
            x, y = (float(value) for value in corner.split(","))
        except ValueError:
            message = f"zone {name.strip()}: {corner!r} is no corner; {_SHAPE}"
            raise RuleConfigError(message) from None
        corners.append((x, y))
    fractions = all(value <= 1.0 for corner in corners for value in corner)
    return Zone(name.strip(), tuple(corners), fractions, min_frames)


class ZoneCount:
    """Raises ``zone_count`` when the number of objects in a zone changes for good."""

    def __init__(self, zone: Zone) -> None:
        """Starts at a count of 0."""
        self._zone = zone
        self._count = Stable(0, zone.min_frames)

    @property
    def count(self) -> int:
        """The count that holds now."""
        return self._count.value

    def update(self, result: Result, size: tuple[int, int]) -> Sequence[Event]:
        """Counts tracks, or detections where nothing is tracked; see ``Rule``."""
        if result.tracks is not None:
            boxes, ids = result.tracks.boxes, result.tracks.ids
        elif isinstance(result.output, Detections):
            boxes, ids = result.output.boxes, None
        else:
            return ()
        feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2.0, boxes[:, 3]], axis=1)
        within = inside(feet, self._zone.pixels(size))
        previous = self._count.update(int(within.sum()))
        if previous is None:
            return ()
        data: dict[str, object] = {"zone": self._zone.name, "count": self._count.value, "previous": previous}
        if ids is not None:
            data["track_ids"] = [int(number) for number in ids[within]]
        return (event_of(result, "zone_count", data),)

    def overlay(self, size: tuple[int, int]) -> Overlay | None:
        """The zone's outline and count."""
        polygon = None if self._zone.corners == WHOLE_FRAME.corners else self._zone.pixels(size)
        return Overlay(self._zone.name, polygon, str(self.count))
