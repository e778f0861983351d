"""QuantizeLinear and DequantizeLinear: mostly nothing is written, as codes simply stay codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.tflite.fusing import quantizer_grid
from edgewright.optimize.tflite.source import Node, refuse
from edgewright.optimize.tflite.values import IntegerConstant

if TYPE_CHECKING:
    from edgewright.optimize.tflite.scope import Scope

__all__ = ["dequantize", "quantize"]


def quantize(scope: Scope, node: Node) -> None:
    """Keeps codes that are on the grid already, turns those on another one, and rounds floats."""
    grid = quantizer_grid(scope.graph, node)
    value = scope.value(node)
    scope.counts["requantized"] += value.grid is not None and value.grid != grid
    scope.set(node.outputs[0], scope.on_grid(value, grid))


def dequantize(scope: Scope, node: Node) -> None:
    """Notes a quantized constant, or passes codes on: who needs floats asks for them.

    Raises:
        ConversionError: The integers are not on the grid that their quantizer used, or their grid is computed.
    """
    if node.inputs[0] in scope.graph.constants:
        codes = scope.graph.constants[node.inputs[0]]
        scale = scope.graph.constants.get(node.given(1))
        zero = scope.graph.constants.get(node.given(2)) if node.given(2) else np.zeros(1, np.int64)
        if scale is None or zero is None or node.attributes.get("block_size", 0):
            raise refuse(node, "scale and zero point must be constants, without blocks")
        flat = scale.reshape(-1).astype(np.float32)
        zeros = np.broadcast_to(zero.reshape(-1).astype(np.int64), flat.shape)
        axis = int(node.attributes.get("axis", 1)) % max(codes.ndim, 1)
        scope.integers[node.outputs[0]] = IntegerConstant(codes, flat, zeros, axis)
        return
    value = scope.value(node)
    if value.grid != quantizer_grid(scope.graph, node):
        raise refuse(node, "it reads integers that are on another grid")
    scope.set(node.outputs[0], value)
