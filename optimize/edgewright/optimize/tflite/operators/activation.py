"""Operators that map every number by itself, Softmax among them for its likeness of grids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.tflite.flatbuffer import Options
from edgewright.optimize.tflite.fusing import clip_bounds
from edgewright.optimize.tflite.operators.elementwise import aligned_constant
from edgewright.optimize.tflite.scope import Made
from edgewright.optimize.tflite.source import Node, refuse
from edgewright.optimize.tflite.values import Grid

if TYPE_CHECKING:
    from edgewright.optimize.tflite.fusing import Target
    from edgewright.optimize.tflite.scope import Scope
    from edgewright.optimize.tflite.values import Value

__all__ = ["clip", "hard_sigmoid", "leaky_relu", "prelu", "saturating", "softmax", "unary"]

_FULL = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
# The kernels have these grids built in.
_SATURATING = {
    "Sigmoid": ("LOGISTIC", Grid(1 / 256, -128)),
    "Tanh": ("TANH", Grid(1 / 128, 0)),
}
_SOFTMAX = Grid(1 / 256, -128)
_UNARY: dict[str, tuple[str, str | None]] = {
    "Abs": ("ABS", "AbsOptions"),
    "Ceil": ("CEIL", None),
    "Cos": ("COS", "CosOptions"),
    "Elu": ("ELU", None),
    "Exp": ("EXP", "ExpOptions"),
    "Floor": ("FLOOR", None),
    "Gelu": ("GELU", "GeluOptions"),
    "HardSwish": ("HARD_SWISH", "HardSwishOptions"),
    "Log": ("LOG", None),
    "Neg": ("NEG", "NegOptions"),
    "Round": ("ROUND", None),
    "Sin": ("SIN", None),
    "Sqrt": ("SQRT", None),
}
_SOFTMAX_PER_AXIS = 13  # opset since which Softmax looks at one axis only


def unary(scope: Scope, node: Node) -> None:
    """Writes a function of one number; in codes only where every LiteRT has a kernel for that.

    Raises:
        ConversionError: A variant of it that TFLite lacks.
    """
    if node.kind == "Elu" and float(node.attributes.get("alpha", 1.0)) != 1.0:
        raise refuse(node, "alpha must be 1")
    code, options = _UNARY[node.kind]
    fields = {"approximate": node.attributes.get("approximate", "none") == "tanh"} if node.kind == "Gelu" else {}
    value, target = scope.value(node), scope.target(node)
    grid = target.grid if value.grid is not None and node.kind == "HardSwish" else None
    if grid is None:
        value = scope.as_float(value)
    made = Made(target.name, value.shape, value.axes, grid)
    scope.finish(node, target, scope.emit(code, [value.tensor], made, Options(options, fields) if options else None))


def saturating(scope: Scope, node: Node) -> None:
    """Writes a Sigmoid or Tanh; codes come out on the kernel's own grid, a following quantizer turns them."""
    code, own = _SATURATING[node.kind]
    value, target = scope.value(node), scope.target(node)
    integer = value.grid is not None and _wants_codes(scope, target)
    if not integer:
        value = scope.as_float(value)
    made = Made(target.name, value.shape, value.axes, own if integer else None)
    scope.finish(node, target, scope.emit(code, [value.tensor], made, None, 2 if integer else 1))


def softmax(scope: Scope, node: Node) -> None:
    """Writes a Softmax over one axis, which must come last in the file.

    Raises:
        ConversionError: An old one over several axes.
    """
    value, target = scope.value(node), scope.target(node)
    rank = len(value.shape)
    new = scope.graph.opset >= _SOFTMAX_PER_AXIS
    axis = int(node.attributes.get("axis", -1 if new else 1)) % rank
    if not new and any(size != 1 for size in value.shape[axis + 1 :]):
        raise refuse(node, "before opset 13 it runs over several axes at once")
    if value.axes[-1] != axis:
        value = scope.as_axes(value, (*(place for place in value.axes if place != axis), axis))
    integer = value.grid is not None and _wants_codes(scope, target)
    if not integer:
        value = scope.as_float(value)
    made = Made(target.name, value.shape, value.axes, _SOFTMAX if integer else None)
    options = Options("SoftmaxOptions", {"beta": 1.0})
    scope.finish(node, target, scope.emit("SOFTMAX", [value.tensor], made, options, 2 if integer else 1))


def _wants_codes(scope: Scope, target: Target) -> bool:
    """Whether a kernel with a grid of its own may give codes: to a quantizer, or to whoever reads the output."""
    return target.grid is not None or (scope.integer_outputs and target.name in scope.graph.outputs)


def leaky_relu(scope: Scope, node: Node) -> None:
    """Writes a LeakyRelu."""
    value, target = scope.value(node), scope.target(node)
    grid = target.grid if value.grid is not None else None
    if grid is None:
        value = scope.as_float(value)
    options = Options("LeakyReluOptions", {"alpha": float(node.attributes.get("alpha", 0.01))})
    made = Made(target.name, value.shape, value.axes, grid)
    version = 2 if grid is not None else 1
    scope.finish(node, target, scope.emit("LEAKY_RELU", [value.tensor], made, options, version))


def prelu(scope: Scope, node: Node) -> None:
    """Writes a PRelu with constant slopes."""
    value, target = scope.value(node), scope.target(node)
    slopes = scope.array(node, 1)
    grid = target.grid if value.grid is not None else None
    if grid is None:
        value = scope.as_float(value)
    if slopes is None or slopes.ndim > len(value.shape):
        raise refuse(node, "its slopes must be a constant with no more axes than the input")
    constant = aligned_constant(scope, node, 1, value.axes, integer=grid is not None)
    made = Made(target.name, value.shape, value.axes, grid)
    scope.finish(node, target, scope.emit("PRELU", [value.tensor, constant], made))


def hard_sigmoid(scope: Scope, node: Node) -> None:
    """Writes a HardSigmoid as a product, a sum and a clip, in float."""
    value, target = scope.as_float(scope.value(node)), scope.target(node)
    numbers = [np.float32(node.attributes.get(key, given)) for key, given in (("alpha", 0.2), ("beta", 0.5))]
    ones = (1,) * len(value.shape)
    for code, number, kind in zip(("MUL", "ADD"), numbers, ("MulOptions", "AddOptions"), strict=True):
        constant = scope.constant(f"{node.name}/{code.lower()}", np.full(ones, number, np.float32))
        made = Made(f"{target.name}/{code.lower()}", value.shape, value.axes)
        value = scope.emit(code, [value.tensor, constant], made, Options(kind))
    scope.finish(node, target, _clipped(scope, value, (0.0, 1.0), target.name))


def clip(scope: Scope, node: Node) -> None:
    """Writes a Relu or Clip that nothing before it could take in.

    Raises:
        ConversionError: Its bounds are computed.
    """
    bounds = clip_bounds(scope.graph, node)
    if bounds is None:
        raise refuse(node, "its bounds must be constants")
    value, target = scope.value(node), scope.target(node)
    if value.grid is not None and target.grid is not None:
        # Turning codes to that grid mostly saturates them at just these bounds; and its steps are finer.
        value = scope.on_grid(value, target.grid, target.name)
    if value.grid is not None and _implied(value.grid, bounds):
        scope.finish(node, target, value)
        return
    if target.grid is None:
        value = scope.as_float(value)
    scope.finish(node, target, _clipped(scope, value, bounds, target.name))


def _implied(grid: Grid, bounds: tuple[float, float]) -> bool:
    half = grid.scale / 2
    return grid.low >= bounds[0] - half and grid.high <= bounds[1] + half


def _clipped(scope: Scope, value: Value, bounds: tuple[float, float], name: str) -> Value:
    """A value within bounds; codes stay on their grid."""
    version = 1 if value.grid is None else 2
    made = Made(name, value.shape, value.axes, value.grid)
    code = next((known for known, wanted in _FULL.items() if wanted == bounds), None)
    if code is not None and value.grid is None:
        return scope.emit(code, [value.tensor], made, None, version)
    for code, bound in (("MAXIMUM", bounds[0]), ("MINIMUM", bounds[1])):
        if np.isfinite(bound):
            number = np.full((1,) * len(value.shape), bound, np.float32)
            numbers = number if value.grid is None else value.grid.codes(number)
            constant = scope.constant(f"{name}/{code.lower()}", numbers, value.grid)
            options = Options("MaximumMinimumOptions")
            value = scope.emit(code, [value.tensor, constant], made, options, version)
    return value
