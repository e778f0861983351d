"""Nodes that a user names are nodes of the prepared graph."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from edgewright.optimize.errors import SpecError
from edgewright.optimize.graph.segments import node_id

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["check_nodes"]

_SHOWN = 3


def check_nodes(model: bytes, named: Collection[str]) -> None:
    """Refuses names of nodes that are not there.

    Args:
        model: The prepared float graph.
        named: Of nodes that are to stay in float.

    Raises:
        SpecError: A name is unknown; the most similar ones are told.
    """
    import onnx

    known = [node_id(node) for node in onnx.load_model_from_string(model).graph.node] if named else []
    for name in sorted(set(named) - set(known)):
        near = difflib.get_close_matches(name, known, _SHOWN) or known[:_SHOWN]
        msg = (
            f"--leave-float names {name!r}, but the prepared graph has no such node; "
            f"among its {len(known)} nodes are {', '.join(near)}"
        )
        raise SpecError(msg)
