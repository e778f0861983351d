"""Reads the float constants out of a TensorFlow frozen graph, without TensorFlow.

A frozen graph is one protobuf message ``GraphDef``; trained weights sit in its ``Const`` nodes. Only the handful of
fields that lead there is looked at (numbers from TensorFlow's public ``graph.proto``, ``node_def.proto``,
``attr_value.proto``, ``tensor.proto``, ``tensor_shape.proto``).

The file is not trusted:

- every length is checked against the bytes that are there before anything is sliced;
- every step consumes at least one byte, so reading ends after at most as many steps as the file has bytes;
- nesting is the fixed nesting of the five messages, never recursion;
- the number of values is bounded by ``MAX_VALUES`` for the whole file, so that a short message that stands for a
  huge tensor is refused before memory is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["MAX_VALUES", "read_float_constants"]

MAX_VALUES = 2**24
"""Float values that one file may hold; five times what the person detector has."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_MAX_DIMENSIONS = 8
_DT_FLOAT = 1
_FLOAT_BYTES = 4


def read_float_constants(data: bytes) -> dict[str, NDArray[np.float32]]:
    """The float32 constants of a frozen graph by node name.

    Args:
        data: The whole ``.pb`` file.

    Returns:
        Arrays of the graph's own shapes and layouts (TensorFlow convolutions are HWIO, depthwise ones HWIM).

    Raises:
        ModelError: The bytes are not a ``GraphDef``, or hold more than ``MAX_VALUES`` float values.
    """
    constants: dict[str, NDArray[np.float32]] = {}
    budget = MAX_VALUES
    for number, value in _fields(memoryview(data), "GraphDef"):
        if number != 1 or isinstance(value, int):
            continue
        node = _read_node(value)
        if node.op != "Const" or node.tensor is None or node.tensor.dtype != _DT_FLOAT:
            continue
        array = node.tensor.to_array(node.name, budget)
        budget -= array.size
        constants[node.name] = array
    return constants


@dataclass
class _Tensor:
    """``TensorProto``, as far as floats need it."""

    dtype: int = 0
    shape: tuple[int, ...] = ()
    content: memoryview = field(default_factory=lambda: memoryview(b""))
    floats: list[memoryview] = field(default_factory=list)

    def to_array(self, name: str, budget: int) -> NDArray[np.float32]:
        """The values in the declared shape; a single value may stand for the whole tensor."""
        count = 1
        for size in self.shape:
            count *= size  # Python integers: no overflow, and at most 8 factors
        if count > budget:
            msg = f"frozen graph: constant {name!r} of shape {self.shape} goes beyond the limit of {MAX_VALUES} values"
            raise ModelError(msg)
        raw = bytes(self.content) or b"".join(self.floats)
        if len(raw) == _FLOAT_BYTES and count > 1:
            return np.full(self.shape, np.frombuffer(raw, "<f4")[0], np.float32)
        if len(raw) != count * _FLOAT_BYTES:
            msg = f"frozen graph: constant {name!r} of shape {self.shape} needs {count * _FLOAT_BYTES} bytes, has {len(raw)}"
            raise ModelError(msg)
        return np.frombuffer(raw, "<f4").astype(np.float32).reshape(self.shape)


@dataclass
class _Node:
    """``NodeDef``: name, operator, and the tensor of a constant."""

    name: str = ""
    op: str = ""
    tensor: _Tensor | None = None


def _read_node(data: memoryview) -> _Node:
    node = _Node()
    for number, value in _fields(data, "NodeDef"):
        if isinstance(value, int):
            continue
        if number == 1:
            node.name = _text(value)
        elif number == 2:
            node.op = _text(value)
        elif number == 5:
            node.tensor = _read_value_attribute(value) or node.tensor
    return node


def _read_value_attribute(data: memoryview) -> _Tensor | None:
    """The tensor of one ``attr`` map entry, if it is the one called ``value``."""
    key, tensor = "", None
    for number, value in _fields(data, "attr entry"):
        if isinstance(value, int):
            continue
        if number == 1:
            key = _text(value)
        elif number == 2:
            for inner, content in _fields(value, "AttrValue"):
                if inner == 8 and not isinstance(content, int):
                    tensor = content
    return _read_tensor(tensor) if key == "value" and tensor is not None else None


def _read_tensor(data: memoryview) -> _Tensor:
    tensor = _Tensor()
    for number, value in _fields(data, "TensorProto"):
        if isinstance(value, int):
            if number == 1:
                tensor.dtype = value
        elif number == 2:
            tensor.shape = _read_shape(value)
        elif number == 4:
            tensor.content = value
        elif number == 5:
            tensor.floats.append(value)  # packed run or single values: the same bytes either way
    return tensor


def _read_shape(data: memoryview) -> tuple[int, ...]:
    sizes: list[int] = []
    for number, value in _fields(data, "TensorShapeProto"):
        if number != 2 or isinstance(value, int):
            continue
        size = 0
        for inner, content in _fields(value, "Dim"):
            if inner == 1 and isinstance(content, int):
                size = content
        sizes.append(size)
        if len(sizes) > _MAX_DIMENSIONS:
            msg = f"frozen graph: a tensor with more than {_MAX_DIMENSIONS} dimensions"
            raise ModelError(msg)
    return tuple(sizes)


def _text(data: memoryview) -> str:
    try:
        return bytes(data).decode("utf-8")
    except UnicodeDecodeError as error:
        msg = "frozen graph: a name is not UTF-8; the file is damaged or not a TensorFlow graph"
        raise ModelError(msg) from error


def _varint(data: memoryview, position: int, what: str) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= len(data):
            break
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    msg = f"frozen graph: an unfinished number in {what}; the file is damaged or not a TensorFlow graph"
    raise ModelError(msg)


def _fields(data: memoryview, what: str) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of one message: number, and an integer (varint) or the bytes (everything else)."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position, what)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(data, position, what)
            yield number, value
            continue
        if wire == _BYTES:
            length, position = _varint(data, position, what)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            msg = f"frozen graph: wire type {wire} in {what}; the file is damaged or not a TensorFlow graph"
            raise ModelError(msg)
        if length > len(data) - position:
            left = len(data) - position
            msg = f"frozen graph: {what} claims {length} bytes where {left} are left; the file is cut short or damaged"
            raise ModelError(msg)
        yield number, data[position : position + length]
        position += length
