"""Finds the tensors and operators of a torch network again in our ONNX graph, or refuses.

Operators are the same if their weights are equal, or proportional channel by channel (a batch norm was folded in on one
side only), and their inputs hold the same values. Every operator with weights must find exactly one partner, in both
directions; every quantized activation must be found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.engines.sketch import Sketch, onnx_sketches, same_values
from edgewright.optimize.errors import ModelError
from edgewright.optimize.graph.segments import node_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.engines.torch_graph import TorchOperator, TorchReading
    from edgewright.optimize.types import Feeds

__all__ = ["Matched", "match_graphs"]

_EQUAL = 1e-3  # of the largest weight
_PARALLEL = 1e-4  # of 1 - cosine, a channel


@dataclass(frozen=True)
class Matched:
    """What was found.

    Attributes:
        ranges: Of ONNX tensors, from the grids of the torch network.
        keep_float: ONNX nodes whose partner was left in float.
        operators: Torch operator to ONNX node.
    """

    ranges: Mapping[str, tuple[float, float]]
    keep_float: frozenset[str]
    operators: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class _Node:
    name: str
    weight: NDArray[np.float32]
    tensor: str


def match_graphs(reading: TorchReading, model: bytes, feeds: Sequence[Feeds], threads: int = 1) -> Matched:
    """Carries grids and float operators over to the ONNX graph.

    Args:
        reading: Of the converted torch network.
        model: The prepared float ONNX graph of the same network.
        feeds: The pictures that ``reading`` was made with.
        threads: For the engine.

    Raises:
        ModelError: Something has no partner: it is not the same network.
        JudgeError: The engine refuses the graph.
    """
    import onnx

    graph = onnx.load_model_from_string(model).graph
    tensors = onnx_sketches(model, feeds, threads)
    operators = _match_operators(reading, list(_weighted(graph)), tensors)
    ranges: dict[str, tuple[float, float]] = {}
    for grid in reading.grids:
        names = [name for name, made in tensors.items() if same_values(made, reading.sketches[grid.tensor])]
        if not names:
            msg = (
                f"neural-compressor quantized tensor {grid.tensor!r}, whose values are nowhere in the ONNX graph; "
                "the two exports of this model differ too much for its scales to be carried over"
            )
            raise ModelError(msg)
        for name in names:
            low, high = ranges.get(name, (grid.low, grid.high))
            ranges[name] = (min(low, grid.low), max(high, grid.high))
    keep = frozenset(operators[operator.name] for operator in reading.operators if operator.is_float)
    return Matched(ranges, keep, operators)


def _match_operators(reading: TorchReading, nodes: list[_Node], tensors: Mapping[str, Sketch]) -> dict[str, str]:
    found: dict[str, str] = {}
    for operator in reading.operators:
        partner = next((node for node in nodes if _same(operator, node, reading.sketches, tensors)), None)
        if partner is None:
            msg = (
                f"neural-compressor's operator {operator.name!r} with weights {list(operator.weight.shape)} has no "
                "partner in the ONNX graph: no node there has its weights and its input"
            )
            raise ModelError(msg)
        nodes.remove(partner)
        found[operator.name] = partner.name
    if nodes:
        msg = f"node {nodes[0].name!r} of the ONNX graph has weights that neural-compressor's network does not have"
        raise ModelError(msg)
    return found


def _same(operator: TorchOperator, node: _Node, theirs: Mapping[str, Sketch], ours: Mapping[str, Sketch]) -> bool:
    if not _same_weights(operator.weight, node.weight):
        return False
    return node.tensor in ours and same_values(theirs[operator.tensor], ours[node.tensor])


def _same_weights(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    if one.shape != other.shape:
        return False
    if float(np.abs(one - other).max(initial=0.0)) <= _EQUAL * float(np.abs(other).max(initial=0.0)):
        return True
    rows, others = one.reshape(len(one), -1).astype(np.float64), other.reshape(len(other), -1).astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    alive = lengths > 0
    cosines = np.abs((rows * others).sum(axis=1)[alive]) / lengths[alive]
    return bool(alive.any() and (1.0 - cosines <= _PARALLEL).all())


def _weighted(graph: onnx.GraphProto) -> Iterator[_Node]:
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in {"Conv", "ConvTranspose", "Gemm", "MatMul"} and node.input[1] in constants:
            weight = numpy_helper.to_array(constants[node.input[1]])
            yield _Node(node_id(node), _outputs_first(node, weight), node.input[0])


def _outputs_first(node: onnx.NodeProto, weight: NDArray[Any]) -> NDArray[Any]:
    if node.op_type == "MatMul":
        return weight.T if weight.ndim == 2 else weight
    turned = node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute)
    return weight.T if turned else weight
