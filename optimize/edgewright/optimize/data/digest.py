"""Pictures known by their pixels, whatever they are called and wherever they lie."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DatasetDigest", "frame_digest"]


def frame_digest(image: NDArray[np.uint8]) -> bytes:
    """SHA-256 over a picture's shape and pixels.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        32 bytes; equal for equal pictures only.
    """
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


class DatasetDigest:
    """SHA-256 over the digests of pictures in order, and over their labels where there are any."""

    def __init__(self) -> None:
        """Starts empty."""
        self._digest = hashlib.sha256()
        self.count = 0

    def add(self, frame: bytes, labels: bytes = b"") -> None:
        """Takes in one picture's digest and the bytes of its labels."""
        self._digest.update(frame + hashlib.sha256(labels).digest() if labels else frame)
        self.count += 1

    def hexdigest(self) -> str:
        """Of everything taken in so far, lower-case hex."""
        return self._digest.hexdigest()
