"""Reads a network that neural-compressor's torch flow has converted: grids of activations, and what stayed in float.

The converted network is an FX graph in which pairs of quantize and dequantize surround float operators. Taken through
``_WithoutGrids`` those pairs do nothing, so the very same graph also gives the float values by which its tensors are
found again in the ONNX graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.engines.sketch import Sketch, sketch
from edgewright.optimize.errors import JudgeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.types import Feeds

__all__ = ["Grid", "TorchOperator", "TorchReading", "read_converted"]

_QUANTIZE = "quantized_decomposed.quantize_per_tensor."
_GRID = ("quantized_decomposed.quantize_per_", "quantized_decomposed.dequantize_per_")
_WEIGHTED = (
    "aten.conv1d.",
    "aten.conv2d.",
    "aten.conv3d.",
    "aten.convolution.",
    "aten.conv_transpose1d.",
    "aten.conv_transpose2d.",
    "aten.linear.",
    "aten.matmul.",
    "aten.mm.",
)
_OUTWARD = ("aten.matmul.", "aten.mm.")  # weights (inputs, outputs); the others have outputs first
# Hand on values that have the same range; zeros put around them are inside every range.
_SAME_RANGE = ("aten.alias.", "aten.clone.", "aten.constant_pad_nd.", "aten.contiguous.", "aten.dropout.", "aten.pad.")


@dataclass(frozen=True)
class Grid:
    """What an activation was quantized to.

    Attributes:
        tensor: Name of the FX node that computes it.
        low: The smallest value of the grid.
        high: The largest.
    """

    tensor: str
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class TorchOperator:
    """An operator with constant weights.

    Attributes:
        name: Of its FX node.
        weight: (outputs, ...) float32, batch norm folded in.
        tensor: Name of the FX node that computes its input.
        is_float: It was left in float.
    """

    name: str
    weight: NDArray[np.float32]
    tensor: str
    is_float: bool


@dataclass(frozen=True, eq=False)
class TorchReading:
    """What a converted network says.

    Attributes:
        grids: Of its activations, in order.
        operators: Those with weights, in order.
        sketches: Float values of every tensor that ``grids`` and ``operators`` name.
    """

    grids: tuple[Grid, ...]
    operators: tuple[TorchOperator, ...]
    sketches: Mapping[str, Sketch]


def read_converted(network: Any, feeds: Sequence[Feeds], input_name: str) -> TorchReading:
    """Reads it.

    Args:
        network: A ``torch.fx.GraphModule`` as ``convert`` or ``autotune`` gives it.
        feeds: A few pictures to know tensors by.
        input_name: Name of the input in ``feeds``.

    Raises:
        JudgeError: Nothing in it is quantized, or in a form that is not known.
    """
    grids = tuple(_grids(network))
    operators = tuple(_operators(network))
    if not grids or not operators:
        msg = "neural-compressor's torch flow quantized nothing that is recognised; use the versions of constraints.txt"
        raise JudgeError(msg)
    wanted = {grid.tensor for grid in grids} | {operator.tensor for operator in operators}
    sketches: dict[str, Sketch] = {}
    for feed in feeds:
        for name, made in _run_in_float(network, feed[input_name], wanted).items():
            sketches[name] = sketches[name].joined(made) if name in sketches else made
    return TorchReading(grids, operators, sketches)


def _grids(network: Any) -> Iterator[Grid]:
    for node in network.graph.nodes:
        if node.op == "call_function" and str(node.target).startswith(_QUANTIZE):
            source, scale, zero, lowest, highest = node.args[:5]
            if source.op == "get_attr":  # a weight with one scale
                continue
            step, offset = _number(network, scale), _number(network, zero)
            yield Grid(_bare(source).name, (lowest - offset) * step, (highest - offset) * step)


def _operators(network: Any) -> Iterator[TorchOperator]:
    for node in network.graph.nodes:
        target = str(node.target)
        if node.op != "call_function" or not target.startswith(_WEIGHTED):
            continue
        source, steps = node.args[1], 0
        while _is_grid(source):
            source, steps = source.args[0], steps + 1
        if source.op != "get_attr":  # a product of two activations
            continue
        weight = _attribute(network, source.target).detach().numpy()
        turned = weight.T if target.startswith(_OUTWARD) else weight
        yield TorchOperator(node.name, turned, _bare(node.args[0]).name, not (steps and _is_grid(node.args[0])))


def _run_in_float(network: Any, picture: NDArray[Any], wanted: set[str]) -> dict[str, Sketch]:
    import torch

    found: dict[str, Sketch] = {}

    class WithoutGrids(torch.fx.Interpreter):
        """Runs the network as if nothing were quantized."""

        def run_node(self, n: torch.fx.Node) -> Any:
            value = super().run_node(n)
            if n.name in wanted:
                found[n.name] = sketch(value.detach().numpy())
            return value

        def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
            return args[0] if str(target).startswith(_GRID) else super().call_function(target, args, kwargs)

    with torch.no_grad():
        WithoutGrids(network).run(torch.from_numpy(np.ascontiguousarray(picture)))
    return found


def _bare(node: Any) -> Any:
    """The node that computes the values, behind grids and operators that keep the range."""
    while node.op == "call_function" and (_is_grid(node) or str(node.target).startswith(_SAME_RANGE)):
        node = node.args[0]
    return node


def _is_grid(node: Any) -> bool:
    return node.op == "call_function" and str(node.target).startswith(_GRID)


def _number(network: Any, value: Any) -> float:
    """A scale or zero point: a number, or a constant of the network that holds one."""
    return float(value) if isinstance(value, (int, float)) else float(_attribute(network, value.target).item())


def _attribute(network: Any, path: str) -> Any:
    found = network
    for part in path.split("."):
        found = getattr(found, part)
    return found
