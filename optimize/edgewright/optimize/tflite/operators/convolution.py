"""Conv."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgewright.optimize.tflite.flatbuffer import Options
from edgewright.optimize.tflite.operators.cells import choose_cells, join_pixels, part_pixels, widen
from edgewright.optimize.tflite.operators.padding import pad_image
from edgewright.optimize.tflite.scope import Made
from edgewright.optimize.tflite.source import Node, refuse
from edgewright.optimize.tflite.values import NCHW_AS_NHWC, Value
from edgewright.optimize.tflite.weights import Weights, integer_bias, read_weights, write_float_bias, write_weights
from edgewright.optimize.tflite.windows import choose_padding, window_axes

if TYPE_CHECKING:
    from edgewright.optimize.tflite.fusing import Target
    from edgewright.optimize.tflite.scope import Scope
    from edgewright.optimize.tflite.values import Grid

__all__ = ["convolution", "picture", "result_grid"]

_OIHW_AS_OHWI = (0, 2, 3, 1)
_DEPTHWISE_AS_1HWO = (1, 2, 3, 0)
_IMAGE = 4


def result_grid(scope: Scope, value: Value, weights: Weights, target: Target) -> Grid | None:
    """The grid on which an operator with weights computes; None where it must compute in float.

    Integers go in and codes come out where the readers want them; where nobody says on which grid, the ranges may.
    """
    if value.grid is None or weights.scale is None:
        return None
    grid = target.grid or scope.range_of(target.name)
    if grid is None:
        scope.counts["ungridded"] += 1
    return grid


def convolution(scope: Scope, node: Node) -> None:
    """Writes a convolution as CONV_2D or DEPTHWISE_CONV_2D.

    Raises:
        ConversionError: Its weights are no constant, or it is not about pictures.
    """
    value = scope.as_axes(picture(scope, node), NCHW_AS_NHWC)
    narrow = weights = read_weights(scope, node, 1, 0)
    groups = int(node.attributes.get("group", 1))
    depthwise = groups == value.shape[1] and groups > 1
    target = scope.target(node, fuse=True)
    shape = scope.shape(node.outputs[0])
    axes = window_axes(node, value.shape[2:], weights.values.shape[2:], shape[2:])
    strides, dilations = (node.attributes.get(key, (1, 1)) for key in ("strides", "dilations"))
    grid = result_grid(scope, value, weights, target)
    if grid is None:
        value = scope.as_float(value)
    cells = None
    if grid is not None and groups == max(dilations) == value.shape[0] == 1:
        cells = choose_cells(weights, axes, scope.tuning.columns)
    if cells is not None:
        value = join_pixels(scope, value, cells, f"{target.name}/joined")
        weights, axes = widen(weights, cells, axes[1]), cells.axes
        strides = (strides[0], 1)
        scope.counts["cells"] += 1
    padding = choose_padding(axes)
    if padding.explicit:
        value = pad_image(scope, value, padding.pads)
    weights = weights.turned(_DEPTHWISE_AS_1HWO if depthwise else _OIHW_AS_OHWI)
    fields: dict[str, Any] = {
        "padding": padding.word,
        "strideH": int(strides[0]),
        "strideW": int(strides[1]),
        "dilationHFactor": int(dilations[0]),
        "dilationWFactor": int(dilations[1]),
        "fusedActivationFunction": target.activation,
    }
    places = tuple(axis.out for axis in axes)
    made = Made(target.name, (shape[0], weights.channels, *places), NCHW_AS_NHWC, grid)
    if cells is not None:
        made = replace(made, name=f"{target.name}/cells")
    if value.grid is not None:
        kernel = write_weights(scope, weights)
        bias = integer_bias(scope, node, 2, narrow, value.grid, times=1 if cells is None else cells.results)
    else:
        kernel = write_weights(scope, weights, dynamic=not depthwise)
        bias = write_float_bias(scope, node, 2, weights.channels)
    hybrid = value.grid is None and scope.flat.is_integer(kernel)
    inputs = [value.tensor, kernel, bias]
    if depthwise:
        fields["depthMultiplier"] = weights.channels // groups
        version = 3 if value.grid is not None else 6 if hybrid else 2 if max(dilations) > 1 else 1
        result = scope.emit("DEPTHWISE_CONV_2D", inputs, made, Options("DepthwiseConv2DOptions", fields), version)
    else:
        version = 6 if groups > 1 else 3 if value.grid is not None else 5 if hybrid else 1
        result = scope.emit("CONV_2D", inputs, made, Options("Conv2DOptions", fields), version)
    if cells is not None:
        result = part_pixels(scope, result, shape, target.name)
    scope.counts["integer" if value.grid is not None else "float"] += 1
    scope.finish(node, target, result)


def picture(scope: Scope, node: Node) -> Value:
    """The first input, which must be a picture.

    Raises:
        ConversionError: It has other than four axes.
    """
    value = scope.value(node)
    if len(value.shape) != _IMAGE:
        raise refuse(node, f"it reads a tensor of {len(value.shape)} axes, and only pictures (4 axes) are supported")
    return value
