"""What a rule is: results in, events out, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edgewright.runtime.types import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edgewright.runtime.types import Result

__all__ = ["Overlay", "Rule", "event_of"]


@dataclass(frozen=True, eq=False)
class Overlay:
    """What a rule would like drawn over the picture.

    Attributes:
        name: Short text.
        polygon: (k, 2) float64 pixels, None when there is nothing to outline.
        text: The rule's present state, such as a count.
    """

    name: str
    polygon: NDArray[np.float64] | None
    text: str


class Rule(Protocol):
    """Looks at every good result of one camera and says when something is worth telling.

    A rule is shown results with status ``OK`` only: a failed or late frame must never look like an empty one.
    """

    def update(self, result: Result, size: tuple[int, int]) -> Sequence[Event]:
        """Takes one result.

        Args:
            result: Status ``OK``.
            size: (width, height) of its frame in pixels.

        Returns:
            What to tell, usually nothing.
        """
        ...

    def overlay(self, size: tuple[int, int]) -> Overlay | None:
        """What to draw on a frame of this (width, height)."""
        ...


def event_of(result: Result, kind: str, data: dict[str, object]) -> Event:
    """An event caused by ``result``."""
    return Event(
        kind=kind,
        camera=result.camera,
        frame_index=result.frame_index,
        media_time=result.media_time,
        captured_at=result.captured_at,
        time_quality=result.time_quality,
        data=data,
    )
