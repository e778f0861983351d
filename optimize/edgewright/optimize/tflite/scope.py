"""The half-written file and what is known of the graph so far: what every operator's writer works with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.tflite.flatbuffer import FlatModel, Options, Steps
from edgewright.optimize.tflite.form import PLAIN
from edgewright.optimize.tflite.fusing import find_target
from edgewright.optimize.tflite.source import Node, SourceGraph, refuse
from edgewright.optimize.tflite.values import Grid, IntegerConstant, Value, identity, same_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.tflite.form import TfliteForm, Tuning
    from edgewright.optimize.tflite.fusing import Target
    from edgewright.optimize.types import Ranges

__all__ = ["Made", "Scope"]


@dataclass(frozen=True)
class Made:
    """What an operator makes.

    Attributes:
        name: Of the tensor.
        shape: As ONNX has it.
        axes: Which ONNX axis each kept axis is.
        grid: Of its codes, None for float32.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    grid: Grid | None = None


class Scope:
    """One file in the making."""

    def __init__(
        self,
        graph: SourceGraph,
        form: TfliteForm,
        ranges: Ranges | None = None,
        *,
        integer_outputs: bool = True,
        tuning: Tuning = PLAIN,
    ) -> None:
        """Starts with nothing written.

        Args:
            graph: What is to be written.
            form: How.
            ranges: Low and high of float tensors that have no grid in a QDQ graph, such as freed outputs.
            integer_outputs: Whether outputs may be codes.
            tuning: For speed.
        """
        self.graph = graph
        self.form = form
        self.integer_outputs = integer_outputs
        self.tuning = tuning
        self.flat = FlatModel()
        self.counts: Counter[str] = Counter()
        self.fused: set[str] = set()
        self.integers: dict[str, IntegerConstant] = {}
        self._ranges = dict(ranges or {})
        self._values: dict[str, Value] = {}
        self._turned: dict[tuple[int, str], Value] = {}

    def target(self, node: Node, *, fuse: bool = False) -> Target:
        """Where the result of a node goes.

        Args:
            node: The node.
            fuse: Whether the operator can clip its result, so that a following Relu or Clip vanishes.
        """
        return find_target(self.graph, node, fuse=fuse)

    def range_of(self, name: str) -> Grid | None:
        """A grid from the ranges that were given, None where there is none for this tensor."""
        return Grid.of_range(*self._ranges[name]) if name in self._ranges else None

    def knows(self, name: str) -> bool:
        """Whether an ONNX tensor has been written."""
        return name in self._values

    def known(self, name: str) -> Value:
        """The value of an ONNX tensor that has been written."""
        return self._values[name]

    def set(self, name: str, value: Value) -> None:
        """Keeps the value of an ONNX tensor."""
        self._values[name] = value

    def finish(self, node: Node, target: Target, value: Value) -> None:
        """Keeps a node's result, and marks what was fused into it as written."""
        self.fused |= target.fused
        self._values[target.name] = value
        self._values[node.outputs[0]] = value

    def value(self, node: Node, index: int = 0) -> Value:
        """An input, which becomes a constant tensor where it is one.

        Raises:
            ConversionError: It is neither float nor quantized.
        """
        name = node.given(index)
        if name in self._values:
            return self._values[name]
        if name in self.integers:
            found = self.integers[name].on_grid
            codes, grid = found or _regrid(self.integers[name].reals)
            tensor = self.constant(name, codes, grid)
            value = Value(tensor, codes.shape, identity(codes.ndim), grid)
        elif name in self.graph.constants:
            array = self.graph.constants[name]
            if array.dtype != np.float32:
                raise refuse(node, f"its input {name!r} is of type {array.dtype}")
            value = Value(self.constant(name, array), array.shape, identity(array.ndim))
        else:
            raise refuse(node, f"its input {name!r} is not a tensor of numbers that this writer knows")
        self._values[name] = value
        return value

    def computed(self, node: Node, index: int = 0) -> bool:
        """Whether an input is not a constant."""
        name = node.given(index)
        return bool(name) and name not in self.graph.constants and name not in self.integers

    def array(self, node: Node, index: int) -> NDArray[Any] | None:
        """A constant input in real numbers, None where it is left out.

        Raises:
            ConversionError: It is not a constant.
        """
        name = node.given(index)
        if not name:
            return None
        if name in self.integers:
            return self.integers[name].reals
        if name not in self.graph.constants:
            raise refuse(node, f"its input {name!r} must be a constant")
        return self.graph.constants[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an ONNX tensor."""
        return self.graph.shapes[name]

    def constant(self, name: str, array: NDArray[Any], grid: Grid | None = None) -> int:
        """A constant tensor."""
        steps = None if grid is None else _steps(grid)
        return self.flat.constant(name, array, steps)

    def numbers(self, name: str, values: Sequence[Any] | NDArray[Any]) -> int:
        """A constant of int32, such as a shape."""
        return self.flat.constant(name, np.array(values, np.int32))

    def emit(
        self, code: str, inputs: Sequence[int], made: Made, options: Options | None = None, version: int = 1
    ) -> Value:
        """Writes an operator with one result."""
        kept = tuple(made.shape[axis] for axis in made.axes)
        steps = None if made.grid is None else _steps(made.grid)
        tensor = self.flat.tensor(made.name, kept, "float32" if made.grid is None else "int8", steps)
        self.flat.operator(code, inputs, [tensor], options, version)
        return Value(tensor, made.shape, made.axes, made.grid)

    def as_float(self, value: Value) -> Value:
        """The value in float32."""
        if value.grid is None:
            return value
        key = (value.tensor, "float")
        if key not in self._turned:
            made = Made(self._beside(value, "float"), value.shape, value.axes)
            self._turned[key] = self.emit("DEQUANTIZE", [value.tensor], made, Options("DequantizeOptions"), 2)
        # The same codes may have been relabelled since: shape and axes are the caller's, not the first asker's.
        return replace(value, tensor=self._turned[key].tensor, grid=None)

    def on_grid(self, value: Value, grid: Grid, name: str = "") -> Value:
        """The value in codes of a grid."""
        if value.grid == grid:
            return value
        key = (value.tensor, f"grid {grid}")
        if key not in self._turned:
            made = Made(name or self._beside(value, "codes"), value.shape, value.axes, grid)
            version = 1 if value.grid is None else 2
            self._turned[key] = self.emit("QUANTIZE", [value.tensor], made, Options("QuantizeOptions"), version)
        return replace(value, tensor=self._turned[key].tensor, grid=grid)

    def as_axes(self, value: Value, axes: tuple[int, ...]) -> Value:
        """The value with its axes in another order."""
        if value.axes == axes:
            return value
        turned = tuple(value.shape[axis] for axis in axes)
        if same_order(value.shape, value.axes, axes):
            tensor = self.reshaped(value, turned, self._beside(value, "reshaped"))
            return replace(value, tensor=tensor, axes=axes)
        order = [value.axes.index(axis) for axis in axes]
        key = (value.tensor, f"order {order}")
        if key not in self._turned:
            made = Made(self._beside(value, "transposed"), value.shape, axes, value.grid)
            inputs = [value.tensor, self.numbers(f"{made.name}/order", order)]
            version = 1 if value.grid is None else 2
            self._turned[key] = self.emit("TRANSPOSE", inputs, made, Options("TransposeOptions"), version)
            self.counts["transposed"] += 1
        return replace(value, tensor=self._turned[key].tensor, axes=axes)

    def plain(self, value: Value) -> Value:
        """The value with its axes in ONNX's order."""
        return self.as_axes(value, identity(len(value.shape)))

    def reshaped(self, value: Value, kept: tuple[int, ...], name: str) -> int:
        """A tensor of another shape with the same numbers in the same order; the same one where nothing changes."""
        if value.kept == kept:
            return value.tensor
        key = (value.tensor, f"shape {kept}")
        if key not in self._turned:
            made = Made(name, kept, identity(len(kept)), value.grid)
            options = Options("ReshapeOptions", {"newShape": np.array(kept, np.int32)})
            self._turned[key] = self.emit("RESHAPE", [value.tensor, self.numbers(f"{name}/shape", kept)], made, options)
        return self._turned[key].tensor

    def _beside(self, value: Value, what: str) -> str:
        return f"{self.flat.name(value.tensor)}/{what}"


def _steps(grid: Grid) -> Steps:
    return Steps(np.array([grid.scale], np.float32), grid.zero_point)


def _regrid(reals: NDArray[np.float32]) -> tuple[NDArray[np.int8], Grid]:
    """Codes on one grid of a constant that had a grid per channel."""
    grid = Grid.of_range(float(reals.min(initial=0.0)), float(reals.max(initial=0.0)))
    return grid.codes(reals), grid
