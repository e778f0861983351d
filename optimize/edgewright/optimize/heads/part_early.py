"""What a Split or Slice takes apart again is not joined in the first place: the cut moves before the Concat.

Detectors join boxes and scores level by level, join the levels, and split the result into boxes and scores. Carried
back through Concat, Transpose and Reshape, each piece is made of whole operands, and no grid is shared any more. Only
data movement is rewritten, so the function stays the same bit for bit.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.heads.channels import axis_of, moved_axis, sliced_part
from edgewright.optimize.passes.base import PassResult
from edgewright.optimize.passes.order import SortTopologically
from edgewright.optimize.sensitivity.structure import GraphView

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import onnx

    from edgewright.optimize.types import Ranges

__all__ = ["PartEarly"]


@dataclass(frozen=True)
class _Piece:
    """Places ``start`` to ``stop`` along ``axis`` of ``tensor``, known as ``name``."""

    name: str
    tensor: str
    axis: int
    start: int
    stop: int


@dataclass
class _Plan:
    """Nodes and constants that make the pieces, and what each new tensor is a part of."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    made_of: dict[str, tuple[str, ...]] = field(default_factory=dict)


class PartEarly:
    """Moves Split and Slice before the Concat whose operands they take out again."""

    name = "part-early"

    def __init__(self) -> None:
        """Nothing is moved yet."""
        self._made_of: dict[str, tuple[str, ...]] = {}
        self.moved = 0

    def ranges(self, known: Ranges) -> dict[str, tuple[float, float]]:
        """Ranges of the tensors that ``run`` added: those of what was moved into them.

        Args:
            known: Of the tensors of the graph before.
        """
        found = dict(known)
        for name, parts in self._made_of.items():
            limits = [found[part] for part in parts if part in found]
            if limits and name not in found:
                found[name] = (min(low for low, _ in limits), max(high for _, high in limits))
        return found

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        view = GraphView(model)
        plan = _Plan()
        replaced: list[onnx.NodeProto] = []
        for node in view.nodes:
            if (pieces := _pieces(view, node)) and (trial := _carried(view, pieces, len(plan.made_of))) is not None:
                replaced.append(node)
                plan.nodes += trial.nodes
                plan.constants += trial.constants
                plan.made_of |= trial.made_of
        if not replaced:
            return PassResult(model, changed=False)
        for node in replaced:
            model.graph.node.remove(node)
        model.graph.node.extend(plan.nodes)
        model.graph.initializer.extend(plan.constants)
        _sweep(model)
        self._made_of, self.moved = plan.made_of, len(replaced)
        note = f"{len(replaced)} Split or Slice moved before the Concat of what they part"
        return PassResult(SortTopologically().run(model).model, changed=True, notes=(note,))


def _pieces(view: GraphView, node: onnx.NodeProto) -> list[_Piece]:
    """What a Split or a Slice along one axis gives."""
    rank = len(view.shape(node.input[0])) if node.input else 0
    if node.op_type == "Slice" and rank:
        part = sliced_part(view, node)
        return [] if part is None else [_Piece(node.output[0], node.input[0], *part)]
    if node.op_type != "Split" or not rank:
        return []
    axis = axis_of(node, rank)
    shapes = [view.shape(name) for name in node.output]
    if any(len(shape) != rank for shape in shapes):
        return []
    ends = [0, *itertools.accumulate(shape[axis] for shape in shapes)]
    return [
        _Piece(name, node.input[0], axis, start, stop)
        for name, (start, stop) in zip(node.output, itertools.pairwise(ends), strict=True)
    ]


def _carried(view: GraphView, pieces: Sequence[_Piece], number: int) -> _Plan | None:
    """The nodes that make all pieces without the cut; None where one of them cannot be carried back."""
    plan = _Plan()
    for piece in pieces:
        prefix = f"{piece.name}/early{number}"
        source = _carry(view, piece, plan, prefix)
        if source is None or not plan.nodes or source not in plan.made_of:
            return None
        plan.nodes[-1].output[0] = piece.name  # the outermost node makes the piece itself
        plan.made_of.pop(source)
    return plan


def _carry(view: GraphView, piece: _Piece, plan: _Plan, prefix: str) -> str | None:
    """Name of a tensor that holds the piece, its nodes added to the plan."""
    import onnx

    shape = view.shape(piece.tensor)
    node = view.producer.get(piece.tensor)
    if shape and piece.start == 0 and piece.stop == shape[piece.axis]:
        return piece.tensor
    if node is None or node.op_type not in {"Concat", "Transpose", "Reshape"}:
        return None
    inner = list(_behind(view, node, piece))
    sources = [_carry(view, part, plan, f"{prefix}.{number}") for number, part in enumerate(inner)]
    if not sources or any(source is None for source in sources):
        return None
    names = [source for source in sources if source is not None]
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = copy.output[0] = prefix
    if node.op_type == "Reshape":
        target = [size if place != piece.axis else piece.stop - piece.start for place, size in enumerate(shape)]
        plan.constants.append(onnx.numpy_helper.from_array(np.array(target, np.int64), f"{prefix}/shape"))
        names.append(f"{prefix}/shape")
    del copy.input[:]
    copy.input.extend(names)
    plan.nodes.append(copy)
    plan.made_of[prefix] = tuple(names)
    return prefix


def _behind(view: GraphView, node: onnx.NodeProto, piece: _Piece) -> Iterator[_Piece]:
    """The parts of a node's inputs that a piece of its output is made of; none where it is not made of whole parts."""
    if node.op_type != "Concat":
        shape = view.shape(node.input[0])
        axis = next((axis for axis in range(len(shape)) if moved_axis(view, node, axis) == piece.axis), None)
        if axis is not None:
            yield _Piece("", node.input[0], axis, piece.start, piece.stop)
    elif axis_of(node, len(view.shape(node.output[0]))) != piece.axis:
        for name in node.input:
            yield _Piece("", name, piece.axis, piece.start, piece.stop)
    else:
        start = 0
        for name in node.input:
            stop = start + view.shape(name)[piece.axis]
            low, high = max(piece.start, start), min(piece.stop, stop)
            if low < high:
                yield _Piece("", name, piece.axis, low - start, high - start)
            start = stop


def _sweep(model: onnx.ModelProto) -> None:
    """Drops nodes and constants that nothing reads any more."""
    outputs = {value.name for value in model.graph.output}
    while True:
        read = {name for node in model.graph.node for name in node.input} | outputs
        dead = [node for node in model.graph.node if not any(name in read for name in node.output)]
        if not dead:
            break
        for node in dead:
            model.graph.node.remove(node)
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in read]:
        model.graph.initializer.remove(tensor)
