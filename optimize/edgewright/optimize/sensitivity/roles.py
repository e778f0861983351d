"""Which last weights make which part of an output: boxes or scores, over all levels of a pyramid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.graph.segments import node_id
from edgewright.optimize.sensitivity.structure import WEIGHTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.optimize.sensitivity.structure import GraphView

__all__ = ["output_roles"]

_Role = tuple[int, ...]


def output_roles(view: GraphView) -> dict[str, tuple[str, ...]]:
    """The last weighted nodes before each output, grouped by what they say.

    A Concat whose operands come from different weights of the same resolutions puts different things side by side
    (boxes and scores); one whose operands come from different resolutions puts the levels of a pyramid in a row, and
    its operands' nodes belong together.

    Args:
        view: The float graph.

    Returns:
        Role in words (``boxes``; ``output0 part 1``) to node ids. A node that serves several outputs appears in the
        first.
    """
    known: dict[str, Mapping[_Role, frozenset[str]]] = {}
    taken: set[str] = set()
    roles = {}
    for output in view.outputs:
        found = _roles(view, output, known)
        for number, nodes in enumerate(found.values()):
            fresh = nodes - taken
            taken |= nodes
            if fresh:
                name = output if len(found) == 1 else f"{output} part {number + 1}"
                roles[name] = tuple(node_id(node) for node in view.nodes if node_id(node) in fresh)
    return roles


def _roles(
    view: GraphView, output: str, known: dict[str, Mapping[_Role, frozenset[str]]]
) -> Mapping[_Role, frozenset[str]]:
    """Walks the graph forward, so that deep networks need no recursion."""
    needed = _needed(view, output)
    for node in view.nodes:
        if node_id(node) not in needed or node.output[0] in known:
            continue
        if view.weighted(node):
            found: Mapping[_Role, frozenset[str]] = {(): frozenset({node_id(node)})}
        else:
            parts = [known.get(name, {}) for name in view.data_inputs(node)]
            found = _side_by_side(view, parts) if node.op_type == "Concat" else _together(parts)
        known |= dict.fromkeys(node.output, found)
    return known.get(output, {})


def _needed(view: GraphView, output: str) -> set[str]:
    """Nodes between the last weights (those included) and an output."""
    needed: set[str] = set()
    waiting = [output]
    while waiting:
        node = view.producer.get(waiting.pop())
        if node is None or node_id(node) in needed:
            continue
        needed.add(node_id(node))
        if not view.weighted(node):
            waiting.extend(node.input)
    return needed


def _together(parts: list[Mapping[_Role, frozenset[str]]]) -> Mapping[_Role, frozenset[str]]:
    merged: dict[_Role, frozenset[str]] = {}
    for part in parts:
        for role, nodes in part.items():
            merged[role] = merged.get(role, frozenset()) | nodes
    return merged


def _side_by_side(view: GraphView, parts: list[Mapping[_Role, frozenset[str]]]) -> Mapping[_Role, frozenset[str]]:
    nodes = [frozenset[str]().union(*part.values()) for part in parts]
    apart = sum(map(len, nodes)) == len(frozenset[str]().union(*nodes)) and all(nodes)
    resolutions = {tuple(sorted(view.shape(view.by_id[key].output[0])[2:] for key in group)) for group in nodes}
    convolutional = all(view.by_id[key].op_type in WEIGHTED for group in nodes for key in group)
    if len(parts) < 2 or not apart or len(resolutions) > 1 or not convolutional:
        return _together(parts)
    return {(number, *role): found for number, part in enumerate(parts) for role, found in part.items()}
