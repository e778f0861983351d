"""Gemm without factors: alpha goes into the weights, beta into the bias, and the bias gets one value a channel.

Integer kernels know neither factor, and quantizers pass over them or get them wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.passes.base import PassResult

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

__all__ = ["PlainGemm"]


class PlainGemm:
    """Rewrites every Gemm with constant weights."""

    name = "plain-gemm"

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        from onnx import numpy_helper

        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        changed = 0
        for node in model.graph.node:
            if node.op_type != "Gemm" or node.input[1] not in constants:
                continue
            weights = numpy_helper.to_array(constants[node.input[1]])
            alpha, beta = _factor(node, "alpha"), _factor(node, "beta")
            touched = False
            if alpha != 1.0:
                touched = True
                node.input[1] = _added(model, f"{node.input[1]}_times_alpha", weights * np.float32(alpha))
            if len(node.input) > 2 and node.input[2] in constants:
                channels = weights.shape[0 if _flag(node, "transB") else 1]
                bias = numpy_helper.to_array(constants[node.input[2]])
                plain = _row(bias, channels)
                if plain is not None and (beta != 1.0 or plain.shape != bias.shape):
                    touched = True
                    node.input[2] = _added(model, f"{node.input[2]}_per_channel", plain * np.float32(beta))
                    beta = 1.0
            if touched:
                changed += 1
                _write_factors(node, beta)
        if not changed:
            return PassResult(model, changed=False)
        _drop_unread(model)
        return PassResult(model, changed=True, notes=(f"factors of {changed} Gemm went into weights and biases",))


def _factor(node: onnx.NodeProto, name: str) -> float:
    return next((float(item.f) for item in node.attribute if item.name == name), 1.0)


def _flag(node: onnx.NodeProto, name: str) -> bool:
    return any(item.name == name and item.i for item in node.attribute)


def _row(bias: NDArray[Any], channels: int) -> NDArray[Any] | None:
    """The bias as (channels,), None where it differs from row to row."""
    if bias.ndim > 1 and bias.shape[0] != 1:
        return None
    return np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (channels,)))


def _added(model: onnx.ModelProto, name: str, values: NDArray[Any]) -> str:
    """Adds a constant under a name that is free."""
    from onnx import numpy_helper

    taken = {tensor.name for tensor in model.graph.initializer}
    while name in taken:
        name += "_"
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name


def _write_factors(node: onnx.NodeProto, beta: float) -> None:
    import onnx

    kept = [item for item in node.attribute if item.name not in {"alpha", "beta"}]
    del node.attribute[:]
    node.attribute.extend(kept)
    if beta != 1.0:
        node.attribute.append(onnx.helper.make_attribute("beta", beta))


def _drop_unread(model: onnx.ModelProto) -> None:
    read = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
