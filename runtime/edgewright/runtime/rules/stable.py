"""Hysteresis: a value counts once it has held for some frames."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Stable"]

T = TypeVar("T")


class Stable(Generic[T]):
    """Follows a jumpy value and changes only when a new one held for ``frames`` frames in a row.

    Attributes:
        value: The value that counts.
    """

    def __init__(self, value: T, frames: int) -> None:
        """Starts at ``value``."""
        self.value = value
        self._frames = max(1, frames)
        self._candidate = value
        self._held = 0

    def update(self, seen: T) -> T | None:
        """Takes this frame's value; the previous stable one if it just changed, else None."""
        if seen == self.value:
            self._held = 0
            return None
        self._held = self._held + 1 if self._held and seen == self._candidate else 1
        self._candidate = seen
        if self._held < self._frames:
            return None
        previous, self.value, self._held = self.value, seen, 0
        return previous
