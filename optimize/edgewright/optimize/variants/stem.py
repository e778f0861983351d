"""Normalisation folded into a first convolution, in real numbers.

Preprocessing computes ``v = (pixel * scale - mean) / std`` per channel, and the convolution pads with v = 0. Seen from
the pixel ``p`` that becomes 0, v is ``slope * (pixel - p)``. A quantized input has one zero point for all channels, so

    conv(v) = conv'(pixel - zero) + constant,    weights' = weights * slope,    constant = sum(weights' * (zero - p))

which is right inside the picture. Where the kernel hangs over the edge, padding stands for ``pixel = zero`` and not for
``pixel = p``: taps outside must not have their share of the constant. If ``zero`` is ``p`` for every channel there is
no constant; else a further input channel, 1 inside the picture and padded with 0, carries it, tap by tap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewright.bundle.manifest import ColorOrder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.bundle.manifest import Preprocess

__all__ = ["FoldedStem", "PixelGrid", "fold_stem", "pixel_grid"]

_TOP = 254  # the constant channel needs a code above it
HALF_STEP = 0.5
"""Pixels by which the zero of every channel may miss the zero point at the edge: what rounding a pixel costs."""


@dataclass(frozen=True)
class PixelGrid:
    """How pixels become network values.

    Attributes:
        zero: Pixel that is the zero point of all channels.
        slope: Network value per grey level, per channel in the network's order.
        offset: ``zero`` less the pixel that becomes 0.0, per channel.
    """

    zero: int
    slope: tuple[float, float, float]
    offset: tuple[float, float, float]

    @property
    def step(self) -> float:
        """Scale of the input tensor: the largest slope, so that folded weights only shrink."""
        return max(abs(slope) for slope in self.slope)

    @property
    def exact(self) -> bool:
        """Whether the zero point is the zero of every channel."""
        return not any(self.offset)

    @property
    def nearly_exact(self) -> bool:
        """Whether it misses by half a grey level at most."""
        return max(abs(value) for value in self.offset) <= HALF_STEP + 1e-9


@dataclass(frozen=True, eq=False)
class FoldedStem:
    """A first convolution that takes pixel codes.

    Attributes:
        weights: (out, channels, ...) for the input ``(code - zero) * step``; channels in the camera's BGR order, and
            last, where ``extra`` is set, the channel of ones.
        bias: (out,).
        extra: Whether there is a channel of ones, whose value is ``step``.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    extra: bool


def pixel_grid(spec: Preprocess) -> PixelGrid:
    """The grid of a bundle's preprocessing."""
    std, mean = np.array(spec.std, np.float64), np.array(spec.mean, np.float64)
    zeros = mean / spec.scale
    # Half way between two pixels both are as good; the upper one is what quantizers take.
    middle = (float(zeros.min()) + float(zeros.max())) / 2
    zero = int(np.clip(np.floor(middle + HALF_STEP), 0, _TOP))
    offset = np.where(np.abs(zero - zeros) < 1e-6, 0.0, zero - zeros)
    slope = spec.scale / std
    return PixelGrid(zero, tuple(slope.tolist()), tuple(offset.tolist()))


def fold_stem(weights: NDArray[np.float64], bias: NDArray[np.float64], spec: Preprocess, *, padded: bool) -> FoldedStem:
    """Folds the normalisation into a convolution that reads three channels.

    Args:
        weights: (out, 3, ...) in the network's channel order.
        bias: (out,).
        spec: The preprocessing.
        padded: Whether the convolution pads.

    Returns:
        The convolution on BGR pixels; the channel of ones is there where padding would be wrong by more than
        ``HALF_STEP`` without it.
    """
    grid = pixel_grid(spec)
    scaled = weights * _per_channel(grid.slope, weights.ndim) / grid.step
    # What each tap adds to a constant, in units of step.
    taps = (scaled * _per_channel(grid.offset, weights.ndim)).sum(axis=1)
    if spec.color is ColorOrder.RGB:
        scaled = scaled[:, ::-1]
    if not padded or grid.nearly_exact:
        return FoldedStem(scaled, bias + grid.step * taps.reshape(len(taps), -1).sum(axis=1), extra=False)
    return FoldedStem(np.concatenate([scaled, taps[:, None]], axis=1), bias, extra=True)


def _per_channel(values: tuple[float, float, float], dimensions: int) -> NDArray[np.float64]:
    return np.array(values, np.float64).reshape(1, -1, *[1] * (dimensions - 2))
