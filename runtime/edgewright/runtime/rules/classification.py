"""Tells when the best class of the picture changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.runtime.rules.base import Overlay, event_of
from edgewright.runtime.rules.stable import Stable
from edgewright.runtime.types import Classification

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.runtime.types import Event, Result

__all__ = ["ClassChange"]


class ClassChange:
    """Raises ``classification`` when another class has been the best one for ``min_frames`` frames in a row."""

    def __init__(self, labels: Sequence[str], min_frames: int = 3) -> None:
        """Starts with no class.

        Args:
            labels: Names by class id.
            min_frames: Frames a new best class must hold.
        """
        self._labels = tuple(labels)
        self._best: Stable[int | None] = Stable(None, min_frames)

    def update(self, result: Result, size: tuple[int, int]) -> Sequence[Event]:
        """Takes one result; see ``Rule``."""
        del size
        output = result.output
        if not isinstance(output, Classification) or not len(output.class_ids):
            return ()
        before = self._best.value
        self._best.update(int(output.class_ids[0]))
        if self._best.value == before or self._best.value is None:
            return ()
        data: dict[str, object] = {
            "class_id": self._best.value,
            "label": self._name(self._best.value),
            "score": round(float(output.scores[0]), 4),
            "previous": None if before is None else self._name(before),
        }
        return (event_of(result, "classification", data),)

    def overlay(self, size: tuple[int, int]) -> Overlay | None:
        """The stable class's name."""
        del size
        return None if self._best.value is None else Overlay("class", None, self._name(self._best.value))

    def _name(self, class_id: int) -> str:
        return self._labels[class_id] if 0 <= class_id < len(self._labels) else str(class_id)
