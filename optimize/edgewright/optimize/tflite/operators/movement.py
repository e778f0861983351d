"""Operators that move numbers and change none: codes stay on their grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.tflite.flatbuffer import Options
from edgewright.optimize.tflite.scope import Made
from edgewright.optimize.tflite.source import Node, refuse
from edgewright.optimize.tflite.values import NCHW_AS_NHWC, Value, identity, same_order

if TYPE_CHECKING:
    from edgewright.optimize.tflite.scope import Scope

__all__ = ["concat", "depth_to_space", "gather", "reshape", "same", "slices", "split", "tile", "transpose"]

_ONNX_FLOAT = 1


@dataclass(frozen=True)
class _Part:
    """A box of a tensor, all in ONNX's order of axes.

    Attributes:
        begin: Where it starts.
        shape: Of the result.
        stride: Steps.
    """

    begin: tuple[int, ...]
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def ends(self) -> tuple[int, ...]:
        """Where it stops; the place itself is not in it."""
        rows = zip(self.begin, self.shape, self.stride, strict=True)
        return tuple(start + (size - 1) * step + 1 for start, size, step in rows)


def same(scope: Scope, node: Node) -> None:
    """Passes a value on: Identity, Dropout, Cast from float to float.

    Raises:
        ConversionError: A Cast to integers.
    """
    if node.kind == "Cast" and node.attributes.get("to") != _ONNX_FLOAT:
        raise refuse(node, "only casts to float32 are supported")
    scope.set(node.outputs[0], scope.value(node))


def transpose(scope: Scope, node: Node) -> None:
    """Writes nothing: only the names of the axes change, and who needs them in some order asks for it."""
    value = scope.value(node)
    rank = len(value.shape)
    order = [int(axis) for axis in node.attributes.get("perm", range(rank)[::-1])]
    shape = tuple(value.shape[axis] for axis in order)
    axes = tuple(order.index(axis) for axis in value.axes)
    scope.set(node.outputs[0], Value(value.tensor, shape, axes, value.grid))


def reshape(scope: Scope, node: Node) -> None:
    """Writes a Reshape, Flatten, Squeeze or Unsqueeze; turned back to ONNX's order first where that matters."""
    value = scope.value(node)
    shape = scope.shape(node.outputs[0])
    plain = identity(len(value.shape))
    if not same_order(value.shape, value.axes, plain):
        value = scope.as_axes(value, plain)
    tensor = scope.reshaped(value, shape, node.outputs[0])
    scope.set(node.outputs[0], Value(tensor, shape, identity(len(shape)), value.grid))


def concat(scope: Scope, node: Node) -> None:
    """Writes a Concat: in codes where all parts can share a grid, else in float."""
    values = [scope.value(node, index) for index in range(len(node.inputs))]
    target = scope.target(node)
    grids = {value.grid for value in values}
    if None not in grids and (len(grids) == 1 or target.grid is not None):
        grid = target.grid or grids.pop()
        values = [value if grid is None else scope.on_grid(value, grid) for value in values]
    else:
        scope.counts["apart"] += None not in grids
        grid = None
        values = [scope.as_float(value) for value in values]
    largest = max(values, key=lambda value: int(np.prod(value.shape, dtype=np.int64)))
    values = [scope.as_axes(value, largest.axes) for value in values]
    axis = largest.place(int(node.attributes["axis"]))
    made = Made(target.name, scope.shape(node.outputs[0]), largest.axes, grid)
    options = Options("ConcatenationOptions", {"axis": axis})
    version = 1 if grid is None else 2
    tensors = [value.tensor for value in values]
    scope.finish(node, target, scope.emit("CONCATENATION", tensors, made, options, version))


def slices(scope: Scope, node: Node) -> None:
    """Writes a Slice with constant bounds.

    Raises:
        ConversionError: Bounds are computed, or a step is negative.
    """
    value = scope.value(node)
    rank = len(value.shape)
    if len(node.inputs) > 1:
        given = [scope.array(node, index) for index in range(1, 5)]
        starts, ends, axes, steps = (None if part is None else [int(n) for n in part.reshape(-1)] for part in given)
    else:
        starts, ends, axes, steps = (node.attributes.get(key) for key in ("starts", "ends", "axes", "steps"))
    if starts is None or ends is None:
        raise refuse(node, "its bounds must be constants")
    begin, stride = [0] * rank, [1] * rank
    shape = scope.shape(node.outputs[0])
    for place, axis in enumerate(axes if axes is not None else range(len(starts))):
        size = value.shape[axis % rank]
        start = starts[place] + size if starts[place] < 0 else starts[place]
        begin[axis % rank] = min(max(start, 0), size)
        stride[axis % rank] = steps[place] if steps is not None else 1
    if min(stride) < 1:
        raise refuse(node, "steps must be positive")
    scope.set(node.outputs[0], _cut(scope, value, _Part(tuple(begin), shape, tuple(stride)), node.outputs[0]))


def split(scope: Scope, node: Node) -> None:
    """Writes a Split as a slice for every part that is read."""
    value = scope.value(node)
    axis = int(node.attributes.get("axis", 0)) % len(value.shape)
    begin = [0] * len(value.shape)
    for name in node.outputs:
        shape = scope.shape(name)
        scope.set(name, _cut(scope, value, _Part(tuple(begin), shape, (1,) * len(begin)), name))
        begin[axis] += shape[axis]


def gather(scope: Scope, node: Node) -> None:
    """Writes a Gather with constant places.

    Raises:
        ConversionError: The places are computed.
    """
    value = scope.value(node)
    axis = int(node.attributes.get("axis", 0)) % len(value.shape)
    places = scope.array(node, 1)
    if places is None or places.ndim > 1:
        raise refuse(node, "its places must be a constant of one axis at most")
    wanted = np.where(places < 0, places + value.shape[axis], places)
    shape = tuple(wanted.size if k == axis else size for k, size in enumerate(value.shape))
    made = Made(node.outputs[0] if places.ndim else f"{node.outputs[0]}/kept", shape, value.axes, value.grid)
    table = scope.numbers(f"{node.name}/places", wanted.reshape(-1))
    options = Options("GatherOptions", {"axis": value.place(axis)})
    result = scope.emit("GATHER", [value.tensor, table], made, options, 1 if value.grid is None else 2)
    if not places.ndim:
        left = [k for k in result.axes if k != axis]
        axes = tuple(sorted(left).index(k) for k in left)
        kept = tuple(size for size, k in zip(result.kept, result.axes, strict=True) if k != axis)
        tensor = scope.reshaped(result, kept, node.outputs[0])
        result = Value(tensor, scope.shape(node.outputs[0]), axes, value.grid)
    scope.set(node.outputs[0], result)


def depth_to_space(scope: Scope, node: Node) -> None:
    """Writes a DepthToSpace or SpaceToDepth.

    Raises:
        ConversionError: A DepthToSpace of mode CRD, whose channels TFLite orders otherwise.
    """
    if node.kind == "DepthToSpace" and node.attributes.get("mode", "DCR") != "DCR":
        raise refuse(node, "TFLite knows the mode DCR only")
    value = scope.as_axes(scope.value(node), NCHW_AS_NHWC)
    code, options = (
        ("DEPTH_TO_SPACE", "DepthToSpaceOptions")
        if node.kind == "DepthToSpace"
        else ("SPACE_TO_DEPTH", "SpaceToDepthOptions")
    )
    made = Made(node.outputs[0], scope.shape(node.outputs[0]), NCHW_AS_NHWC, value.grid)
    fields = {"blockSize": int(node.attributes["blocksize"])}
    scope.set(node.outputs[0], scope.emit(code, [value.tensor], made, Options(options, fields)))


def tile(scope: Scope, node: Node) -> None:
    """Writes a Tile or Expand."""
    value = scope.value(node)
    shape = scope.shape(node.outputs[0])
    if len(shape) > len(value.shape):
        plain = scope.plain(value)
        wide = (1,) * (len(shape) - len(value.shape)) + value.shape
        tensor = scope.reshaped(plain, wide, f"{node.outputs[0]}/wide")
        value = Value(tensor, wide, identity(len(wide)), value.grid)
    times = [shape[axis] // value.shape[axis] for axis in value.axes]
    made = Made(node.outputs[0], shape, value.axes, value.grid)
    table = scope.numbers(f"{node.name}/times", times)
    scope.set(node.outputs[0], scope.emit("TILE", [value.tensor, table], made, Options("TileOptions")))


def _cut(scope: Scope, value: Value, part: _Part, name: str) -> Value:
    if part.shape == value.shape:
        return value
    made = Made(name, part.shape, value.axes, value.grid)
    version = 1 if value.grid is None else 2
    first = scope.numbers(f"{name}/begin", [part.begin[axis] for axis in value.axes])
    if max(part.stride) == 1:
        size = scope.numbers(f"{name}/size", [part.shape[axis] for axis in value.axes])
        return scope.emit("SLICE", [value.tensor, first, size], made, Options("SliceOptions"), version)
    last = scope.numbers(f"{name}/end", [part.ends[axis] for axis in value.axes])
    steps = scope.numbers(f"{name}/steps", [part.stride[axis] for axis in value.axes])
    inputs = [value.tensor, first, last, steps]
    return scope.emit("STRIDED_SLICE", inputs, made, Options("StridedSliceOptions"), version)
