"""One convolution that gives boxes and scores becomes two, each with a grid of its own; the function stays the same."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.errors import PassError
from edgewright.optimize.graph.segments import node_id
from edgewright.optimize.passes.base import PassResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

__all__ = ["SplitConvolution"]


class SplitConvolution:
    """Splits a Conv by output channels, and joins the pieces with a Concat of the old output's name."""

    name = "split-convolution"

    def __init__(self, node: str, bounds: tuple[int, ...]) -> None:
        """What to split.

        Args:
            node: A Conv with ``group`` 1 and constant weights (``node_id``).
            bounds: First channel of each piece but the first, rising.
        """
        self._node, self._bounds = node, bounds

    def pieces(self, output: str) -> tuple[str, ...]:
        """Names of the pieces' outputs for a convolution that makes ``output``."""
        return tuple(f"{output}/part{number}" for number in range(len(self._bounds) + 1))

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``.

        Raises:
            PassError: There is no such convolution, or it cannot be split there.
        """
        import onnx

        graph = model.graph
        place = next((k for k, node in enumerate(graph.node) if node_id(node) == self._node), None)
        constants = {tensor.name: tensor for tensor in graph.initializer}
        if place is None or not _splittable(graph.node[place], constants):
            msg = f"node {self._node!r} is no convolution with constant weights and one group, so it cannot be split"
            raise PassError(msg)
        old = onnx.NodeProto()
        old.CopyFrom(graph.node[place])
        limits = (0, *self._bounds, constants[old.input[1]].dims[0])
        if any(low >= high for low, high in itertools.pairwise(limits)):
            msg = f"{self._node!r} has {limits[-1]} output channels, it cannot be split at {self._bounds}"
            raise PassError(msg)
        pieces = list(self._pieces(old, constants, limits, graph))
        join = onnx.helper.make_node(
            "Concat", [piece.output[0] for piece in pieces], [old.output[0]], name=f"{self._node}/join", axis=1
        )
        nodes = [*graph.node[:place], *pieces, join, *graph.node[place + 1 :]]
        del graph.node[:]
        graph.node.extend(nodes)
        read = {name for node in graph.node for name in node.input}
        for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
            graph.initializer.remove(tensor)
        note = f"{self._node} split at channels {', '.join(map(str, self._bounds))}"
        return PassResult(model, changed=True, notes=(note,))

    def _pieces(
        self,
        old: onnx.NodeProto,
        constants: dict[str, onnx.TensorProto],
        limits: tuple[int, ...],
        graph: onnx.GraphProto,
    ) -> Iterator[onnx.NodeProto]:
        import onnx
        from onnx import numpy_helper

        shapes = {value.name: value for value in (*graph.value_info, *graph.output)}
        for number, (low, high) in enumerate(itertools.pairwise(limits)):
            piece = onnx.NodeProto()
            piece.CopyFrom(old)
            piece.name = f"{self._node}/part{number}"
            piece.output[0] = f"{old.output[0]}/part{number}"
            for slot in range(1, len(old.input)):
                values = numpy_helper.to_array(constants[old.input[slot]])[low:high]
                name = f"{old.input[slot]}/part{number}"
                graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
                piece.input[slot] = name
            if old.output[0] in shapes:
                value = onnx.ValueInfoProto()
                value.CopyFrom(shapes[old.output[0]])
                value.name = piece.output[0]
                value.type.tensor_type.shape.dim[1].dim_value = high - low
                graph.value_info.append(value)
            yield piece


def _splittable(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    groups = next((item.i for item in node.attribute if item.name == "group"), 1)
    return node.op_type == "Conv" and groups == 1 and all(name in constants for name in node.input[1:] if name)
