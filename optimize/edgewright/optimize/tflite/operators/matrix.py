"""Gemm and MatMul.

A product with one weight scale per output channel is written as a 1x1 convolution: every LiteRT has an integer kernel for
that, while FULLY_CONNECTED with scales per channel is younger than tflite-runtime 2.14.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.tflite.flatbuffer import Options
from edgewright.optimize.tflite.form import TfliteForm
from edgewright.optimize.tflite.operators.convolution import result_grid
from edgewright.optimize.tflite.scope import Made
from edgewright.optimize.tflite.source import Node, refuse
from edgewright.optimize.tflite.values import Value, identity
from edgewright.optimize.tflite.weights import (
    FEW_WEIGHTS,
    Weights,
    integer_bias,
    read_weights,
    write_float_bias,
    write_weights,
)
from edgewright.optimize.tflite.windows import VALID

if TYPE_CHECKING:
    from edgewright.optimize.tflite.fusing import Target
    from edgewright.optimize.tflite.scope import Scope
    from edgewright.optimize.tflite.values import Grid

__all__ = ["gemm", "matmul"]

_MATRIX = 2


@dataclass(frozen=True, eq=False)
class _Product:
    """Rows times a matrix (outputs, inputs).

    Attributes:
        value: The rows, in codes or floats.
        weights: The matrix.
        target: Where the result goes.
        grid: Of the result, None for floats.
    """

    value: Value
    weights: Weights
    target: Target
    grid: Grid | None

    @property
    def rows(self) -> int:
        """How many."""
        return int(np.prod(self.value.shape[:-1], dtype=np.int64))


def gemm(scope: Scope, node: Node) -> None:
    """Writes a Gemm with constant weights.

    Raises:
        ConversionError: Its weights are no constant, or its input is to be transposed.
    """
    if node.attributes.get("transA", 0):
        raise refuse(node, "transA is not supported")
    turned = bool(node.attributes.get("transB", 0))
    weights = read_weights(scope, node, 1, 0 if turned else 1)
    factors = float(node.attributes.get("alpha", 1.0)), float(node.attributes.get("beta", 1.0))
    if factors != (1.0, 1.0) and (weights.scale is not None or (factors[1] != 1.0 and node.given(2))):
        raise refuse(node, f"alpha and beta are {factors[0]:g} and {factors[1]:g}; fold them into the weights")
    if factors[0] != 1.0:
        weights = replace(weights, values=np.asarray(weights.values * np.float32(factors[0]), np.float32))
    _product(scope, node, weights if turned else weights.turned((1, 0)))


def matmul(scope: Scope, node: Node) -> None:
    """Writes a MatMul: with constant weights as a product, else as BATCH_MATMUL.

    Raises:
        ConversionError: The constant weights are no matrix.
    """
    if not scope.computed(node, 1):
        weights = read_weights(scope, node, 1, 1)
        if weights.values.ndim != _MATRIX:
            raise refuse(node, f"its constant has {weights.values.ndim} axes, not two")
        _product(scope, node, weights.turned((1, 0)))
        return
    first, second = (scope.as_float(scope.plain(scope.value(node, index))) for index in (0, 1))
    shape = scope.shape(node.outputs[0])
    target = scope.target(node)
    made = Made(target.name, shape, identity(len(shape)))
    options = Options("BatchMatMulOptions")
    scope.finish(node, target, scope.emit("BATCH_MATMUL", [first.tensor, second.tensor], made, options))


def _product(scope: Scope, node: Node, weights: Weights) -> None:
    """Writes rows times a matrix (outputs, inputs)."""
    value = scope.plain(scope.value(node))
    target = scope.target(node, fuse=True)
    shape = scope.shape(node.outputs[0])
    grid = result_grid(scope, value, weights, target)
    if grid is None:
        value = scope.as_float(value)
    scope.counts["integer" if grid is not None else "float"] += 1
    product = _Product(value, weights, target, grid)
    rounded_here = scope.form is TfliteForm.DYNAMIC and weights.values.size >= FEW_WEIGHTS
    per_channel = weights.scale is not None and len(weights.scale) > 1
    write = _as_convolution if per_channel or rounded_here else _as_rows
    result = write(scope, node, product)
    tensor = scope.reshaped(result, shape, target.name)
    scope.finish(node, target, Value(tensor, shape, identity(len(shape)), grid))


def _as_rows(scope: Scope, node: Node, product: _Product) -> Value:
    value, weights, grid = product.value, product.weights, product.grid
    flat = scope.reshaped(value, (product.rows, value.shape[-1]), f"{node.name}/rows")
    bias = _bias(scope, node, weights, value)
    shape = (product.rows, weights.channels)
    name = product.target.name
    made = Made(name if scope.shape(node.outputs[0]) == shape else f"{name}/rows", shape, identity(_MATRIX), grid)
    kernel = write_weights(scope, weights, dynamic=False)
    version = 4 if grid is not None else 3 if scope.flat.is_integer(kernel) else 1
    options = Options("FullyConnectedOptions", {"fusedActivationFunction": product.target.activation})
    return scope.emit("FULLY_CONNECTED", [flat, kernel, bias], made, options, version)


def _as_convolution(scope: Scope, node: Node, product: _Product) -> Value:
    value, weights, grid = product.value, product.weights, product.grid
    flat = scope.reshaped(value, (product.rows, 1, 1, value.shape[-1]), f"{node.name}/pixels")
    bias = _bias(scope, node, weights, value)
    kernel = write_weights(scope, weights.shaped((weights.channels, 1, 1, weights.values.shape[1]), 0))
    made = Made(f"{product.target.name}/pixels", (product.rows, 1, 1, weights.channels), identity(4), grid)
    activation = product.target.activation
    fields = {"padding": VALID, "strideH": 1, "strideW": 1, "fusedActivationFunction": activation}
    version = 3 if grid is not None else 5
    return scope.emit("CONV_2D", [flat, kernel, bias], made, Options("Conv2DOptions", fields), version)


def _bias(scope: Scope, node: Node, weights: Weights, value: Value) -> int:
    if value.grid is not None:
        return integer_bias(scope, node, 2, weights, value.grid)
    return write_float_bias(scope, node, 2, weights.channels)
