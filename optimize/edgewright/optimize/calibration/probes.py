"""A float graph with probes: what the walk shows, the extremes that the engine takes, and where the graph is cut.

A probe is a ``ReduceMin``, ``ReduceMax`` or ``ReduceSum`` directly behind the operator that makes a tensor. The sum is
there for NaN, which the engine's minimum and maximum pass over silently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.calibration.observer import maximum_of, minimum_of
from edgewright.optimize.calibration.topology import float_tensors, unproven
from edgewright.optimize.errors import JudgeError, SpecError
from edgewright.optimize.graph.operators import WEIGHTED
from edgewright.optimize.graph.segments import node_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import onnx

__all__ = ["ProbedGraph", "probe"]


@dataclass(frozen=True, eq=False)
class ProbedGraph:
    """What a walk runs.

    Attributes:
        model: The graph with probes.
        shown: Every value that the graph makes and the walk looks at, probes included.
        whole: Tensors that observers want in full, graph inputs included.
        reduced: Names of wanted extremes to the tensor they are of.
        cuts: Nodes (``node_id``) behind which a piece ends.
        piece_of: The piece that makes each shown value.
        makers: Tensor to the node that makes it, for messages.
    """

    model: bytes
    shown: frozenset[str]
    whole: frozenset[str]
    reduced: Mapping[str, str]
    cuts: tuple[str, ...]
    piece_of: Mapping[str, int]
    makers: Mapping[str, str]


def probe(model: bytes, wanted: Collection[str], memory_limit: int) -> ProbedGraph:
    """Adds probes to a graph and decides where it is cut.

    Args:
        model: A float ONNX file with fixed shapes, every intermediate type known, topologically sorted.
        wanted: Names that observers want: tensors, ``minimum_of`` and ``maximum_of`` tensors.
        memory_limit: Bytes of whole tensors that may be alive at once.

    Raises:
        SpecError: A wanted tensor is not in the graph.
        JudgeError: A weight is NaN or infinite.
    """
    import onnx

    graph = onnx.load_model_from_string(model)
    _check_weights(graph)
    inputs = {value.name for value in graph.graph.input} - {tensor.name for tensor in graph.graph.initializer}
    makers = {name: node_id(node) for node in graph.graph.node for name in node.output if name}
    known = frozenset(inputs) | frozenset(makers)
    extremes = {name_of(tensor): tensor for tensor in float_tensors(graph) for name_of in (minimum_of, maximum_of)}
    missing = next((name for name in wanted if name not in known and name not in extremes), None)
    if missing is not None:
        msg = f"an observer wants tensor {missing!r}, which the graph does not compute as float; its outputs have names"
        raise SpecError(msg)
    whole = frozenset(wanted) & known
    reduced = {name: extremes[name] for name in wanted if name not in known}
    watched = frozenset(reduced.values()) - whole - inputs
    probes = _insert_probes(graph, watched)
    sizes = {name: size for name, size in _sizes(graph).items() if name in whole}
    cuts = _cuts(graph, sizes, memory_limit)
    shown = (whole & frozenset(makers)) | probes
    piece_of = {name: piece for name, piece in _pieces(graph, frozenset(cuts)) if name in shown}
    return ProbedGraph(graph.SerializeToString(), shown, whole, reduced, cuts, piece_of, makers)


def _check_weights(model: onnx.ModelProto) -> None:
    """Convolutions of finite values are finite only if their weights are."""
    import onnx

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        for name in node.input if node.op_type in WEIGHTED else ():
            if name in constants and not np.isfinite(onnx.numpy_helper.to_array(constants[name])).all():
                msg = (
                    f"weight {name!r} of node {node_id(node)!r} holds NaN or infinity; "
                    "the model was saved broken: export it again from a good checkpoint"
                )
                raise JudgeError(msg)


def _insert_probes(model: onnx.ModelProto, watched: frozenset[str]) -> frozenset[str]:
    """Adds the reductions behind each watched tensor's maker; returns their outputs."""
    import onnx

    doubtful = unproven(model)
    nodes, added = [], set()
    for node in model.graph.node:
        nodes.append(node)
        for tensor in node.output:
            if tensor not in watched:
                continue
            for operator in ("ReduceMin", "ReduceMax", *(("ReduceSum",) if tensor in doubtful else ())):
                output = f"{tensor}/edgewright.{operator}"
                nodes.append(onnx.helper.make_node(operator, [tensor], [output], name=output, keepdims=0))
                model.graph.value_info.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, []))
                added.add(output)
    copies = [_copy(node) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return frozenset(added)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    import onnx

    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _sizes(model: onnx.ModelProto) -> dict[str, int]:
    """Bytes of every value with a type; an unknown axis counts as one."""
    import onnx

    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    return {
        value.name: math.prod(axis.dim_value or 1 for axis in value.type.tensor_type.shape.dim)
        * onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).itemsize
        for value in values
        if value.type.tensor_type.elem_type
    }


def _cuts(model: onnx.ModelProto, sizes: Mapping[str, int], limit: int) -> tuple[str, ...]:
    """Ends a piece before the node whose wanted outputs would take it past the limit."""
    cuts, filled, previous = [], 0, None
    for node in model.graph.node:
        size = sum(sizes.get(name, 0) for name in node.output)
        if previous is not None and size and filled and filled + size > limit:
            cuts.append(previous)
            filled = 0
        filled += size
        previous = node_id(node)
    return tuple(cuts)


def _pieces(model: onnx.ModelProto, cuts: frozenset[str]) -> Iterator[tuple[str, int]]:
    piece = 0
    for node in model.graph.node:
        yield from ((name, piece) for name in node.output)
        piece += node_id(node) in cuts
