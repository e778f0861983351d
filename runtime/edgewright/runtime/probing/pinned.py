"""Keeping a thread to some processors for a while."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgewright.runtime.machine import pin_to_processors

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pinned"]


@contextmanager
def pinned(count: int) -> Iterator[tuple[int, ...]]:
    """Keeps the calling thread, and threads it starts meanwhile, to the last ``count`` processors; gives their numbers."""
    try:
        before = os.sched_getaffinity(0)
    except (AttributeError, OSError):  # a system that cannot pin
        yield ()
        return
    try:
        yield pin_to_processors(count)
    finally:
        os.sched_setaffinity(0, before)
