"""One thing that a chain tried, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Trial"]


@dataclass(frozen=True)
class Trial:
    """A row of the report's table of what was tried.

    Attributes:
        name: The pass or method, as a recipe writes it.
        kept: Whether it went into the result.
        why: In words.
        loss: Mean loss on the selection pictures with it; None where it was not measured.
        before: The same without it.
        seconds: What it took, its measurement included.
        bytes: Size of the file with it; None where there is none.
    """

    name: str
    kept: bool
    why: str
    loss: float | None = None
    before: float | None = None
    seconds: float = 0.0
    bytes: int | None = None

    def values(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)
