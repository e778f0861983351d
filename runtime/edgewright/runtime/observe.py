"""What the camera loop hands out, and to whom.

Sinks are called on the loop's thread and must return at once: whoever writes to a disk or a socket puts a ``Lane``
in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgewright.runtime.rules.base import Overlay
    from edgewright.runtime.types import Event, Frame, Result

__all__ = ["EventSink", "Observation", "ResultSink"]


@dataclass(frozen=True, eq=False)
class Observation:
    """One result with all that is needed to show it.

    Attributes:
        result: What was seen, or why nothing was.
        frame: The picture; None when the source was down. Shared between sinks: do not draw into it.
        overlays: What the rules would like drawn.
    """

    result: Result
    frame: Frame | None = None
    overlays: tuple[Overlay, ...] = ()


class EventSink(Protocol):
    """Takes events."""

    def emit(self, event: Event) -> None:
        """Takes one event without blocking."""
        ...


class ResultSink(Protocol):
    """Takes every result, good or not."""

    def observe(self, observation: Observation) -> None:
        """Takes one result."""
        ...
