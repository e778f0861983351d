"""Parts of a network that are worth keeping in float together, found by structure.

Kinds, disjoint within a kind but not between them: every layer alone; the last weights of each branch that ends in an
output (all levels of a pyramid together: one region for the class predictors, one for the box predictors); stages of
residual blocks that share one stream; the stem. A region's ``nodes`` hold the activations and data movement that
follow its weights and nothing else, so that no integer grid stands inside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from edgewright.optimize.graph.segments import node_id
from edgewright.optimize.sensitivity.roles import output_roles
from edgewright.optimize.sensitivity.structure import MOVEMENT, WEIGHTED, GraphView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import onnx

__all__ = ["Region", "RegionKind", "find_regions", "multiplications"]

_ACTIVATIONS = frozenset(
    {
        "Clip",
        "Elu",
        "Erf",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "PRelu",
        "Relu",
        "Sigmoid",
        "Softmax",
        "Tanh",
    }
)
_FOLLOWERS = _ACTIVATIONS | MOVEMENT
_LARGEST_BLOCK = 8  # weighted nodes in one residual block; what rejoins later than that is no block
_FLOAT_BYTES = 4
_GRID_BYTES = 5  # scale and zero point of an output channel's weights


class RegionKind(str, Enum):
    """What a region is."""

    LAYER = "layer"
    HEAD = "head"
    STAGE = "stage"
    STEM = "stem"


@dataclass(frozen=True)
class Region:
    """Nodes to keep in float together.

    Attributes:
        name: For people; unique in a graph.
        nodes: Ids (``node_id``) in the graph's order.
        kind: What it is.
        weight_bytes: Bytes that its weights take more in float than in INT8 (estimated from their shapes).
        macs: Multiplications for one picture.
        border: Numbers that become integers or floats where the region meets the integer network.
    """

    name: str
    nodes: tuple[str, ...]
    kind: RegionKind
    weight_bytes: int
    macs: int
    border: int = 0

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "nodes": list(self.nodes),
            "weight_bytes": self.weight_bytes,
            "macs": self.macs,
            "border": self.border,
        }


def find_regions(model: bytes) -> tuple[Region, ...]:
    """All regions of a graph, small ones next to the outputs first.

    Args:
        model: The prepared float graph.

    Returns:
        Heads by size, then everything else by size; of equal sets of nodes only the first is there.
    """
    import onnx

    view = GraphView(onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model), data_prop=True))
    found = [*_heads(view), *_layers(view), *_stages(view), *_stem(view)]
    found.sort(key=lambda region: (region.kind is not RegionKind.HEAD, region.weight_bytes))
    unique = {region.nodes: region for region in reversed(found)}
    return tuple(region for region in found if unique[region.nodes] is region)


def _region(view: GraphView, name: str, nodes: Iterable[str], kind: RegionKind) -> Region:
    grown = view.grown(nodes, _FOLLOWERS)
    weighted = [view.by_id[key] for key in grown if view.weighted(view.by_id[key])]
    return Region(
        name,
        tuple(grown),
        kind,
        sum(_extra_bytes(view, node) for node in weighted),
        sum(multiplications(view, view.by_id[key]) for key in grown),
        sum(view.size(name) for name in _border(view, grown)),
    )


def _border(view: GraphView, nodes: Sequence[str]) -> set[str]:
    """Tensors that come in from integer nodes, or go out to some."""
    inside = [view.by_id[key] for key in nodes]
    made = {name for node in inside for name in node.output}
    read = {name for node in inside for name in view.data_inputs(node)} - made - set(view.inputs)
    leaving = {name for name in made if any(node_id(reader) not in nodes for reader in view.readers.get(name, []))}
    return read | leaving


def _extra_bytes(view: GraphView, node: onnx.NodeProto) -> int:
    weights = view.constants[node.input[1]]
    channels = max(view.shape(node.output[0])[1:2] or (1,)) if node.op_type == "Conv" else weights.dims[-1]
    return int((_FLOAT_BYTES - 1) * math.prod(weights.dims) - _GRID_BYTES * channels)


def multiplications(view: GraphView, node: onnx.NodeProto) -> int:
    """How many products a node forms for one picture; 0 without weights."""
    if node.op_type not in WEIGHTED:
        return 0
    made = view.size(node.output[0])
    if node.op_type == "Conv":
        return int(made * math.prod(view.shape(node.input[1])[1:]))
    if node.op_type == "ConvTranspose":
        return int(view.size(node.input[0]) * math.prod(view.shape(node.input[1])[1:]))
    return int(made * (view.shape(node.input[0]) or (1,))[-1])


def _layers(view: GraphView) -> Iterator[Region]:
    for node in view.weighted_nodes:
        yield _region(view, node_id(node), [node_id(node)], RegionKind.LAYER)


def _heads(view: GraphView) -> Iterator[Region]:
    for name, nodes in output_roles(view).items():
        yield _region(view, f"last weights of {name}", nodes, RegionKind.HEAD)


def _stem(view: GraphView) -> Iterator[Region]:
    """From the first weights on, as long as the chain neither forks nor shrinks."""
    for name in view.inputs:
        chain: list[str] = []
        size: tuple[int, ...] = ()
        readers = view.readers.get(name, [])
        while len(readers) == 1 and not (size and view.shape(readers[0].output[0])[2:] != size):
            node = readers[0]
            if view.weighted(node):
                size = view.shape(node.output[0])[2:]
            chain.append(node_id(node))
            readers = view.readers.get(node.output[0], [])
        if sum(view.weighted(view.by_id[key]) for key in chain) > 1 and readers:
            yield _region(view, f"stem of {name}", chain, RegionKind.STEM)


def _stages(view: GraphView) -> Iterator[Region]:
    """Residual blocks, joined where one block's sum is the next one's skip."""
    before = _ancestors(view)
    stages: list[tuple[set[str], set[str]]] = []  # sums of the stage, nodes of the stage
    for node in view.nodes:
        operands = view.data_inputs(node)
        if node.op_type != "Add" or len(operands) != 2:
            continue
        first, second = (before[name] for name in operands)
        block = first ^ second
        if sum(view.weighted(view.by_id[key]) for key in block) > _LARGEST_BLOCK or not block:
            continue
        skips = {key for name in operands if (key := _stream(view, name)) is not None}
        stage = next((stage for stage in stages if stage[0] & skips), None)
        if stage is None:
            stages.append(({node_id(node)}, {*block, node_id(node)}))
        else:
            stage[0].add(node_id(node))
            stage[1].update({*block, node_id(node)})
    for number, (_, nodes) in enumerate(stages):
        if any(view.weighted(view.by_id[key]) for key in nodes):
            yield _region(view, f"residual stage {number + 1}", nodes, RegionKind.STAGE)


def _stream(view: GraphView, tensor: str) -> str | None:
    """The sum that ``tensor`` is, activations aside."""
    node = view.producer.get(tensor)
    while node is not None and node.op_type in _ACTIVATIONS:
        node = view.producer.get(node.input[0])
    return node_id(node) if node is not None and node.op_type == "Add" else None


def _ancestors(view: GraphView) -> dict[str, frozenset[str]]:
    """For every tensor the nodes it depends on."""
    before: dict[str, frozenset[str]] = dict.fromkeys((*view.inputs, *view.constants), frozenset())
    for node in view.nodes:
        needed: Sequence[frozenset[str]] = [before.get(name, frozenset()) for name in node.input if name]
        everything = frozenset({node_id(node)}).union(*needed)
        before |= dict.fromkeys(node.output, everything)
    return before
