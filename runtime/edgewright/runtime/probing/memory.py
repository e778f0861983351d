"""How fast memory is copied: the bound of every layer that does little arithmetic on many numbers."""

from __future__ import annotations

import statistics
import time

import numpy as np

__all__ = ["REPEATS", "copy_bandwidth_gbs"]

REPEATS = 9
"""Copies that the median is taken of."""

_LARGEST = 64 << 20
_SMALLEST = 4 << 20
# Of the memory there is, both buffers together take at most a quarter.
_SHARE = 8


def copy_bandwidth_gbs(memory_mb: int | None = None, repeats: int = REPEATS) -> float:
    """Bytes read plus bytes written in a copy by one thread, in 1e9 bytes a second; the median of some copies.

    The buffers are larger than the caches of small boards; a workstation with a very large one is flattered.

    Args:
        memory_mb: Memory of the machine in MiB, so that a small one is not filled; None takes the smallest buffers.
        repeats: How many copies are timed.
    """
    size = _SMALLEST if memory_mb is None else max(_SMALLEST, min(_LARGEST, (memory_mb << 20) // _SHARE))
    source = np.ones(size, np.uint8)
    target = np.empty_like(source)
    np.copyto(target, source)  # the first one meets pages that are not there yet
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - started)
    return 2 * size / statistics.median(seconds) / 1e9
