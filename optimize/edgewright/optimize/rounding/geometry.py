"""A layer with weights as matrices: which numbers of its input meet which weights.

Convolutions, Gemm and MatMul are all seen as ``outputs = weights @ patches``, with ``weights`` (groups, rows, taps) and
``patches`` (groups, taps, positions): a depthwise convolution has one group a channel, a dense layer has one group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.graph.operators import WEIGHTED
from edgewright.optimize.graph.segments import node_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from numpy.typing import NDArray

__all__ = ["LayerGeometry", "Window", "layer_geometries"]


@dataclass(frozen=True)
class Window:
    """How a two-dimensional convolution walks over its input.

    Attributes:
        kernel: (height, width) in taps.
        strides: (y, x).
        dilations: (y, x).
        pads: (top, left, bottom, right).
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True)
class LayerGeometry:
    """One operator with constant weights.

    Attributes:
        node: Its id (``node_id``).
        weight: Name of its weights.
        input: Name of the tensor it reads.
        groups: Independent parts.
        rows: Output channels of a group.
        taps: Inputs that an output is made of.
        window: Of a convolution, None for Gemm and MatMul.
        rows_first: Whether the output channels are the first axis of the stored weights.
    """

    node: str
    weight: str
    input: str
    groups: int
    rows: int
    taps: int
    window: Window | None
    rows_first: bool

    @property
    def depthwise(self) -> bool:
        """Whether its groups see one input channel each."""
        return (
            self.window is not None and self.groups > 1 and self.taps == self.window.kernel[0] * self.window.kernel[1]
        )

    @property
    def key(self) -> tuple[str, int, int, Window | None]:
        """Layers of the same key see the same patches."""
        return self.input, self.groups, self.taps, self.window

    def matrix(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Stored weights as (groups, rows, taps)."""
        rows = weights if self.rows_first else weights.T
        return rows.reshape(self.groups, self.rows, self.taps)

    def stored(self, matrix: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """The way back from ``matrix`` to the stored ``shape``."""
        if self.rows_first:
            return matrix.reshape(shape)
        return np.ascontiguousarray(matrix.reshape(self.rows, self.taps).T).reshape(shape)

    def per_row(self, values: NDArray[Any]) -> NDArray[Any]:
        """One value an output channel, or one for all, as (groups, rows)."""
        return np.broadcast_to(values, (self.groups * self.rows,)).reshape(self.groups, self.rows)

    def patches(self, values: NDArray[Any], limit: int, turn: int) -> NDArray[np.float32]:
        """What the weights meet, at evenly spread positions.

        Args:
            values: The layer's input, (N, C, H, W) for convolutions, else (..., taps).
            limit: About how many positions to take at most; every ``step``-th in both directions.
            turn: Shifts the grid of positions, so that pictures from a fixed camera give different ones.

        Returns:
            (groups, taps, positions).
        """
        if self.window is None:
            rows = values.reshape(-1, self.taps)
            step = -(-len(rows) // limit)
            return np.ascontiguousarray(rows[turn % step :: step].T[None], np.float32)
        return _windows(values, self.window, limit, turn).reshape(self.groups, self.taps, -1)


def _windows(values: NDArray[Any], window: Window, limit: int, turn: int) -> NDArray[np.float32]:
    """(C, kernel height * kernel width, positions)."""
    top, left, bottom, right = window.pads
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right))) if any(window.pads) else values
    count = [
        (padded.shape[2 + axis] - (window.kernel[axis] - 1) * window.dilations[axis] - 1) // window.strides[axis] + 1
        for axis in (0, 1)
    ]
    step = max(1, int(np.ceil(np.sqrt(count[0] * count[1] * len(values) / limit))))
    starts = turn % step, (turn // step) % step
    spots = [
        np.arange(min(start, total - 1), total, step) * stride
        for start, total, stride in zip(starts, count, window.strides, strict=True)
    ]
    # Spots are evenly spaced, so slices reach them, which is several times as fast as their indices.
    strides = [step * stride for stride in window.strides]
    shape = (padded.shape[1], window.kernel[0] * window.kernel[1], len(padded), len(spots[0]), len(spots[1]))
    stacked = np.empty(shape, np.float32)
    for tap, (y, x) in enumerate(np.ndindex(*window.kernel)):
        rows, columns = (
            slice(spots[k][0] + place * window.dilations[k], spots[k][-1] + place * window.dilations[k] + 1, strides[k])
            for k, place in enumerate((y, x))
        )
        stacked[:, tap] = np.moveaxis(padded[:, :, rows, columns], 1, 0)
    return stacked.reshape(shape[0], shape[1], -1)


def layer_geometries(model: onnx.ModelProto) -> tuple[dict[str, LayerGeometry], tuple[str, ...]]:
    """The layers with constant weights.

    Args:
        model: A float graph with known shapes.

    Returns:
        Geometries by node id in the graph's order, and a note for each such layer that is not understood.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    values = {value.name: value for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
    found: dict[str, LayerGeometry] = {}
    notes = []
    for node in model.graph.node:
        if node.op_type not in WEIGHTED or len(node.input) < 2 or node.input[1] not in shapes:
            continue
        geometry = _geometry(node, shapes[node.input[1]], values)
        if geometry is None:
            notes.append(f"{node_id(node)}: this form of {node.op_type} is left as it is")
        else:
            found[geometry.node] = geometry
    return found, tuple(notes)


def _geometry(
    node: onnx.NodeProto, shape: tuple[int, ...], values: Mapping[str, onnx.ValueInfoProto]
) -> LayerGeometry | None:
    import onnx

    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    name, weight, source = node_id(node), node.input[1], node.input[0]
    if node.op_type == "Conv" and len(shape) == 4:
        groups = int(attributes.get("group", 1))
        window = _window(attributes, shape, values.get(source))
        if window is None:
            return None
        rows, taps = shape[0] // groups, shape[1] * shape[2] * shape[3]
        return LayerGeometry(name, weight, source, groups, rows, taps, window, rows_first=True)
    if node.op_type in {"Gemm", "MatMul"} and len(shape) == 2 and not attributes.get("transA", 0):
        first = bool(attributes.get("transB", 0))
        rows, taps = shape if first else shape[::-1]
        return LayerGeometry(name, weight, source, 1, rows, taps, None, rows_first=first)
    return None


def _window(attributes: Mapping[str, Any], shape: tuple[int, ...], source: onnx.ValueInfoProto | None) -> Window | None:
    kernel = (shape[2], shape[3])
    strides = tuple(attributes.get("strides", (1, 1)))
    dilations = tuple(attributes.get("dilations", (1, 1)))
    pads = tuple(attributes.get("pads", (0, 0, 0, 0)))
    automatic = attributes.get("auto_pad", b"NOTSET")
    if automatic in {b"SAME_UPPER", b"SAME_LOWER"}:
        if source is None:
            return None
        size = [dim.dim_value for dim in source.type.tensor_type.shape.dim][2:]
        if len(size) != 2 or not all(size):
            return None
        needed = [
            max((-(-size[k] // strides[k]) - 1) * strides[k] + (kernel[k] - 1) * dilations[k] + 1 - size[k], 0)
            for k in (0, 1)
        ]
        less, more = [need // 2 for need in needed], [need - need // 2 for need in needed]
        begin, end = (less, more) if automatic == b"SAME_UPPER" else (more, less)
        pads = (*begin, *end)
    return Window(kernel, strides, dilations, pads)
