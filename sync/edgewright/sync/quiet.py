"""Logging that a fault which repeats itself cannot flood."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

__all__ = ["Throttle"]

_MOST_CAUSES = 100


class Throttle:
    """Lets each cause be logged once in a while, and then says how often it was left out; for one thread.

    Args:
        interval_s: Shortest time between two lines about one cause.
        clock: Seconds that never run backwards.
    """

    def __init__(self, interval_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was logged yet."""
        self._interval_s = interval_s
        self._clock = clock
        self._seen: dict[str, tuple[float, int]] = {}

    def warn(self, log: logging.Logger, cause: str, text: str, *values: object) -> bool:
        """Logs ``text % values`` as a warning unless ``cause`` was logged just now.

        Returns:
            Whether it was logged.
        """
        now = self._clock()
        since, left_out = self._seen.get(cause, (now, 0))
        if cause in self._seen and now - since < self._interval_s:
            self._seen[cause] = since, left_out + 1
            return False
        if len(self._seen) >= _MOST_CAUSES and cause not in self._seen:
            self._seen.clear()
        self._seen[cause] = now, 0
        more = f" ({left_out} more of this kind since the last such line)" if left_out else ""
        log.warning("%s%s", text % values, more)
        return True
