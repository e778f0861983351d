"""A float graph seen by who makes a tensor and who reads it."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

from edgewright.optimize.graph.operators import WEIGHTED
from edgewright.optimize.graph.segments import node_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx

__all__ = ["MOVEMENT", "WEIGHTED", "GraphView"]

MOVEMENT = frozenset(
    {
        "Concat",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators that hand values on without computing new ones."""


class GraphView:
    """Lookups in a prepared float graph: topologically sorted, constants as initializers, shapes known."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Indexes the graph; the model must not be changed while the view is used."""
        graph = model.graph
        self.nodes: tuple[onnx.NodeProto, ...] = tuple(graph.node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = tuple(value.name for value in graph.input if value.name not in self.constants)
        self.outputs = tuple(value.name for value in graph.output)
        self.by_id = {node_id(node): node for node in self.nodes}
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                if name:
                    self.readers.setdefault(name, []).append(node)
        self._shapes = {
            value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
            for value in (*graph.input, *graph.value_info, *graph.output)
        }

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Its shape, empty where nobody knows it."""
        if tensor in self.constants:
            return tuple(self.constants[tensor].dims)
        return self._shapes.get(tensor, ())

    def size(self, tensor: str) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape(tensor))

    def data_inputs(self, node: onnx.NodeProto) -> list[str]:
        """Inputs that depend on the picture."""
        return [name for name in node.input if name and name not in self.constants]

    def weighted(self, node: onnx.NodeProto) -> bool:
        """Whether it multiplies by constant weights."""
        return node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in self.constants

    @property
    def weighted_nodes(self) -> tuple[onnx.NodeProto, ...]:
        """All of them, in order."""
        return tuple(node for node in self.nodes if self.weighted(node))

    @cached_property
    def tail(self) -> frozenset[str]:
        """Ids of nodes behind the last weights on every way to an output: nothing with weights reads their results."""
        heavy: set[str] = set()
        found = set()
        for node in reversed(self.nodes):
            leads = any(name in heavy for name in node.output)
            product = node.op_type in WEIGHTED and not self.weighted(node)  # attention: no weights, yet real work
            if self.weighted(node) or product or leads:
                heavy.update(node.input)
            if not (self.weighted(node) or product or leads):
                found.add(node_id(node))
        return frozenset(found)

    def grown(self, nodes: Iterable[str], kinds: frozenset[str]) -> list[str]:
        """``nodes`` and what follows them and depends on nothing else, as far as operators are of ``kinds``; in order."""
        chosen = set(nodes)
        made = {name for key in chosen for name in self.by_id[key].output}
        for node in self.nodes:
            inputs = self.data_inputs(node)
            if node.op_type in kinds and inputs and all(name in made for name in inputs):
                chosen.add(node_id(node))
                made.update(node.output)
        return [node_id(node) for node in self.nodes if node_id(node) in chosen]
