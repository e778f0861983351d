"""Constants that several layers read are copied, so that each layer's can be rounded and corrected on its own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from edgewright.optimize.graph.operators import WEIGHTED
from edgewright.optimize.passes.base import PassResult

if TYPE_CHECKING:
    import onnx

__all__ = ["UnshareConstants"]


class UnshareConstants:
    """Gives each layer a bias and, where that is cheap, weights of its own.

    Biases are always copied: their grid is that of input times weights, and a correction of one layer's bias must not
    move another's. Shared weights are copied as long as all copies together add at most ``growth`` to the constants of
    the model; a head that runs on five maps with the same weights stays as small as it was, and shares its grid.
    """

    name = "unshare-constants"

    def __init__(self, growth: float = 0.01) -> None:
        """Remembers how much copies of weights may add, as a share of all constants."""
        self._growth = growth

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        allowed = self._growth * sum(tensor.ByteSize() for tensor in constants.values())
        readers = Counter(name for node in model.graph.node for name in node.input if name in constants)
        copies = Counter[str]()
        for node in model.graph.node:
            if node.op_type not in WEIGHTED:
                continue
            for position in range(1, len(node.input)):
                name = node.input[position]
                if readers[name] < 2:
                    continue
                size = constants[name].ByteSize()
                if position == 1:
                    if size > allowed:
                        continue
                    allowed -= size
                copies[name] += 1
                readers[name] -= 1
                copy = model.graph.initializer.add()
                copy.CopyFrom(constants[name])
                copy.name = f"{name}/edgewright.copy{copies[name]}"
                node.input[position] = copy.name
        if not copies:
            return PassResult(model, changed=False)
        note = f"{copies.total()} copies of {len(copies)} constants that several layers shared"
        return PassResult(model, changed=True, notes=(note,))
