"""Order and shapes: what quantizers and engines expect of a graph and exporters do not always give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.passes.base import PassResult

if TYPE_CHECKING:
    import onnx

__all__ = ["InferShapes", "SortTopologically"]


class SortTopologically:
    """Puts every node behind those whose results it uses, as the ONNX standard demands."""

    name = "sort-topologically"

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        from onnxscript import ir
        from onnxscript.ir.passes.common import TopologicalSortPass

        result = TopologicalSortPass()(ir.from_proto(model))
        if not result.modified:
            return PassResult(model, changed=False)
        return PassResult(ir.to_proto(result.model), changed=True, notes=("nodes put in topological order",))


class InferShapes:
    """Writes the shape of every intermediate value into the graph, where it can be known."""

    name = "infer-shapes"

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        import onnx

        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        if inferred.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True):
            return PassResult(model, changed=False)
        count = len(inferred.graph.value_info)
        return PassResult(inferred, changed=True, notes=(f"shapes of {count} intermediate values are known",))
