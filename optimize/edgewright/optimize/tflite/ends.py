"""Where a file begins and ends: the layout and type of its inputs, the order and type of its outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgewright.bundle.manifest import Layout, TensorSpec
from edgewright.optimize.errors import ConversionError
from edgewright.optimize.tflite.flatbuffer import Options, Steps
from edgewright.optimize.tflite.form import TfliteForm
from edgewright.optimize.tflite.fusing import quantizer_grid
from edgewright.optimize.tflite.scope import Made
from edgewright.optimize.tflite.values import NCHW_AS_NHWC, Grid, Value, identity

if TYPE_CHECKING:
    from edgewright.optimize.tflite.scope import Scope
    from edgewright.optimize.tflite.source import Node

__all__ = ["End", "write_input", "write_output"]

_FLOAT, _UINT8, _INT8 = 1, 2, 3  # ONNX's numbering
_IMAGE = 4
_COLOURS = (1, 3, 4)
_NHWC_AS_NCHW = [0, 3, 1, 2]
_SHIFT = 128
_MOVERS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_CARRIERS = frozenset({"Pad", "QuantizeLinear", "DequantizeLinear", "Identity"})


@dataclass(frozen=True)
class End:
    """An input or output of the file.

    Attributes:
        tensor: Its number.
        spec: Its description.
    """

    tensor: int
    spec: TensorSpec


def write_input(scope: Scope, name: str) -> End:
    """Adds an input: a picture becomes NHWC, and codes where all its readers want them on one grid.

    Raises:
        ConversionError: It is neither float32 nor an 8-bit picture.
    """
    graph = scope.graph
    shape = graph.shapes[name]
    kind = graph.types[name]
    layout, axes = _layout(scope, name, shape)
    kept = tuple(shape[axis] for axis in axes)
    if kind in (_UINT8, _INT8):
        return _picture_input(scope, name, axes, layout)
    if kind != _FLOAT:
        msg = f"input {name!r} is neither float32 nor uint8; TFLite files of this writer take nothing else"
        raise ConversionError(msg)
    grid = _input_grid(scope, name) if scope.form is TfliteForm.INT8 else None
    steps = None if grid is None else Steps(np.array([grid.scale], np.float32), grid.zero_point)
    tensor = scope.flat.tensor(name, kept, "float32" if grid is None else "int8", steps)
    scope.set(name, Value(tensor, shape, axes, grid))
    spec = TensorSpec(name, kept, "float32", layout)
    if grid is not None:
        spec = replace(spec, dtype="int8", scale=grid.scale, zero_point=grid.zero_point)
    return End(tensor, spec)


def write_output(scope: Scope, name: str, used: set[int]) -> End:
    """Finishes an output: ONNX's order of axes, its name, and floats unless integers are welcome.

    Args:
        scope: The file in the making.
        name: Of the output.
        used: Tensors that are inputs or outputs already; an output must be a tensor of its own.

    Raises:
        ConversionError: The output is a constant.
    """
    if not scope.knows(name):
        msg = f"output {name!r} does not depend on the input, or is not a tensor of numbers"
        raise ConversionError(msg)
    value = scope.plain(scope.known(name))
    if not scope.integer_outputs:
        value = scope.as_float(value)
    tensor = value.tensor
    if tensor in used or scope.flat.is_constant(tensor):
        made = Made(f"{name}/copy", value.shape, value.axes, value.grid)
        options = Options("ReshapeOptions", {"newShape": np.array(value.shape, np.int32)})
        tensor = scope.emit("RESHAPE", [tensor, scope.numbers(f"{name}/shape", value.shape)], made, options).tensor
    scope.flat.rename(tensor, name)
    spec = TensorSpec(name, value.shape, "float32")
    if value.grid is not None:
        spec = replace(spec, dtype="int8", scale=value.grid.scale, zero_point=value.grid.zero_point)
    return End(tensor, spec)


def _layout(scope: Scope, name: str, shape: tuple[int, ...]) -> tuple[Layout | None, tuple[int, ...]]:
    """What kind of tensor an input is, and the order in which its axes are kept."""
    rank = len(shape)
    if rank != _IMAGE:
        return None, identity(rank)
    turned = [node for node in _followers(scope, name) if node.kind == "Transpose"]
    if turned and all(list(node.attributes.get("perm", ())) == _NHWC_AS_NCHW for node in turned):
        return Layout.NHWC, identity(rank)
    if shape[1] not in _COLOURS and shape[3] in _COLOURS:
        return Layout.NHWC, identity(rank)
    return Layout.NHWC, NCHW_AS_NHWC


def _followers(scope: Scope, name: str) -> list[Node]:
    """What reads a tensor, seen through what does not care for the order of axes."""
    found: list[Node] = []
    for node in scope.graph.readers.get(name, ()):
        found += _followers(scope, node.outputs[0]) if node.kind in _CARRIERS else [node]
    return found


def _input_grid(scope: Scope, name: str) -> Grid | None:
    """The one grid on which all readers want an input, seen through what only moves numbers."""
    grids = _grids_behind(scope, name)
    return grids.pop() if len(grids) == 1 and None not in grids else None


def _grids_behind(scope: Scope, name: str) -> set[Grid | None]:
    grids: set[Grid | None] = {None} if name in scope.graph.outputs else set()
    for node in scope.graph.readers.get(name, ()):
        if node.kind == "QuantizeLinear":
            grids.add(quantizer_grid(scope.graph, node))
        else:
            grids |= _grids_behind(scope, node.outputs[0]) if node.kind in _MOVERS else {None}
    return grids


def _picture_input(scope: Scope, name: str, axes: tuple[int, ...], layout: Layout | None) -> End:
    """An input of codes; a camera's picture is shifted to int8 by the file itself, or has been before."""
    grid = _code_grid(scope, name)
    shape = scope.graph.shapes[name]
    kept = tuple(shape[axis] for axis in axes)
    scale = np.array([grid.scale], np.float32)
    if scope.graph.types[name] == _INT8 or scope.tuning.signed_pixels:
        tensor = scope.flat.tensor(name, kept, "int8", Steps(scale, grid.zero_point))
        scope.set(name, Value(tensor, shape, axes, grid))
        if scope.graph.types[name] == _UINT8:
            return End(tensor, TensorSpec(name, kept, "int8", layout))
        return End(tensor, TensorSpec(name, kept, "int8", layout, grid.scale, grid.zero_point))
    tensor = scope.flat.tensor(name, kept, "uint8", Steps(scale, grid.zero_point + _SHIFT))
    made = Made(f"{name}/int8", shape, axes, grid)
    scope.set(name, scope.emit("QUANTIZE", [tensor], made, Options("QuantizeOptions"), 2))
    return End(tensor, TensorSpec(name, kept, "uint8", layout))


def _code_grid(scope: Scope, name: str) -> Grid:
    """The grid of an input of codes, which the DequantizeLinear behind it knows."""
    for node in scope.graph.readers.get(name, ()):
        if node.kind == "DequantizeLinear":
            return quantizer_grid(scope.graph, node)
        if node.kind in ("Pad", "Transpose", "Identity", "Reshape"):
            return _code_grid(scope, node.outputs[0])
    msg = f"input {name!r} takes integers, but no DequantizeLinear behind it says what they stand for"
    raise ConversionError(msg)
