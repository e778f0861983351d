"""Operators that work value by value, and reductions, as ONNX defines them, on PyTorch tensors."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - this module is PyTorch functions, imported only where something is trained
from torch.nn import functional  # noqa: TID253

from edgewright.optimize.qat.node import NodeView, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgewright.optimize.qat.node import Builder

__all__ = ["POINTWISE"]

_RENAMED_AXES = 13
"""Operator set from which Softmax works on one axis instead of all behind it."""


def _plain(call: Callable[..., Any]) -> Builder:
    """An operator without attributes, on all its inputs."""

    def build(node: NodeView) -> Operation:
        return Operation(call, tuple(k for k, there in enumerate(node.present) if there))

    return build


def _first(call: Callable[..., Any]) -> Builder:
    """An operator on its first input, whose other inputs and outputs do nothing when it infers."""
    return lambda _node: Operation(call)


def _clip(node: NodeView) -> Operation:
    low, high = node.attributes.get("min"), node.attributes.get("max")
    if node.given(1):
        low = float(node.constant(1, "lower bound").reshape(-1)[0])
    if node.given(2):
        high = float(node.constant(2, "upper bound").reshape(-1)[0])
    return Operation(lambda x: torch.clamp(x, low, high) if (low, high) != (None, None) else x)


def _leaky(node: NodeView) -> Operation:
    slope = node.real("alpha", 0.01)
    return Operation(lambda x: functional.leaky_relu(x, slope))


def _elu(node: NodeView) -> Operation:
    alpha = node.real("alpha", 1.0)
    return Operation(lambda x: functional.elu(x, alpha))


def _hard_sigmoid(node: NodeView) -> Operation:
    alpha, beta = node.real("alpha", 0.2), node.real("beta", 0.5)
    return Operation(lambda x: torch.clamp(alpha * x + beta, 0.0, 1.0))


def _gelu(node: NodeView) -> Operation:
    approximate = node.text("approximate", "none")
    return Operation(lambda x: functional.gelu(x, approximate=approximate))


def _softmax(call: Callable[..., torch.Tensor]) -> Builder:
    def build(node: NodeView) -> Operation:
        axis = node.integer("axis", -1 if node.opset >= _RENAMED_AXES else 1)
        if node.opset >= _RENAMED_AXES:
            return Operation(lambda x: call(x, axis))
        return Operation(lambda x: call(x.flatten(axis % x.ndim), -1).reshape(x.shape))

    return build


def _reduction(call: Callable[[torch.Tensor, tuple[int, ...], bool], torch.Tensor]) -> Builder:
    def build(node: NodeView) -> Operation:
        axes, keep = node.axes(), bool(node.integer("keepdims", 1))
        if axes is None and node.integer("noop_with_empty_axes", 0):
            return Operation(lambda x: x)
        return Operation(lambda x: call(x, axes or tuple(range(x.ndim)), keep))

    return build


def _batch_norm(node: NodeView) -> Operation:
    if node.integer("training_mode", 0):
        raise node.refusal("it is in training mode")
    epsilon = node.real("epsilon", 1e-5)

    def call(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, *statistics: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(x, statistics[0], statistics[1], scale, bias, training=False, eps=epsilon)

    return Operation(call, (0, 1, 2, 3, 4))


def _layer_norm(node: NodeView) -> Operation:
    axis, epsilon = node.integer("axis", -1), node.real("epsilon", 1e-5)

    def call(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        shape = x.shape[axis % x.ndim :]
        return functional.layer_norm(
            x, shape, scale.expand(shape), None if bias is None else bias.expand(shape), epsilon
        )

    return Operation(call, (0, 1, 2) if node.given(2) else (0, 1))


def _same(x: torch.Tensor) -> torch.Tensor:
    return x


def _identity(_node: NodeView) -> Operation:
    return Operation(_same, moves=True)


def _minimum(*values: torch.Tensor) -> torch.Tensor:
    return reduce(torch.minimum, values)


def _maximum(*values: torch.Tensor) -> torch.Tensor:
    return reduce(torch.maximum, values)


def _sum(*values: torch.Tensor) -> torch.Tensor:
    return reduce(torch.add, values)


def _prelu(x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, x * slope, x)


def _l2(x: torch.Tensor, axes: tuple[int, ...], keep: bool) -> torch.Tensor:
    return x.square().sum(axes, keep).sqrt()


POINTWISE: Mapping[str, Builder] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Div": _plain(torch.div),
    "Dropout": _identity,
    "Elu": _elu,
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _first(functional.hardswish),
    "Identity": _identity,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _leaky,
    "Log": _plain(torch.log),
    "LogSoftmax": _softmax(torch.log_softmax),
    "Max": _plain(_maximum),
    "Min": _plain(_minimum),
    "Mish": _first(functional.mish),
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "PRelu": _plain(_prelu),
    "Pow": _plain(torch.pow),
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceL2": _reduction(_l2),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceSum": _reduction(torch.sum),
    "Relu": _first(functional.relu),
    "Sigmoid": _plain(torch.sigmoid),
    "Softmax": _softmax(torch.softmax),
    "Softplus": _first(functional.softplus),
    "Sqrt": _plain(torch.sqrt),
    "Sub": _plain(torch.sub),
    "Sum": _plain(_sum),
    "Tanh": _plain(torch.tanh),
}
"""Builders by operator."""
