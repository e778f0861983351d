"""How long to wait before opening a camera again: exponential backoff with full jitter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

__all__ = ["Backoff"]


@dataclass(frozen=True)
class Backoff:
    """Waits drawn evenly from 0 to a bound that doubles with every failure.

    Full jitter keeps a hundred devices from knocking on one restarted recorder at the same moment.

    Attributes:
        first_s: Bound of the first wait, seconds.
        longest_s: The bound never grows beyond this, seconds.
    """

    first_s: float = 0.25
    longest_s: float = 10.0

    def bound(self, failures: int) -> float:
        """Largest wait in seconds after ``failures`` failures in a row (0 or more)."""
        doublings = min(max(failures, 0), 64)  # 2**64 exceeds every sensible bound without overflowing a float
        return min(self.longest_s, self.first_s * 2.0**doublings)

    def wait(self, failures: int, rng: random.Random) -> float:
        """Seconds to wait after ``failures`` failures in a row."""
        return rng.uniform(0.0, self.bound(failures))
