"""How many threads an engine may be asked for."""

from __future__ import annotations

import os

__all__ = ["most_threads"]

_PER_CORE = 4


def most_threads() -> int:
    """The largest number of engine threads that is not a slip of the finger: four for each core of this machine.

    An engine starts every thread it is asked for, and 100,000 of them take the machine down before a message can.
    """
    return _PER_CORE * (os.cpu_count() or 1)
