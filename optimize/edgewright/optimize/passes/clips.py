"""Clips that quantization would lose are written so that it keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.passes.base import PassResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

__all__ = ["GuardClips"]


class GuardClips:
    """Writes a ``Clip`` to a range without zero as ``Max`` and ``Min``.

    A quantizer drops the ``Clip`` behind a convolution, because the range of the integers clips as well. That range
    always holds zero, though, so a lower bound above zero, or an upper one below it, would be gone without a word.

    Runs behind ``Simplify``, which would make a ``Clip`` of it again.
    """

    name = "guard-clips"

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        import onnx

        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        nodes, guarded = [], 0
        for node in model.graph.node:
            bounds = list(node.input[1:]) + [""] * (3 - len(node.input))
            if node.op_type != "Clip" or not _without_zero(bounds, constants):
                nodes.append(node)
                continue
            guarded += 1
            steps = [(kind, bound) for kind, bound in zip(("Max", "Min"), bounds, strict=True) if bound]
            value = node.input[0]
            for kind, bound in steps:
                last = kind == steps[-1][0]
                result = node.output[0] if last else f"{node.output[0]}/edgewright.{kind}"
                name = f"{node.name or node.output[0]}/{kind}"
                nodes.append(onnx.helper.make_node(kind, [value, bound], [result], name=name))
                value = result
        if not guarded:
            return PassResult(model, changed=False)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        return PassResult(model, changed=True, notes=(f"{guarded} Clip to ranges without zero became Max and Min",))


def _without_zero(bounds: list[str], constants: Mapping[str, onnx.TensorProto]) -> bool:
    import onnx

    low, high = (onnx.numpy_helper.to_array(constants[name]).ravel() if name in constants else None for name in bounds)
    return (low is not None and float(low[0]) > 0) or (high is not None and float(high[0]) < 0)
