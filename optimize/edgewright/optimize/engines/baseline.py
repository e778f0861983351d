"""Our absolute goal in the words of neural-compressor's tuner, which knows a baseline and a relative loss."""

from __future__ import annotations

import math

__all__ = ["as_baseline"]


def as_baseline(accept: float) -> float:
    """The baseline with which the tuner, told to allow no loss, stops at a score of ``accept`` or more.

    It divides by the baseline, so 0 becomes the number next below it.

    Args:
        accept: The score that is good enough.
    """
    return accept or math.nextafter(0.0, -1.0)
