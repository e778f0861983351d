"""Folding: work that does not depend on the picture is done once, here, and not on every frame.

The passes are thin: the rules are onnxscript's, which the runner checks numerically like any other. They
are kept apart, though onnxscript's ``optimize`` would do them all, so that a report says what was done and an error
says by what.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from edgewright.optimize.passes.base import PassResult

if TYPE_CHECKING:
    import onnx

__all__ = ["FoldBatchNorm", "FoldConstants", "FoldPads", "Simplify"]


class FoldConstants:
    """Evaluates what depends on constants only; constants become initializers, identities and dead nodes go."""

    name = "fold-constants"

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        from onnxscript import ir, optimizer
        from onnxscript.ir.passes import common

        graph = ir.from_proto(model)
        common.InlinePass()(graph)
        optimizer.fold_constants_ir(graph, onnx_shape_inference=True)
        tidy = ir.passes.Sequential(
            common.RemoveUnusedNodesPass(),
            common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        )
        tidy(graph)
        return _finish(model, ir.to_proto(graph))


class FoldBatchNorm:
    """Multiplies a batch normalisation into the convolution, transposed convolution or Gemm before it."""

    name = "fold-batch-norm"

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        from onnxscript import rewriter
        from onnxscript.rewriter.rules import common

        rules = [
            common.fuse_batchnorm_into_conv_rule,
            common.fuse_batchnorm_into_conv_transpose_rule,
            common.fuse_batchnorm_into_gemm_rule,
        ]
        return _finish(model, rewriter.rewrite(model, pattern_rewrite_rules=rules))


class FoldPads:
    """Moves zero padding into the ``pads`` of the convolution behind it.

    A ``Pad`` of its own stays in float between two quantized operators, and costs the float model time too.
    """

    name = "fold-pads"

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        from onnxscript import rewriter
        from onnxscript.rewriter.rules import common

        rules = [common.normalize_pad_format_conv_rule, common.fuse_pad_into_conv_rule]
        return _finish(model, rewriter.rewrite(model, pattern_rewrite_rules=rules))


class Simplify:
    """Whatever else onnxscript knows to say shorter: no-ops, doubled expressions, Min and Max that are a Clip."""

    name = "simplify"

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        from onnxscript import optimizer

        return _finish(model, optimizer.optimize(model))


def _operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def _finish(before: onnx.ModelProto, after: onnx.ModelProto) -> PassResult:
    """Judges by the operators: taken through the rewriter, a graph comes back with other bytes even if nothing matched."""
    old, new = _operators(before), _operators(after)
    if old == new:
        return PassResult(before, changed=False)
    gone, added = old - new, new - old
    parts = [f"{sum(gone.values())} operators fewer ({_listed(gone)})"] if gone else []
    if added:
        parts.append(f"{sum(added.values())} added ({_listed(added)})")
    return PassResult(after, changed=True, notes=("; ".join(parts),))


def _listed(operators: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(operators.items()))
