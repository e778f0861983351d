"""Zero biases for layers that have none, so that bias correction has something to correct.

Rounded weights move the mean of a layer's channels, whether it has a bias or not. A bias of zeros changes nothing that
is computed, and costs eight bytes a channel in the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx

__all__ = ["add_zero_biases"]


def add_zero_biases(model: onnx.ModelProto, left: Collection[str] = ()) -> int:
    """Gives every Conv and Gemm with constant float weights and no bias one of zeros.

    Args:
        model: A float graph; changed in place.
        left: Names of nodes to leave alone.

    Returns:
        How many were added.
    """
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)} | set(weights)
    added = 0
    for node in model.graph.node:
        if node.op_type not in {"Conv", "Gemm"} or node.name in left:
            continue
        weight = weights.get(node.input[1])
        if weight is None or (len(node.input) > 2 and node.input[2]) or weight.data_type != weight.FLOAT:
            continue
        transposed = any(item.name == "transB" and item.i for item in node.attribute)
        channels = weight.dims[0] if node.op_type == "Conv" or transposed else weight.dims[1]
        name = _free(f"{node.output[0]}_zero_bias", taken)
        taken.add(name)
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(channels, np.float32), name))
        del node.input[2:]
        node.input.append(name)
        added += 1
    return added


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
