"""What the writer knows of a tensor: where it lies, how its axes are ordered, and on which grid its codes are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NCHW_AS_NHWC", "Grid", "IntegerConstant", "Value", "identity", "same_order"]

NCHW_AS_NHWC = (0, 2, 3, 1)
"""Order in which an NCHW tensor of ONNX is kept in a TFLite file."""

_UNSIGNED_SHIFT = 128


@dataclass(frozen=True)
class Grid:
    """The int8 codes of one activation tensor: ``real = (code - zero_point) * scale``.

    Attributes:
        scale: Step.
        zero_point: Code of 0.0, within -128..127.
    """

    scale: float
    zero_point: int

    @property
    def low(self) -> float:
        """Smallest real value."""
        return (-128 - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        """Largest real value."""
        return (127 - self.zero_point) * self.scale

    def codes(self, reals: NDArray[Any]) -> NDArray[np.int8]:
        """The nearest codes."""
        rounded = np.rint(np.asarray(reals, np.float64) / self.scale) + self.zero_point
        return np.asarray(np.clip(rounded, -128, 127), np.int8)

    @classmethod
    def of_range(cls, low: float, high: float) -> Grid:
        """The grid whose 256 codes span a range; 0.0 is on it."""
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        scale = float(np.float32(max((high - low) / 255, 1e-12)))
        return cls(scale, int(np.clip(np.rint(-128 - low / scale), -128, 127)))


@dataclass(frozen=True, eq=False)
class IntegerConstant:
    """A constant behind ``DequantizeLinear``.

    Attributes:
        codes: Integers as ONNX keeps them.
        scale: Step, (channels,) or (1,).
        zero_point: Codes of 0.0, shaped as ``scale``.
        axis: Of the channels.
    """

    codes: NDArray[Any]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int

    @property
    def reals(self) -> NDArray[np.float32]:
        """What the codes stand for."""
        shape = [1] * self.codes.ndim
        if len(self.scale) > 1:
            shape[self.axis] = -1
        offset = self.codes.astype(np.float32) - self.zero_point.astype(np.float32).reshape(shape)
        return np.asarray(offset * self.scale.reshape(shape), np.float32)

    @property
    def symmetric(self) -> NDArray[np.int8] | None:
        """Codes as int8 with zero point 0, None where they cannot be had without changing them."""
        shift = _UNSIGNED_SHIFT if self.codes.dtype == np.uint8 else 0
        if self.codes.dtype not in (np.int8, np.uint8) or (self.zero_point != shift).any():
            return None
        return np.asarray(self.codes.astype(np.int16) - shift, np.int8)

    @property
    def on_grid(self) -> tuple[NDArray[np.int8], Grid] | None:
        """Codes as int8 and their one grid, None where there is a grid per channel."""
        if len(self.scale) > 1 or self.codes.dtype not in (np.int8, np.uint8):
            return None
        shift = _UNSIGNED_SHIFT if self.codes.dtype == np.uint8 else 0
        codes = np.asarray(self.codes.astype(np.int16) - shift, np.int8)
        return codes, Grid(float(self.scale[0]), int(self.zero_point[0]) - shift)


@dataclass(frozen=True)
class Value:
    """An activation.

    Attributes:
        tensor: Its number in the file.
        shape: As ONNX has it.
        axes: Which ONNX axis each kept axis is.
        grid: Of its codes, None for float32.
    """

    tensor: int
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    grid: Grid | None = None

    @property
    def kept(self) -> tuple[int, ...]:
        """Shape in the file."""
        return tuple(self.shape[axis] for axis in self.axes)

    def place(self, axis: int) -> int:
        """Where an ONNX axis lies in the file; negative ones count from the end."""
        return self.axes.index(axis % len(self.shape))


def identity(rank: int) -> tuple[int, ...]:
    """Axes in ONNX's own order."""
    return tuple(range(rank))


def same_order(shape: tuple[int, ...], first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two orders of axes lay the numbers out alike in memory: axes of length 1 do not matter."""
    return [axis for axis in first if shape[axis] != 1] == [axis for axis in second if shape[axis] != 1]
