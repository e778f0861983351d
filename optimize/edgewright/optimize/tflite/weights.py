"""Constants of convolutions and products in the form that was asked for: float, float16, int8."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.tflite.flatbuffer import Options, Steps
from edgewright.optimize.tflite.form import TfliteForm
from edgewright.optimize.tflite.scope import Made
from edgewright.optimize.tflite.source import Node, refuse
from edgewright.optimize.tflite.values import identity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.tflite.scope import Scope
    from edgewright.optimize.tflite.values import Grid

__all__ = ["FEW_WEIGHTS", "Weights", "integer_bias", "read_weights", "write_float_bias", "write_weights"]

FEW_WEIGHTS = 1024
"""Fewer are not worth an operator or a kernel of their own."""

_TOP = 127


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of one operator.

    Attributes:
        name: Of the ONNX constant.
        values: float32, or int8 codes with zero point 0.
        scale: Step of the codes, (channels,) or (1,); None for floats.
        axis: Of the output channels.
    """

    name: str
    values: NDArray[Any]
    scale: NDArray[np.float32] | None
    axis: int

    @property
    def channels(self) -> int:
        """How many output channels."""
        return int(self.values.shape[self.axis])

    @property
    def steps(self) -> NDArray[np.float32]:
        """Scale of every output channel."""
        scale = np.ones(1, np.float32) if self.scale is None else self.scale
        return np.broadcast_to(scale, (self.channels,))

    def turned(self, order: tuple[int, ...]) -> Weights:
        """With the axes in another order."""
        return replace(self, values=np.ascontiguousarray(self.values.transpose(order)), axis=order.index(self.axis))

    def shaped(self, shape: tuple[int, ...], axis: int) -> Weights:
        """With another shape, numbers in the same order."""
        return replace(self, values=self.values.reshape(shape), axis=axis)


def read_weights(scope: Scope, node: Node, index: int, axis: int) -> Weights:
    """Reads the weights of a node.

    Args:
        scope: The file in the making.
        node: The node.
        index: Of the input.
        axis: Of the output channels.

    Raises:
        ConversionError: They are no constant, or integers of a kind that int8 kernels do not take.
    """
    name = node.given(index)
    if name not in scope.integers:
        array = scope.array(node, index)
        if array is None or array.dtype != np.float32:
            raise refuse(node, "its weights must be float or quantized constants")
        return Weights(name, array, None, axis)
    constant = scope.integers[name]
    codes = constant.symmetric
    if codes is None:
        raise refuse(node, "its weights have a zero point; quantize them symmetrically (scheme u8s8)")
    if len(constant.scale) > 1 and constant.axis % codes.ndim != axis:
        raise refuse(node, f"its weights are quantized along axis {constant.axis}, not along output channels {axis}")
    if (codes < -_TOP).any():
        # Kernels for ARM without dot products add two products in 16 bits, which two times -128 * -128 overflows.
        scope.counts["clamped"] += int((codes < -_TOP).sum())
        codes = np.maximum(codes, np.int8(-_TOP))
    return Weights(name.removesuffix("_DequantizeLinear_Output"), codes, constant.scale, axis)


def write_weights(scope: Scope, weights: Weights, *, dynamic: bool = True) -> int:
    """Writes them, and gives the tensor that the operator reads.

    Args:
        scope: The file in the making.
        weights: In TFLite's order of axes.
        dynamic: Whether the operator has a fast kernel for float activations on int8 weights.
    """
    if weights.scale is not None:
        return _codes(scope, weights)
    large = weights.values.size >= FEW_WEIGHTS
    if scope.form is TfliteForm.DYNAMIC and dynamic and large:
        scope.counts["dynamic"] += 1
        return _codes(scope, _rounded(weights))
    if scope.form is TfliteForm.FLOAT16 and large and np.abs(weights.values).max() <= np.finfo(np.float16).max:
        half = scope.flat.constant(f"{weights.name}/float16", weights.values.astype(np.float16))
        scope.counts["halved"] += 1
        made = Made(weights.name, weights.values.shape, identity(weights.values.ndim))
        return scope.emit("DEQUANTIZE", [half], made, Options("DequantizeOptions"), 3).tensor
    return scope.flat.constant(weights.name, weights.values)


def write_float_bias(scope: Scope, node: Node, index: int, channels: int) -> int:
    """Writes a float bias; zeros where there is none, as not every kernel can do without."""
    array = _bias(scope, node, index)
    values = np.zeros(channels, np.float32) if array is None else np.asarray(array, np.float32)
    return scope.flat.constant(
        node.given(index) or f"{node.name}/bias", np.broadcast_to(values.reshape(-1), (channels,))
    )


def integer_bias(scope: Scope, node: Node, index: int, weights: Weights, grid: Grid, *, times: int = 1) -> int:
    """Writes the bias as int32 in steps of input times weight; codes that are so already stay as they are.

    Args:
        scope: The file in the making.
        node: The node.
        index: Of the input.
        weights: Of the node.
        grid: Of what they are multiplied with.
        times: How often all of it is said, one after the other.
    """
    # The engine multiplies in float64 when it checks; ONNX keeps the product in float32.
    product = np.asarray(np.float32(grid.scale) * (weights.scale if weights.scale is not None else 1), np.float32)
    per_channel = np.broadcast_to(product.astype(np.float64), (weights.channels,))
    name = node.given(index)
    if not name:
        codes = np.zeros(weights.channels, np.int32)
    elif name in scope.integers and _close(scope.integers[name].scale, per_channel):
        codes = np.broadcast_to(scope.integers[name].codes.astype(np.int32).reshape(-1), (weights.channels,))
    else:
        reals = _bias(scope, node, index)
        wide = np.zeros(1) if reals is None else reals.astype(np.float64).reshape(-1)
        limits = np.iinfo(np.int32)
        codes = np.clip(np.rint(wide / per_channel), limits.min, limits.max).astype(np.int32)
        scope.counts["biases"] += 1
    if times > 1:
        codes, product = np.tile(codes, times), np.tile(per_channel.astype(np.float32), times)
    return scope.flat.constant(name or f"{node.name}/bias", codes, Steps(product))


def _bias(scope: Scope, node: Node, index: int) -> NDArray[Any] | None:
    """The bias in real numbers, None where there is none."""
    array = scope.array(node, index)
    if array is not None and any(size != 1 for size in array.shape[:-1]):
        raise refuse(node, f"its bias has the shape {list(array.shape)}, not one number a channel")
    return array


def _close(first: NDArray[np.float32], second: NDArray[np.float64]) -> bool:
    return bool(np.allclose(first.astype(np.float64), second, rtol=1e-5, atol=0))


def _codes(scope: Scope, weights: Weights) -> int:
    scale = np.ones(1, np.float32) if weights.scale is None else weights.scale
    return scope.flat.constant(weights.name, weights.values, Steps(scale, 0, weights.axis if len(scale) > 1 else 0))


def _rounded(weights: Weights) -> Weights:
    """Codes with one scale per output channel, from the largest weight."""
    others = tuple(axis for axis in range(weights.values.ndim) if axis != weights.axis)
    tops = np.abs(weights.values).max(axis=others)
    scale = np.where(tops > 0, tops / _TOP, 1.0).astype(np.float32)
    shape = [1] * weights.values.ndim
    shape[weights.axis] = -1
    codes = np.clip(np.rint(weights.values / scale.reshape(shape)), -_TOP, _TOP).astype(np.int8)
    return replace(weights, values=codes, scale=scale)
