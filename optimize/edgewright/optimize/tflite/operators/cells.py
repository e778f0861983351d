"""Neighbouring pixels taken as one, for engines whose integer kernels compute many columns however few are needed.

Matrix units work on tiles. XNNPACK's kernels for AMX compute 64 output channels at once, so a convolution with 16 of them
wastes three quarters, and fill 64 inputs, of which the three colours of a picture are few. In an NHWC tensor neighbours of
a row lie one behind the other: without moving a number, ``(H, W, C)`` is also ``(H, W / p, p * C)``, a picture of cells of
``p`` pixels. A convolution from cells to cells has the same weights in more places and zeros between them, so it sums up
the same products: every result is the same integer.

It multiplies more, most of it by zero. Kernels that compute no more columns than asked for are slower that way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.tflite.values import NCHW_AS_NHWC, Value
from edgewright.optimize.tflite.windows import Axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.optimize.tflite.scope import Scope
    from edgewright.optimize.tflite.weights import Weights

__all__ = ["Cells", "choose_cells", "join_pixels", "part_pixels", "widen"]

_FEW_PLACES = 4096
"""Below it a layer takes microseconds either way."""
_DEPTH = 64  # inputs that a tile takes at once
_WRITING = 6  # tiles of multiplying that take as long as rounding and writing a tile of results
_WORTH = 0.5  # of the time before, by this reckoning; what was measured is a quarter more, for the tensors are copied
_DEEPEST = 512  # inputs of a cell; beyond it a tile's weights leave the first cache, and little is gained


@dataclass(frozen=True)
class Cells:
    """How a convolution goes from cells to cells.

    Attributes:
        pixels: Of the input, in one cell.
        results: Of the output, in one cell.
        axes: The windows, counted in cells along the width.
    """

    pixels: int
    results: int
    axes: tuple[Axis, Axis]


def choose_cells(weights: Weights, axes: Sequence[Axis], columns: int) -> Cells | None:
    """The cells that make a layer at least twice as fast; None where there are none.

    Args:
        weights: Of a convolution without groups and dilations, in ONNX's order of axes.
        axes: Its windows along height and width.
        columns: Output channels that the engine's kernel computes at once.
    """
    high, wide = axes
    if high.out * wide.out < _FEW_PLACES:
        return None
    if all((axis.kernel, axis.stride, axis.size) == (1, 1, axis.out) for axis in axes):
        # A pixel by itself: where rows end does not matter.
        high, wide = Axis(1, 1, 1, 0, 1), Axis(high.size * wide.size, 1, 1, 0, high.out * wide.out)
    if wide.size != wide.out * wide.stride:
        return None
    channels = int(weights.values.shape[1])
    before = _tiles(high.kernel * wide.kernel, channels)
    for results in range(columns // weights.channels, 1, -1):
        if wide.out % results or channels * results * wide.stride > _DEEPEST:
            continue
        cells = _cells(high, wide, results)
        after = _tiles(high.kernel * cells.axes[1].kernel, channels * cells.pixels)
        if after <= _WORTH * results * before:
            return cells
    return None


def join_pixels(scope: Scope, value: Value, cells: Cells, name: str) -> Value:
    """A picture as one of cells."""
    channels = value.shape[1] * cells.pixels
    shape = (1, channels, *(axis.size for axis in cells.axes))
    kept = tuple(shape[axis] for axis in NCHW_AS_NHWC)
    return Value(scope.reshaped(value, kept, name), shape, NCHW_AS_NHWC, value.grid)


def part_pixels(scope: Scope, value: Value, shape: tuple[int, ...], name: str) -> Value:
    """A picture of cells as one of pixels again."""
    kept = tuple(shape[axis] for axis in NCHW_AS_NHWC)
    return Value(scope.reshaped(value, kept, name), shape, NCHW_AS_NHWC, value.grid)


def widen(weights: Weights, cells: Cells, wide: Axis) -> Weights:
    """The weights from cells to cells.

    Args:
        weights: In ONNX's order of axes.
        cells: Which.
        wide: The windows along the width, in pixels.
    """
    channels, inputs, height, width = weights.values.shape
    target = cells.axes[1]
    shape = (cells.results, channels, cells.pixels, inputs, height, target.kernel)
    values = np.zeros(shape, weights.values.dtype)
    for result in range(cells.results):
        for tap in range(width):
            place = result * wide.stride - wide.before + tap + target.before * cells.pixels
            values[result, :, place % cells.pixels, :, :, place // cells.pixels] = weights.values[:, :, :, tap]
    scale = weights.scale
    if scale is not None and len(scale) > 1:
        scale = np.tile(scale, cells.results)
    spread = values.reshape(cells.results * channels, cells.pixels * inputs, height, target.kernel)
    return replace(weights, name=f"{weights.name}/cells", values=spread, scale=scale)


def _cells(high: Axis, wide: Axis, results: int) -> Cells:
    pixels = results * wide.stride
    first = -wide.before // pixels
    last = ((results - 1) * wide.stride - wide.before + wide.kernel - 1) // pixels
    axis = Axis(wide.size // pixels, last - first + 1, 1, -first, wide.out // results)
    return Cells(pixels, results, (high, axis))


def _tiles(taps: int, channels: int) -> int:
    return taps * -(-channels // _DEPTH) + _WRITING
