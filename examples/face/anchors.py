"""Anchors of RetinaFace (Deng et al. 2020, section 3.1) for one input size.

    python -m examples.face.anchors 320 320 examples/face/anchors.npy

Each cell of the maps with strides 8, 16 and 32 has two square anchors. The spec points to the file that this writes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from edgewright.bundle.arrays import npy_bytes
from edgewright.bundle.atomic import write_bytes

__all__ = ["face_anchors"]

_MAPS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))  # (stride, sides of the squares), all in pixels


def face_anchors(width: int, height: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """All anchors in the order of the outputs: map by map, rows first, then the sizes of a cell.

    Args:
        width: Input width in pixels.
        height: Input height in pixels.

    Returns:
        (n, 4) float32: centre x, centre y, width, height as fractions of the picture.
    """
    rows = [
        ((x + 0.5) * stride / width, (y + 0.5) * stride / height, side / width, side / height)
        for stride, sides in _MAPS
        for y in range(-(-height // stride))
        for x in range(-(-width // stride))
        for side in sides
    ]
    return np.asarray(rows, np.float32)


def main() -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the anchors of RetinaFace for one input size.")
    parser.add_argument("width", type=int)
    parser.add_argument("height", type=int)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    anchors = face_anchors(options.width, options.height)
    write_bytes(options.out, npy_bytes(anchors))
    sys.stdout.write(f"{options.out}: {len(anchors)} anchors\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
