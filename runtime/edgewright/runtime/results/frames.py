"""The pictures that a bundle is timed with: its golden frames, enlarged to what the optimizer timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgewright.bundle.errors import IntegrityError
from edgewright.bundle.golden import read_golden
from edgewright.bundle.reader import open_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Manifest

__all__ = ["golden_frames", "timed_size"]

_MOST_PIXELS = 2**25


def golden_frames(path: Path, size: tuple[int, int] | None = None) -> list[NDArray[np.uint8]]:
    """A bundle's golden frames, (H, W, 3) uint8 BGR.

    Args:
        path: Bundle directory or ``.edge`` file.
        size: (width, height) to enlarge them to; None leaves them as they are.

    Raises:
        BundleError: The bundle is not right.
        IntegrityError: It carries none.
    """
    with open_bundle(path) as bundle:
        golden = bundle.manifest.golden
        if golden is None:
            msg = f"bundle {path} carries no golden frames to run; make it again with edgewright optimize"
            raise IntegrityError(msg)
        frames = read_golden(bundle.read(golden.file)).frames
    return list(frames) if size is None else [np.asarray(cv2.resize(frame, size), np.uint8) for frame in frames]


def timed_size(manifest: Manifest) -> tuple[int, int] | None:
    """(width, height) of the frames that the optimizer timed, None where the bundle does not tell."""
    for size in (latency.extra.get("frame_size") for variant in manifest.variants for latency in variant.latency):
        if isinstance(size, (list, tuple)) and len(size) == 2 and all(type(side) is int and side > 0 for side in size):
            width, height = size
            if width * height <= _MOST_PIXELS:
                return int(width), int(height)
    return None
