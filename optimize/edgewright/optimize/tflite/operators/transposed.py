"""ConvTranspose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.tflite.flatbuffer import Options
from edgewright.optimize.tflite.operators.convolution import picture, result_grid
from edgewright.optimize.tflite.scope import Made
from edgewright.optimize.tflite.source import Node, refuse
from edgewright.optimize.tflite.values import NCHW_AS_NHWC
from edgewright.optimize.tflite.weights import Weights, integer_bias, read_weights, write_float_bias, write_weights
from edgewright.optimize.tflite.windows import SAME, VALID

if TYPE_CHECKING:
    from edgewright.optimize.tflite.scope import Scope
    from edgewright.optimize.tflite.values import Value

__all__ = ["transposed_convolution"]

_IOHW_AS_OHWI = (1, 2, 3, 0)


@dataclass(frozen=True)
class _Extent:
    """How far the result of a transposed convolution reaches, (height, width) each.

    Attributes:
        full: All that the kernel covers.
        before: What the pads take off in front.
        out: The result.
        same: Whether TFLite's SAME cuts just so.
    """

    full: tuple[int, ...]
    before: tuple[int, ...]
    out: tuple[int, ...]
    same: bool

    @property
    def exact(self) -> bool:
        """Whether nothing is cut at all."""
        return not any(self.before) and self.out == self.full

    @property
    def computed(self) -> tuple[int, ...]:
        """What the operator is asked for; the rest is cut afterwards."""
        return self.out if self.same else self.full


def transposed_convolution(scope: Scope, node: Node) -> None:
    """Writes a ConvTranspose as TRANSPOSE_CONV, cut afterwards where its pads are not TFLite's.

    Raises:
        ConversionError: It is grouped, dilated, not about pictures, or reaches beyond what it computes.
    """
    value = scope.as_axes(picture(scope, node), NCHW_AS_NHWC)
    if int(node.attributes.get("group", 1)) != 1 or max(node.attributes.get("dilations", (1, 1))) > 1:
        raise refuse(node, "a transposed convolution must not be grouped or dilated")
    weights = read_weights(scope, node, 1, 1).turned(_IOHW_AS_OHWI)
    target = scope.target(node)
    shape = scope.shape(node.outputs[0])
    strides = tuple(int(step) for step in node.attributes.get("strides", (1, 1)))
    extent = _extent(node, value, weights.values.shape[1:3], strides, shape[2:])
    grid = result_grid(scope, value, weights, target)
    if grid is None:
        value = scope.as_float(value)
        weights = _as_float(weights)
    kernel = write_weights(scope, weights, dynamic=False)
    if value.grid is not None:
        bias = integer_bias(scope, node, 2, weights, value.grid)
    else:
        bias = write_float_bias(scope, node, 2, weights.channels)
    whole = extent.computed == extent.out
    name = target.name if whole else f"{target.name}/full"
    made = Made(name, (*shape[:2], *extent.computed), NCHW_AS_NHWC, grid)
    sizes = scope.numbers(f"{node.name}/size", [shape[0], *extent.computed, shape[1]])
    word = SAME if extent.same and not extent.exact else VALID
    options = Options("TransposeConvOptions", {"padding": word, "strideH": strides[0], "strideW": strides[1]})
    result = scope.emit("TRANSPOSE_CONV", [sizes, kernel, value.tensor, bias], made, options, 3)
    if not whole:
        begin = scope.numbers(f"{node.name}/begin", [0, *extent.before, 0])
        size = scope.numbers(f"{node.name}/cut", [shape[0], *shape[2:], shape[1]])
        version = 1 if grid is None else 2
        made = Made(target.name, shape, NCHW_AS_NHWC, grid)
        result = scope.emit("SLICE", [result.tensor, begin, size], made, Options("SliceOptions"), version)
    scope.counts["integer" if grid is not None else "float"] += 1
    scope.finish(node, target, result)


def _extent(
    node: Node, value: Value, kernel: tuple[int, ...], strides: tuple[int, ...], out: tuple[int, ...]
) -> _Extent:
    sizes = value.shape[2:]
    full = tuple((size - 1) * step + reach for size, step, reach in zip(sizes, strides, kernel, strict=True))
    before = _cut_before(node, full, out)
    same = all(
        -(-wanted // step) == size and begin == max((size - 1) * step + reach - wanted, 0) // 2
        for wanted, step, size, begin, reach in zip(out, strides, sizes, before, kernel, strict=True)
    )
    extent = _Extent(full, before, out, same or (not any(before) and out == full))
    beyond = any(begin + wanted > size for begin, wanted, size in zip(before, out, full, strict=True))
    if beyond and not extent.same:
        raise refuse(node, "its output_padding reaches beyond what the kernel covers")
    return extent


def _as_float(weights: Weights) -> Weights:
    """Weights in real numbers: there is no kernel for float pictures on integer weights here."""
    if weights.scale is None:
        return weights
    shape = [1] * weights.values.ndim
    shape[weights.axis] = -1
    reals = np.asarray(weights.values * weights.steps.reshape(shape), np.float32)
    return Weights(weights.name, reals, None, weights.axis)


def _cut_before(node: Node, full: tuple[int, ...], out: tuple[int, ...]) -> tuple[int, ...]:
    """Rows and columns that the pads take off before the result starts."""
    automatic = node.attributes.get("auto_pad", "NOTSET")
    if "output_shape" in node.attributes or automatic.startswith("SAME"):
        extra = node.attributes.get("output_padding", (0, 0))
        totals = [max(size + more - wanted, 0) for size, more, wanted in zip(full, extra, out, strict=True)]
        # ONNX: SAME_UPPER puts the smaller half before, everything else the larger one.
        return tuple(total // 2 if automatic == "SAME_UPPER" else total - total // 2 for total in totals)
    pads = node.attributes.get("pads", (0, 0, 0, 0))
    return int(pads[0]), int(pads[1])
