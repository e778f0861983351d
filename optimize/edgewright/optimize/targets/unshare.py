"""Every reader of a quantized value gets a DequantizeLinear of its own, right in front of it.

The engine does so by itself before it fuses. A graph that is to be cut into pieces needs it beforehand: else a float
value crosses the cut, and what reads it behind the cut is no longer computed in integers.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = ["unshare_dequantizers"]


def unshare_dequantizers(model: onnx.ModelProto) -> None:
    """Changes ``model``; values and names of all other nodes stay, and of a DequantizeLinear with one reader too.

    Args:
        model: A topologically sorted QDQ graph.
    """
    import onnx

    outputs = {output.name for output in model.graph.output}
    shared = {
        node.output[0]: node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.output[0] not in outputs
    }
    readers = Counter(name for node in model.graph.node for name in node.input if name in shared)
    nodes: list[onnx.NodeProto] = []
    served: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.output[0] in shared:
            continue
        own = onnx.NodeProto()
        own.CopyFrom(node)
        for index, name in enumerate(node.input):
            if name not in shared:
                continue
            copy = onnx.NodeProto()
            copy.CopyFrom(shared[name])
            if readers[name] > 1:
                served[name] += 1
                copy.name = f"{copy.name or name}/for.{served[name]}"
                copy.output[0] = f"{name}/for.{served[name]}"
                own.input[index] = copy.output[0]
            nodes.append(copy)
        nodes.append(own)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
