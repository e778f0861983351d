"""From pictures of any size to network pixels, and from network pixels to the network's input, a batch at a time.

Both halves go through the device's own ``Preprocessor``, in forms that give just one half of its work: a uint8 tensor in
BGR order is the fitted picture, and a ramp of all grey levels as the picture gives the table that it maps them by. So
an undistorted picture enters training as it enters the network on the device, to the last bit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgewright.bundle.manifest import Layout, ResizeMode, TensorSpec
from edgewright.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Preprocess
    from edgewright.runtime.preprocess import Placement

__all__ = ["Fitter", "Normalizer"]

_LEVELS = 256


class Fitter:
    """Fits pictures into the network's size, as planes in the network's order of channels; owns buffers."""

    def __init__(self, preprocess: Preprocess) -> None:
        """Allocates the buffers."""
        shape = (1, 3, preprocess.height, preprocess.width)
        tensor = TensorSpec("pixels", shape, "uint8", Layout.NCHW, color=preprocess.color)
        self._preprocessor = Preprocessor(preprocess, tensor)

    def __call__(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Placement]:
        """One picture (H, W, 3) uint8 BGR to (3, height, width), and where it lies there; use it before the next call.

        Raises:
            FrameError: Not such a picture.
        """
        buffer, placement = self._preprocessor(image)
        return buffer[0], placement


class Normalizer:
    """Maps grey levels to what the network takes."""

    def __init__(self, preprocess: Preprocess) -> None:
        """Reads the tables off the device's preprocessing."""
        ramp = np.repeat(np.arange(_LEVELS, dtype=np.uint8)[None, :, None], 3, axis=2)
        strip = replace(preprocess, resize=ResizeMode.STRETCH, width=_LEVELS, height=1, crop_from=None)
        values, _ = Preprocessor(strip, TensorSpec("values", (1, 3, 1, _LEVELS), "float32", Layout.NCHW))(ramp)
        self._tables: NDArray[np.float32] = values[0, :, 0].copy()
        self._alike = bool((self._tables == self._tables[0]).all())
        steps = (self._tables[:, -1].astype(np.float64) - self._tables[:, 0]) / (_LEVELS - 1)
        self._steps = steps.astype(np.float32)[:, None, None]
        self._zeros = self._tables[:, 0, None, None]

    def __call__(self, planes: NDArray[Any]) -> NDArray[np.float32]:
        """(n, 3, H, W) to float32 of the same shape: uint8 exactly as on the device, float32 0..255 by the same line."""
        if planes.dtype != np.uint8:
            scaled: NDArray[np.float32] = planes * self._steps + self._zeros
            return scaled
        out = np.empty(planes.shape, np.float32)
        if self._alike:
            # OpenCV looks up rows of pixels; how the batch is cut into rows does not matter.
            flat = np.ascontiguousarray(planes).reshape(-1, planes.shape[-1])
            cv2.LUT(flat, self._tables[0], dst=out.reshape(flat.shape))
            return out
        for channel, table in enumerate(self._tables):
            plane = np.ascontiguousarray(planes[:, channel]).reshape(-1, planes.shape[-1])
            out[:, channel] = cv2.LUT(plane, table).reshape(out[:, channel].shape)
        return out
