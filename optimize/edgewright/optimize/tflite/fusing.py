"""Where a node's result goes: clips that the operator can do itself, and the grid on which its readers want it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.tflite.source import Node, refuse
from edgewright.optimize.tflite.values import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.tflite.source import SourceGraph

__all__ = ["Target", "clip_bounds", "find_target", "quantizer_grid"]

_SHIFT = 128
_CODES = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")  # by their number in the schema
_ACTIVATIONS = {(0.0, np.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}


@dataclass(frozen=True)
class Target:
    """Where a result goes.

    Attributes:
        name: ONNX tensor that the operator makes, behind what is fused.
        grid: On which all its readers want it, None where it stays float.
        activation: Number of the fused clip in the schema.
        fused: First results of the nodes that vanish; names of nodes need not be unique.
    """

    name: str
    grid: Grid | None
    activation: int = 0
    fused: frozenset[str] = frozenset()


def find_target(graph: SourceGraph, node: Node, *, fuse: bool) -> Target:
    """Follows a node's first result.

    Args:
        graph: The graph.
        node: The node.
        fuse: Whether a clip behind it can be taken in.
    """
    name = node.outputs[0]
    activation, fused = 0, frozenset[str]()
    readers = graph.readers.get(name, ())
    if fuse and len(readers) == 1 and name not in graph.outputs and readers[0].kind in ("Relu", "Clip"):
        kind = _ACTIVATIONS.get(clip_bounds(graph, readers[0]) or (1.0, 0.0))
        if kind is not None and readers[0].inputs[0] == name:
            activation, fused, name = _CODES.index(kind), frozenset({readers[0].outputs[0]}), readers[0].outputs[0]
    return Target(name, _wanted_grid(graph, name), activation, fused)


def clip_bounds(graph: SourceGraph, node: Node) -> tuple[float, float] | None:
    """Low and high of a Relu or Clip, None where they are not constants."""
    if node.kind == "Relu":
        return 0.0, float(np.inf)
    bounds = []
    for index, key, free in ((1, "min", -np.inf), (2, "max", np.inf)):
        name = node.given(index)
        if name and name not in graph.constants:
            return None
        value: Any = graph.constants[name].reshape(-1)[0] if name else node.attributes.get(key, free)
        bounds.append(float(value))
    low, high = (
        value if abs(value) < float(np.finfo(np.float32).max) else float(np.sign(value)) * np.inf for value in bounds
    )
    return float(low), float(high)


def quantizer_grid(graph: SourceGraph, node: Node) -> Grid:
    """The grid of a QuantizeLinear or DequantizeLinear of an activation.

    Raises:
        ConversionError: It is not one scale with an 8-bit zero point.
    """
    scale = _given(graph, node, 1)
    if scale is None or scale.size != 1:
        raise refuse(node, "activations need one constant scale")
    zero = _given(graph, node, 2)
    zero = np.zeros(1, np.uint8) if zero is None else zero
    if zero.dtype not in (np.int8, np.uint8):
        raise refuse(node, f"activations must be 8-bit integers, not {zero.dtype}")
    shift = _SHIFT if zero.dtype == np.uint8 else 0
    return Grid(float(np.float32(scale.reshape(-1)[0])), int(zero.reshape(-1)[0]) - shift)


def _given(graph: SourceGraph, node: Node, index: int) -> NDArray[Any] | None:
    name = node.given(index)
    if name and name not in graph.constants:
        raise refuse(node, f"its input {name!r} must be a constant")
    return graph.constants[name] if name else None


def _wanted_grid(graph: SourceGraph, name: str) -> Grid | None:
    readers = graph.readers.get(name, ())
    if not readers or name in graph.outputs or any(reader.kind != "QuantizeLinear" for reader in readers):
        return None
    grids = {quantizer_grid(graph, reader) for reader in readers}
    return grids.pop() if len(grids) == 1 else None
