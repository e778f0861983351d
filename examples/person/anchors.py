"""The anchors of the person detector, rebuilt from the rule of the SSD paper (Liu et al. 2016, section 2.2)."""

from __future__ import annotations

from math import sqrt

import numpy as np

__all__ = ["GRIDS", "ssd_anchors"]

GRIDS = (19, 10, 5, 3, 2, 1)
"""Side of the six feature maps at 300 x 300."""

_SMALLEST, _LARGEST = 0.2, 0.95
_FIRST_GRID = ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5))  # (scale, ratio): the finest map has its own three
_RATIOS = (1.0, 2.0, 0.5, 3.0, 1.0 / 3.0)


def ssd_anchors() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """All anchors in the order of the network's outputs: grid by grid, rows first, then the shapes of a cell.

    Returns:
        (1917, 4) float32: centre x, centre y, width, height as fractions of the picture.
    """
    steps = len(GRIDS) - 1
    scales = [_SMALLEST + (_LARGEST - _SMALLEST) * i / steps for i in range(len(GRIDS))] + [1.0]
    rows: list[tuple[float, float, float, float]] = []
    for index, grid in enumerate(GRIDS):
        shapes = [*_FIRST_GRID]
        if index > 0:
            between = sqrt(scales[index] * scales[index + 1])
            shapes = [*((scales[index], ratio) for ratio in _RATIOS), (between, 1.0)]
        rows += [
            ((x + 0.5) / grid, (y + 0.5) / grid, scale * sqrt(ratio), scale / sqrt(ratio))
            for y in range(grid)
            for x in range(grid)
            for scale, ratio in shapes
        ]
    return np.asarray(rows, np.float32)
