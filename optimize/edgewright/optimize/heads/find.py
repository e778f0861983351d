"""Where values of very different size are forced onto one integer grid behind the last weights: boxes beside scores.

Found by structure and by calibrated ranges; nobody names a node. Three ways in which detectors do it:

- ``CONCAT``: a Concat puts boxes (0..640) beside scores (0..1), and something behind it needs one grid for both.
- ``MIXED``: one convolution gives both, and they are only parted later, or never.
- ``ARITHMETIC``: a sum whose one operand is so small beside the result that the grid swallows it (offset plus cell
  number of a decoded box).

A value is called swallowed when fewer than ``LEAST_LEVELS`` of the grid's 256 levels are left to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from edgewright.optimize.graph.segments import node_id
from edgewright.optimize.heads.channels import parts_of
from edgewright.optimize.sensitivity.structure import GraphView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.types import Ranges

__all__ = ["LEAST_LEVELS", "SharedKind", "SharedScale", "find_shared_scales"]

LEAST_LEVELS = 16
"""Four bits: below, a score says little more than yes or no."""

_LEVELS = 255
_SUMS = frozenset({"Add", "Sub"})


class SharedKind(str, Enum):
    """How values came to share a grid."""

    CONCAT = "concat"
    MIXED = "mixed"
    ARITHMETIC = "arithmetic"


@dataclass(frozen=True)
class SharedScale:
    """One grid for values of different size.

    Attributes:
        node: The operator whose output has that grid (``node_id``).
        kind: How they came together.
        tensor: Its output.
        inputs: What shares the grid, with low and high: tensor names, or ``TENSOR[a:b]`` for channels.
        levels: Integer levels that the smallest of them is left with.
        why: A sentence.
        bounds: For ``MIXED``, the channels at which the size changes.
    """

    node: str
    kind: SharedKind
    tensor: str
    inputs: Mapping[str, tuple[float, float]]
    levels: float
    why: str
    bounds: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "node": self.node,
            "kind": self.kind.value,
            "tensor": self.tensor,
            "inputs": {name: list(limits) for name, limits in self.inputs.items()},
            "levels": self.levels,
            "why": self.why,
        }


def find_shared_scales(
    model: bytes, ranges: Ranges, channels: Mapping[str, NDArray[Any]] | None = None
) -> tuple[SharedScale, ...]:
    """Looks at everything behind the last weights, and at the last weights themselves.

    Args:
        model: The prepared float graph.
        ranges: Calibrated low and high of its tensors.
        channels: Low and high of each channel of some tensors, (channels, 2) (``channel_ranges``); finds mixed
            convolutions whose output is never split.

    Returns:
        Findings in the graph's order.
    """
    import onnx

    view = GraphView(onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model), data_prop=True))
    found: list[SharedScale] = []
    for node in view.nodes:
        if node.op_type == "Concat":
            found += _concat(view, node, ranges)
        elif view.weighted(node):
            found += _mixed(view, node, ranges, channels or {})
        elif node.op_type in _SUMS:
            found += _arithmetic(view, node, ranges)
    return tuple(found)


def _concat(view: GraphView, node: onnx.NodeProto, ranges: Ranges) -> Iterator[SharedScale]:
    output = node.output[0]
    if node_id(node) not in view.tail or output not in ranges or not view.readers.get(output):
        return  # the writer leaves a Concat that is an output in float, its inputs on grids of their own
    inputs = {name: ranges[name] for name in view.data_inputs(node) if name in ranges}
    yield from _finding(node, SharedKind.CONCAT, inputs, ranges[output])


def _arithmetic(view: GraphView, node: onnx.NodeProto, ranges: Ranges) -> Iterator[SharedScale]:
    output = node.output[0]
    if node_id(node) in view.tail and output in ranges:
        inputs = {name: ranges[name] for name in view.data_inputs(node) if name in ranges}
        yield from _finding(node, SharedKind.ARITHMETIC, inputs, ranges[output])


def _mixed(
    view: GraphView, node: onnx.NodeProto, ranges: Ranges, channels: Mapping[str, NDArray[Any]]
) -> Iterator[SharedScale]:
    output = node.output[0]
    readers = view.readers.get(output, [])
    if output not in ranges or not all(node_id(reader) in view.tail for reader in readers):
        return
    parts = parts_of(view, output, ranges, channels.get(output))
    if len(parts) > 1:
        inputs = {f"{output}[{part.start}:{part.stop}]": (part.low, part.high) for part in parts}
        bounds = tuple(part.start for part in parts[1:])
        yield from _finding(node, SharedKind.MIXED, inputs, ranges[output], bounds)


def _finding(
    node: onnx.NodeProto,
    kind: SharedKind,
    inputs: Mapping[str, tuple[float, float]],
    grid: tuple[float, float],
    bounds: tuple[int, ...] = (),
) -> Iterator[SharedScale]:
    step = (max(grid[1], 0.0) - min(grid[0], 0.0)) / _LEVELS
    # A constant needs no levels.
    levels = {name: (high - low) / step for name, (low, high) in inputs.items() if step > 0 and high > low}
    if not levels or min(levels.values()) >= LEAST_LEVELS:
        return
    small = min(levels, key=lambda name: levels[name])
    why = (
        f"{node.op_type} {node_id(node)!r} puts {_said(small, inputs[small])} on a grid for {grid[0]:.4g} to "
        f"{grid[1]:.4g}: {levels[small]:.1f} of {_LEVELS + 1} levels are left to it"
    )
    yield SharedScale(node_id(node), kind, node.output[0], inputs, levels[small], why, bounds)


def _said(name: str, limits: Sequence[float]) -> str:
    return f"{name} ({limits[0]:.4g} to {limits[1]:.4g})"
