"""What the camera loop asks of a tracker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgewright.runtime.types import Detections, Tracks

__all__ = ["Tracker"]


class Tracker(Protocol):
    """Gives detections of successive frames an identity. All state belongs to the instance."""

    @property
    def score_floor(self) -> float:
        """Lowest score the tracker can use; the loop asks the model for everything above it."""
        ...

    @property
    def ids_given(self) -> int:
        """How many identities were confirmed since the start; ids are 1 to this number."""
        ...

    def update(self, detections: Detections, media_time: float, size: tuple[int, int]) -> Tracks:
        """Takes one frame's detections.

        Args:
            detections: Everything above ``score_floor``, one box an object.
            media_time: Seconds on the scene's clock; growing from call to call.
            size: (width, height) of the frame in pixels.

        Returns:
            The confirmed identities seen in this frame, smoothed and clipped to the frame, ids ascending.
        """
        ...
