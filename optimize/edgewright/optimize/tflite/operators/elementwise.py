"""Add, Sub, Mul, Div, Max, Min, Pow, Sum, and what is written with them: batch norms that no convolution took in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.tflite.flatbuffer import Options
from edgewright.optimize.tflite.scope import Made
from edgewright.optimize.tflite.source import Node, refuse
from edgewright.optimize.tflite.values import Grid, IntegerConstant, Value, identity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.tflite.scope import Scope

__all__ = ["aligned_constant", "batch_norm", "binary", "many"]

_CODES = {
    "Add": ("ADD", "AddOptions"),
    "Sub": ("SUB", "SubOptions"),
    "Mul": ("MUL", "MulOptions"),
    "Div": ("DIV", "DivOptions"),
    "Max": ("MAXIMUM", "MaximumMinimumOptions"),
    "Min": ("MINIMUM", "MaximumMinimumOptions"),
    "Pow": ("POW", "PowOptions"),
    "Sum": ("ADD", "AddOptions"),
}
_FUSING = frozenset({"Add", "Sub", "Mul", "Div"})
_INTEGER = frozenset({"Add", "Sub", "Mul"})
_PAIR = 2


def binary(scope: Scope, node: Node) -> None:
    """Writes an operator of two inputs, one of which may be a constant."""
    if len(node.inputs) != _PAIR:
        many(scope, node)
        return
    target = scope.target(node, fuse=node.kind in _FUSING)
    shape = scope.shape(node.outputs[0])
    computed = [scope.value(node, index) for index in (0, 1) if scope.computed(node, index)]
    on_codes = all(value.grid is not None for value in computed)
    grid = target.grid if node.kind in _INTEGER and on_codes else None
    if grid is None:
        computed = [scope.as_float(value) for value in computed]
    # The largest decides the order of axes: turning the small one costs less.
    leader = max(computed, key=lambda value: (len(value.shape), int(np.prod(value.shape, dtype=np.int64))))
    axes = leader.axes if len(leader.shape) == len(shape) else identity(len(shape))
    aligned = [_aligned(scope, value, len(shape), axes) for value in computed]
    tensors = []
    for index in (0, 1):
        if scope.computed(node, index):
            tensors.append(aligned.pop(0).tensor)
        else:
            tensors.append(aligned_constant(scope, node, index, axes, integer=grid is not None))
    code, options = _CODES[node.kind]
    fields = {"fusedActivationFunction": target.activation} if node.kind in _FUSING else {}
    made = Made(target.name, shape, axes, grid)
    version = 2 if grid is not None else 1
    scope.finish(node, target, scope.emit(code, tensors, made, Options(options, fields), version))


def many(scope: Scope, node: Node) -> None:
    """Writes a Sum, Max or Min of one or more than two inputs as a chain."""
    shape = scope.shape(node.outputs[0])
    target = scope.target(node)
    code, options = _CODES.get(node.kind, ("", ""))
    if not code or node.kind not in ("Sum", "Max", "Min"):
        raise refuse(node, f"it has {len(node.inputs)} inputs")
    values = [scope.as_float(scope.value(node, index)) for index in range(len(node.inputs))]
    axes = next((value.axes for value in values if len(value.shape) == len(shape)), identity(len(shape)))
    values = [_aligned(scope, value, len(shape), axes) for value in values]
    result = values[0]
    for count, value in enumerate(values[1:], start=2):
        last = count == len(values)
        wide = np.broadcast_shapes(result.shape, value.shape)
        made = Made(target.name if last else f"{target.name}/{count}", tuple(wide), axes)
        result = scope.emit(code, [result.tensor, value.tensor], made, Options(options))
    scope.finish(node, target, result)


def batch_norm(scope: Scope, node: Node) -> None:
    """Writes a BatchNormalization as a product and a sum, in float."""
    value = scope.as_float(scope.value(node))
    parts = [scope.array(node, index) for index in range(1, 5)]
    if any(part is None for part in parts):
        raise refuse(node, "its statistics must be constants")
    gain, shift, mean, variance = (np.asarray(part, np.float64) for part in parts)
    factor = gain / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    rank = len(value.shape)
    shape = [value.shape[axis] if axis == 1 else 1 for axis in value.axes]
    target = scope.target(node, fuse=True)
    product = scope.constant(f"{node.name}/factor", factor.astype(np.float32).reshape(shape))
    made = Made(f"{target.name}/scaled", value.shape, value.axes)
    scaled = scope.emit("MUL", [value.tensor, product], made, Options("MulOptions"))
    offset = scope.constant(f"{node.name}/offset", (shift - mean * factor).astype(np.float32).reshape(shape))
    made = Made(target.name, scope.shape(node.outputs[0]), value.axes if rank else ())
    options = Options("AddOptions", {"fusedActivationFunction": target.activation})
    scope.finish(node, target, scope.emit("ADD", [scaled.tensor, offset], made, options))


def aligned_constant(scope: Scope, node: Node, index: int, axes: tuple[int, ...], *, integer: bool) -> int:
    """Writes a constant input with as many axes as the result, in the result's order.

    Args:
        scope: The file in the making.
        node: The node.
        index: Of the input.
        axes: Of the result.
        integer: Whether in codes.
    """
    name = node.given(index)
    constant = scope.integers.get(name)
    if not integer:
        array = scope.array(node, index)
        if array is None or array.dtype != np.float32:
            raise refuse(node, f"its constant {name!r} must be float")
        return scope.constant(name, _turned(array, axes))
    codes, grid = _on_grid(constant, scope.array(node, index))
    return scope.constant(name, _turned(codes, axes), grid)


def _on_grid(constant: IntegerConstant | None, reals: NDArray[np.float32] | None) -> tuple[NDArray[np.int8], Grid]:
    found = None if constant is None else constant.on_grid
    if found is not None:
        return found
    values = np.zeros(1, np.float32) if reals is None else reals
    grid = Grid.of_range(float(values.min()), float(values.max()))
    return grid.codes(values), grid


def _turned(array: NDArray[np.generic], axes: tuple[int, ...]) -> NDArray[np.generic]:
    full = array.reshape((1,) * (len(axes) - array.ndim) + array.shape)
    return np.ascontiguousarray(full.transpose(axes))


def _aligned(scope: Scope, value: Value, rank: int, axes: tuple[int, ...]) -> Value:
    """A value with ``rank`` axes in the order asked for; missing ones come in front, as in ONNX's broadcasting."""
    if len(value.shape) < rank:
        plain = scope.plain(value)
        shape = (1,) * (rank - len(value.shape)) + value.shape
        tensor = scope.reshaped(plain, shape, f"{scope.flat.name(value.tensor)}/wide")
        value = Value(tensor, shape, identity(rank), value.grid)
    return scope.as_axes(value, axes)
