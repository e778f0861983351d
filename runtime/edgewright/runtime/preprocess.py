"""From a camera frame to the network's input, exactly as the bundle says.

One way for every dtype: resize, split into planes, and map each of the 256 grey levels through a table per
channel. The table holds the normalised value, or its integer code when the input tensor is quantized, so an
integer network never sees a float pass; one that takes the pixels as they are gets them without the table, too, and so
does one that takes them less 128. All
buffers are allocated once (measured beside ``blobFromImage`` in ``scripts/bench``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgewright.bundle.manifest import ColorOrder, Layout, ResizeMode
from edgewright.runtime.errors import FrameError, ModelMismatchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Preprocess, TensorSpec

__all__ = ["Placement", "Preprocessor"]

_CHANNELS = 3
_IMAGE_AXES = 3
_LEVELS = 256
_MIDDLE = 128
_HIGHEST_BIT = np.uint8(0x80)


@dataclass(frozen=True)
class Placement:
    """Where the frame lies in the network's input picture: ``net = frame * scale + offset``.

    Attributes:
        scale_x: Network pixels per frame pixel.
        scale_y: The same downwards.
        offset_x: Network x of the frame's left edge, in pixels.
        offset_y: Network y of its top edge.
        width: Frame width in pixels.
        height: Frame height in pixels.
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float
    width: int
    height: int

    def to_frame(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4) xyxy from network pixels to frame pixels, cut at the frame's edges."""
        offset = np.array([self.offset_x, self.offset_y] * 2, np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        limit = np.array([self.width, self.height] * 2, np.float32)
        framed: NDArray[np.float32] = np.clip((boxes - offset) / scale, np.float32(0), limit)
        return framed

    def to_network(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4) xyxy from frame pixels to network pixels."""
        offset = np.array([self.offset_x, self.offset_y] * 2, np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        return (boxes * scale + offset).astype(np.float32)


class Preprocessor:
    """Fits frames into one input tensor; owns the buffers, so one a thread."""

    def __init__(self, spec: Preprocess, tensor: TensorSpec) -> None:
        """Allocates the buffers.

        Args:
            spec: The bundle's preprocessing.
            tensor: The input it feeds; shape (1, 3, H, W) or (1, H, W, 3). A ``color`` of its own goes
                before that of the spec.

        Raises:
            ModelMismatchError: The tensor is not an image of the spec's size.
        """
        self._spec = spec
        channels_first = tensor.layout is not Layout.NHWC
        wanted = (1, _CHANNELS, spec.height, spec.width) if channels_first else (1, spec.height, spec.width, _CHANNELS)
        if tuple(tensor.shape) != wanted:
            msg = (
                f"input {tensor.name!r} has shape {list(tensor.shape)}, the preprocessing makes {list(wanted)} "
                f"({'NCHW' if channels_first else 'NHWC'}); correct width, height or layout in the model's spec"
            )
            raise ModelMismatchError(msg)
        self._color = tensor.color or spec.color
        tables = _tables(spec, tensor)
        self._tables = tables if self._color is spec.color else tables[::-1]
        self._channels_first = channels_first
        self._order = (0, 1, 2) if self._color is ColorOrder.BGR else (2, 1, 0)
        self.buffer: NDArray[Any] = np.zeros(wanted, np.dtype(tensor.dtype))
        # Unsigned pixels less 128 are the same bits with the highest one turned.
        shift = _MIDDLE if tensor.dtype == "int8" else 0
        self._raw = self.buffer.itemsize == 1 and all((table == np.arange(_LEVELS) - shift).all() for table in tables)
        self._turned = self._raw and shift > 0
        self._pixels: NDArray[Any] = self.buffer.view(np.uint8) if self._raw else self.buffer
        straight = self._raw and not channels_first and self._color is ColorOrder.BGR
        # The tensor is the fitted frame where the network takes just that.
        self._fitted = self._pixels[0] if straight else np.empty((spec.height, spec.width, _CHANNELS), np.uint8)
        self._reordered = np.empty_like(self._fitted)
        self._planes = [
            self._pixels[0, self._order.index(k)] if self._raw and channels_first else np.empty(wanted[-2:], np.uint8)
            for k in range(_CHANNELS)
        ]
        self._interleaved_table = np.ascontiguousarray(np.stack(self._tables, axis=-1)[None])

    def __call__(self, image: NDArray[np.uint8]) -> tuple[NDArray[Any], Placement]:
        """Fits one frame.

        Args:
            image: (H, W, 3) uint8 BGR.

        Returns:
            The input tensor (the same buffer every time: use it before the next call) and where the frame lies in it.

        Raises:
            FrameError: Not such an image.
        """
        if image.dtype != np.uint8 or image.ndim != _IMAGE_AXES or image.shape[2] != _CHANNELS or not image.size:
            msg = f"a frame must be (H, W, 3) uint8 BGR, found {image.shape} {image.dtype}"
            raise FrameError(msg)
        fitted, placement = self._fit(image)
        self._normalise(fitted)
        if self._turned:
            np.bitwise_xor(self._pixels, _HIGHEST_BIT, out=self._pixels)
        return self.buffer, placement

    def _fit(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Placement]:
        spec = self._spec
        height, width = image.shape[:2]
        if spec.resize is ResizeMode.STRETCH:
            fitted = _resize(image, self._fitted)
            return fitted, Placement(spec.width / width, spec.height / height, 0.0, 0.0, width, height)
        if spec.resize is ResizeMode.LETTERBOX:
            return self._letterbox(image)
        return self._crop(image)

    def _letterbox(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Placement]:
        spec = self._spec
        height, width = image.shape[:2]
        factor = min(spec.width / width, spec.height / height)
        inner_w, inner_h = max(1, round(width * factor)), max(1, round(height * factor))
        left, top = (spec.width - inner_w) // 2, (spec.height - inner_h) // 2
        self._fitted[...] = spec.pad_value
        self._fitted[top : top + inner_h, left : left + inner_w] = _resize(
            image, np.empty((inner_h, inner_w, _CHANNELS), np.uint8)
        )
        return self._fitted, Placement(inner_w / width, inner_h / height, float(left), float(top), width, height)

    def _crop(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Placement]:
        spec = self._spec
        height, width = image.shape[:2]
        short = spec.crop_from or min(spec.width, spec.height)
        factor = short / min(height, width)
        # Only what the cut shows is scaled: of a panorama the whole would be gigabytes.
        left, inner_w = _middle(width, spec.width / factor)
        top, inner_h = _middle(height, spec.height / factor)
        cut = _resize(image[top : top + inner_h, left : left + inner_w], self._fitted)
        scale_x, scale_y = spec.width / inner_w, spec.height / inner_h
        return cut, Placement(scale_x, scale_y, -left * scale_x, -top * scale_y, width, height)

    def _normalise(self, fitted: NDArray[np.uint8]) -> None:
        if self._channels_first:
            cv2.split(fitted, self._planes)
            if not self._raw:
                for channel, source in enumerate(self._order):
                    cv2.LUT(self._planes[source], self._tables[channel], dst=self.buffer[0, channel])
            return
        if self._color is ColorOrder.RGB:
            reordered = self._pixels[0] if self._raw else self._reordered
            fitted = np.asarray(cv2.cvtColor(fitted, cv2.COLOR_BGR2RGB, dst=reordered), np.uint8)
        elif self._raw and fitted is not self._fitted:
            np.copyto(self._pixels[0], fitted)
        if not self._raw:
            cv2.LUT(fitted, self._interleaved_table, dst=self.buffer[0])


def _middle(length: int, wanted: float) -> tuple[int, int]:
    """Start and length, in whole pixels, of the middle ``wanted`` of ``length``."""
    inner = min(length, max(1, round(wanted)))
    return (length - inner) // 2, inner


def _resize(image: NDArray[np.uint8], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (out.shape[1], out.shape[0])
    if (image.shape[1], image.shape[0]) == size:
        return image
    # Bilinear reads 2 x 2 pixels, so past 2:1 it skips some; the models here were trained with it all the same.
    cv2.resize(image, size, dst=out, interpolation=cv2.INTER_LINEAR)
    return out


def _tables(spec: Preprocess, tensor: TensorSpec) -> list[NDArray[Any]]:
    """One table of 256 tensor values for each channel, in the network's channel order."""
    levels = np.arange(_LEVELS, dtype=np.float64) * spec.scale
    dtype = np.dtype(tensor.dtype)
    tables = []
    for mean, std in zip(spec.mean, spec.std, strict=True):
        values = (levels - mean) / std
        if tensor.scale is not None and tensor.zero_point is not None:
            limits = np.iinfo(dtype)
            # As an engine's own quantizer: in float32, ties to even. On a grid of -1 .. 1 every level can be a tie, and in
            # float64 a quarter of them would fall on the other side.
            steps = np.rint(values.astype(np.float32) / np.float32(tensor.scale))
            values = np.clip(steps + tensor.zero_point, limits.min, limits.max)
        elif dtype in (np.dtype(np.uint8), np.dtype(np.int8)):  # the network normalises by itself
            values = np.arange(_LEVELS, dtype=np.float64) - (_MIDDLE if dtype == np.int8 else 0)
        elif dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            msg = f"input {tensor.name!r} of type {dtype} needs scale and zero_point"
            raise ModelMismatchError(msg)
        tables.append(values.astype(dtype))
    return tables
