"""A budget of time that long steps look at between two evaluations."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from edgewright.optimize.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Deadline"]


class Deadline:
    """So many seconds from now on; nothing is interrupted, whoever works asks.

    Example:
        >>> deadline = Deadline(600)
        >>> deadline.passed
        False
    """

    def __init__(self, seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts the budget.

        Args:
            seconds: Its length; None never passes.
            clock: Seconds that only ever grow.

        Raises:
            SpecError: A negative length, or one that is no number.
        """
        if seconds is not None and not seconds >= 0:
            msg = f"a time budget is zero seconds or more, not {seconds}"
            raise SpecError(msg)
        self._clock = clock
        self._end = math.inf if seconds is None else clock() + seconds

    @property
    def left(self) -> float:
        """Seconds left, 0.0 when it has passed, infinite without a budget."""
        return max(0.0, self._end - self._clock()) if math.isfinite(self._end) else math.inf

    @property
    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0.0

    def share(self, part: float) -> Deadline:
        """A budget of its own over ``part`` (0..1) of what is left; it never ends after this one."""
        left = self.left
        return Deadline(None if math.isinf(left) else left * min(max(part, 0.0), 1.0), self._clock)
