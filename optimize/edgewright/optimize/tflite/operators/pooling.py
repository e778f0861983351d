"""MaxPool, AveragePool, and means and other reductions over axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.tflite.flatbuffer import Options
from edgewright.optimize.tflite.operators.padding import pad_image
from edgewright.optimize.tflite.scope import Made
from edgewright.optimize.tflite.source import Node, refuse
from edgewright.optimize.tflite.values import NCHW_AS_NHWC
from edgewright.optimize.tflite.windows import SAME, VALID, Axis, choose_padding, window_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.tflite.scope import Scope

__all__ = ["pool", "reduce"]

_IMAGE = 4
_REDUCERS = {
    "GlobalAveragePool": "MEAN",
    "GlobalMaxPool": "REDUCE_MAX",
    "ReduceMean": "MEAN",
    "ReduceSum": "SUM",
    "ReduceMax": "REDUCE_MAX",
    "ReduceMin": "REDUCE_MIN",
}
_REGRIDDING = frozenset({"MEAN", "SUM"})  # their integer kernels take one grid in and give another


def pool(scope: Scope, node: Node) -> None:
    """Writes a MaxPool or AveragePool; codes stay on their grid.

    Raises:
        ConversionError: Windows with holes, or padding whose share in the mean cannot be told.
    """
    value = scope.value(node)
    if len(value.shape) != _IMAGE:
        raise refuse(node, f"it reads a tensor of {len(value.shape)} axes, and only pictures (4 axes) are supported")
    if max(node.attributes.get("dilations", (1, 1))) > 1:
        raise refuse(node, "its windows have holes (dilations), which TFLite lacks")
    if len(node.outputs) > 1 and node.outputs[1] in scope.graph.readers:
        raise refuse(node, "the places of the maxima are asked for, which TFLite cannot tell")
    value = scope.as_axes(value, NCHW_AS_NHWC)
    shape = scope.shape(node.outputs[0])
    kernel = [int(size) for size in node.attributes["kernel_shape"]]
    axes = window_axes(node, value.shape[2:], kernel, shape[2:])
    target = scope.target(node)
    padding = choose_padding(axes)
    word, correction = padding.word, None
    maximum = node.kind == "MaxPool"
    if not maximum:
        word, correction = _mean_padding(node, axes)
    if maximum or correction is not None or word != SAME:
        pads = tuple((axis.before, max(axis.after, 0)) for axis in axes) if word == VALID else padding.pads
        if correction is not None and value.grid is not None:
            value = scope.as_float(value)
        if any(any(pair) for pair in pads):
            value = pad_image(scope, value, pads, lowest=maximum)
    strides = node.attributes.get("strides", (1, 1))
    fields = {
        "padding": word,
        "strideH": int(strides[0]),
        "strideW": int(strides[1]),
        "filterHeight": kernel[0],
        "filterWidth": kernel[1],
    }
    name = target.name if correction is None else f"{target.name}/sums"
    made = Made(name, shape, NCHW_AS_NHWC, value.grid)
    code = "MAX_POOL_2D" if maximum else "AVERAGE_POOL_2D"
    version = 1 if value.grid is None else 2
    result = scope.emit(code, [value.tensor], made, Options("Pool2DOptions", fields), version)
    if correction is not None:
        factor = scope.constant(f"{node.name}/counts", correction)
        made = Made(target.name, shape, NCHW_AS_NHWC)
        result = scope.emit("MUL", [result.tensor, factor], made, Options("MulOptions"))
    scope.finish(node, target, result)


def reduce(scope: Scope, node: Node) -> None:
    """Writes a reduction over constant axes."""
    value, target = scope.value(node), scope.target(node)
    code = _REDUCERS[node.kind]
    rank = len(value.shape)
    over, keep = _reduced_axes(scope, node, rank)
    grid = None
    if value.grid is not None:
        grid = target.grid if code in _REGRIDDING else value.grid
    if grid is None:
        value = scope.as_float(value)
    left = [axis for axis in value.axes if keep or axis not in over]
    axes = tuple(sorted(left).index(axis) for axis in left)
    places = scope.numbers(f"{node.name}/axes", sorted(value.place(axis) for axis in over))
    options = Options("ReducerOptions", {"keepDims": keep})
    made = Made(target.name, scope.shape(node.outputs[0]), axes, grid)
    version = 1 if grid is None else 2
    scope.finish(node, target, scope.emit(code, [value.tensor, places], made, options, version))


def _reduced_axes(scope: Scope, node: Node, rank: int) -> tuple[tuple[int, ...], bool]:
    if node.kind.startswith("Global"):
        return tuple(range(2, rank)), True
    given = scope.array(node, 1) if len(node.inputs) > 1 else node.attributes.get("axes")
    keep = bool(node.attributes.get("keepdims", 1))
    if given is None or np.size(given) == 0:
        if node.attributes.get("noop_with_empty_axes", 0):
            return (), True
        return tuple(range(rank)), keep
    return tuple(int(axis) % rank for axis in np.asarray(given).reshape(-1)), keep


def _mean_padding(node: Node, axes: Sequence[Axis]) -> tuple[int, NDArray[np.float32] | None]:
    """The word for a mean, and what to multiply sums over zeros with where its count must leave them out."""
    plain = all(axis.before == 0 and axis.after <= 0 for axis in axes)
    counted = bool(node.attributes.get("count_include_pad", 0))
    if plain:
        return VALID, None
    if counted:
        if node.attributes.get("ceil_mode", 0):
            raise refuse(node, "count_include_pad together with ceil_mode is not supported")
        return VALID, None
    if all(axis.same for axis in axes):
        return SAME, None
    rows = [_inside(axis) for axis in axes]
    area = axes[0].kernel * axes[1].kernel
    counts = rows[0][:, None] * rows[1][None, :]
    return VALID, np.asarray(area / counts, np.float32)[None, :, :, None]


def _inside(axis: Axis) -> NDArray[np.int64]:
    """How many places of each window lie inside the input."""
    first = np.arange(axis.out) * axis.stride - axis.before
    return np.asarray(np.minimum(first + axis.kernel, axis.size) - np.maximum(first, 0), np.int64)
