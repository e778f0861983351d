"""A ``.tflite`` file looked at before an interpreter maps it.

``ai-edge-litert`` verifies the flatbuffer it is given; ``tflite-runtime`` 2.14 does not and takes the process down on a
damaged file. So every table, vector and string that an interpreter follows is checked here to lie within the file, every
index to name something, and the memory that one operator needs to be no nonsense. It needs no other package.

What is not looked into: whether the parameters of single operators make sense. A file is to be trusted by
its bundle's digest; this check is against damage.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TfliteFile", "TfliteTensor", "read_tflite"]

_IDENTIFIER = b"TFL3"
_LARGEST_FILE = (1 << 31) - 1  # offsets are signed 32 bits
_MOST_BYTES_AT_ONCE = 2 << 30
_MOST_ITEMS = 1 << 20
_SERVING = "serving_default"
_CUSTOM = 32
_NONE = -1
# Bytes of an element by TensorType; 4-bit and smaller types count as a whole byte, strings and resources as nothing.
_BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2, 17: 1, 18: 2}


# Parameters that begin with a list of 4-byte numbers, by BuiltinOptions: reshape, squeeze, bucketize.
_LISTS = frozenset({17, 30, 115})


class _Damaged(Exception):  # noqa: N818 - never leaves this module
    """Something points outside."""


@dataclass(frozen=True)
class TfliteTensor:
    """A tensor as the file describes it.

    Attributes:
        name: As stored.
        shape: Sizes with which it is allocated.
        signature: Sizes with -1 where the converter left one open; equal to ``shape`` otherwise.
        type: ``TensorType`` number.
        constant: Whether its values are in the file.
    """

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    type: int
    constant: bool

    @property
    def bytes(self) -> int:
        """Memory it takes."""
        return math.prod(self.shape) * _BYTES.get(self.type, 1)


@dataclass(frozen=True)
class TfliteFile:
    """What matters of a checked file.

    Attributes:
        tensors: Of the first subgraph, in the order of their indices.
        inputs: Indices of its inputs.
        outputs: Indices of its outputs.
        custom: Names of operators that are none of the format's own, sorted.
        names: Names that the signature gives to inputs and outputs, by (``"input"`` or ``"output"``, index).
        subgraphs: How many; more than one means control flow.
    """

    tensors: tuple[TfliteTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    custom: tuple[str, ...]
    names: Mapping[tuple[str, int], str]
    subgraphs: int

    def name(self, kind: str, index: int) -> str:
        """What an input or output is called: by the signature if it has a name there, else as its tensor."""
        return self.names.get((kind, index), self.tensors[index].name)


def read_tflite(data: bytes) -> TfliteFile:
    """Checks a file and says what is in it.

    Args:
        data: The whole file.

    Raises:
        BackendError: It is no TFLite file, is damaged, or asks for a senseless amount of memory.
    """
    if len(data) < 8 or data[4:8] != _IDENTIFIER:
        msg = f"not a TFLite file: it does not carry the identifier {_IDENTIFIER.decode()}; give a .tflite file"
        raise BackendError(msg)
    if len(data) > _LARGEST_FILE:
        msg = f"the TFLite file has {len(data)} bytes; at most {_LARGEST_FILE} can be addressed"
        raise BackendError(msg)
    try:
        return _model(_Reader(data))
    except (_Damaged, struct.error) as error:
        msg = f"the TFLite file is damaged: {error}; make or fetch it again"
        raise BackendError(msg) from error


class _Reader:
    """Bounds-checked reading of little-endian numbers and flatbuffer references."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def number(self, kind: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(kind) > len(self.data):
            msg = f"something points to byte {at} of {len(self.data)}; the file is probably cut short"
            raise _Damaged(msg)
        value: int = struct.unpack_from(f"<{kind}", self.data, at)[0]
        return value

    def follow(self, at: int) -> int:
        target = at + self.number("I", at)
        self.number("I", target)
        return target

    def table(self, at: int) -> _Table:
        return _Table(self, at)


class _Table:
    """One table: its fields are found through the list of offsets that it points back to."""

    def __init__(self, reader: _Reader, at: int) -> None:
        self._reader = reader
        self._at = at
        self._fields = at - reader.number("i", at)
        self._count = (reader.number("H", self._fields) - 4) // 2
        self._size = reader.number("H", self._fields + 2)
        if self._count < 0 or at + self._size > len(reader.data):
            msg = f"the table at byte {at} ends behind the file"
            raise _Damaged(msg)
        for field in range(self._count):
            if self._offset(field) >= max(self._size, 1):
                msg = f"field {field} of the table at byte {at} lies outside of it"
                raise _Damaged(msg)

    def _offset(self, field: int) -> int:
        return self._reader.number("H", self._fields + 4 + 2 * field) if field < self._count else 0

    def number(self, field: int, kind: str, default: int = 0) -> int:
        offset = self._offset(field)
        return self._reader.number(kind, self._at + offset) if offset else default

    def child(self, field: int) -> _Table | None:
        offset = self._offset(field)
        return self._reader.table(self._reader.follow(self._at + offset)) if offset else None

    def vector(self, field: int, width: int) -> tuple[int, int]:
        """First byte and length of a vector whose items have ``width`` bytes; no items when it is absent."""
        offset = self._offset(field)
        if not offset:
            return 0, 0
        start = self._reader.follow(self._at + offset)
        count = self._reader.number("I", start)
        if start + 4 + count * width > len(self._reader.data):
            msg = f"a list of {count} items at byte {start} ends behind the file"
            raise _Damaged(msg)
        return start + 4, count

    def numbers(self, field: int) -> tuple[int, ...]:
        start, count = self.vector(field, 4)
        return struct.unpack_from(f"<{count}i", self._reader.data, start) if count else ()

    def text(self, field: int) -> str:
        start, count = self.vector(field, 1)
        try:
            return self._reader.data[start : start + count].decode("utf-8")
        except UnicodeDecodeError as error:  # the interpreter would raise it on its own, much later
            msg = f"the name at byte {start} is no text"
            raise _Damaged(msg) from error

    def tables(self, field: int) -> list[_Table]:
        start, count = self.vector(field, 4)
        if count > _MOST_ITEMS:
            msg = f"a list of {count} tables is no model"
            raise _Damaged(msg)
        return [self._reader.table(self._reader.follow(start + 4 * k)) for k in range(count)]


def _model(reader: _Reader) -> TfliteFile:
    model = reader.table(reader.follow(0))
    model.text(3)
    model.numbers(5)
    sizes = [_buffer_bytes(buffer, len(reader.data)) for buffer in model.tables(4)]
    for entry in model.tables(6):
        entry.text(0)
        _named(entry.number(1, "I"), len(sizes), "a metadata entry names buffer")
    codes = [(max(code.number(0, "b"), code.number(3, "i")), code.text(1)) for code in model.tables(1)]
    graphs = model.tables(2)
    if not graphs:
        msg = "it holds no graph"
        raise _Damaged(msg)
    read = [_graph(graph, codes, sizes) for graph in graphs]
    tensors, inputs, outputs = read[0]
    counts = [len(row[0]) for row in read]
    names = _signature_names(model.tables(7), counts)
    custom = tuple(sorted({name for code, name in codes if code == _CUSTOM}))
    return TfliteFile(tensors, inputs, outputs, custom, names, len(graphs))


def _buffer_bytes(buffer: _Table, size: int) -> int:
    _, count = buffer.vector(0, 1)
    offset, length = buffer.number(1, "Q"), buffer.number(2, "Q")
    if offset > 1 and offset + length > size:
        msg = f"a buffer of {length} bytes at byte {offset} ends behind the file"
        raise _Damaged(msg)
    return count or (length if offset > 1 else 0)


def _graph(
    graph: _Table, codes: list[tuple[int, str]], sizes: list[int]
) -> tuple[tuple[TfliteTensor, ...], tuple[int, ...], tuple[int, ...]]:
    graph.text(4)
    tensors = tuple(_tensor(tensor, sizes) for tensor in graph.tables(0))
    inputs, outputs = graph.numbers(1), graph.numbers(2)
    for index in inputs + outputs:
        _named(index, len(tensors), "the graph names tensor")
    for operator in graph.tables(3):
        code = operator.number(0, "I")
        _named(code, len(codes), "an operator names operator code")
        used = operator.numbers(1) + operator.numbers(2)
        for index in used:
            if index != _NONE:
                _named(index, len(tensors), "an operator names tensor")
        parameters = operator.child(4)
        if parameters is not None and operator.number(3, "B") in _LISTS:
            parameters.vector(0, 4)
        operator.child(12)
        for extra, width in ((5, 1), (7, 1), (8, 4)):
            operator.vector(extra, width)
        _check_memory([tensors[index] for index in set(used) if index != _NONE])
    return tensors, inputs, outputs


def _tensor(tensor: _Table, sizes: list[int]) -> TfliteTensor:
    shape, kind, buffer, name = tensor.numbers(0), tensor.number(1, "b"), tensor.number(2, "I"), tensor.text(3)
    _named(buffer, max(len(sizes), 1), f"tensor {name!r} names buffer")
    constant = bool(sizes) and sizes[buffer] > 0
    if any(size < _NONE for size in shape):
        msg = f"tensor {name!r} has shape {shape}"
        raise _Damaged(msg)
    quantization = tensor.child(4)
    if quantization is not None:
        for bound in (0, 1):
            quantization.vector(bound, 4)
        quantization.child(5)
        scales, zeros = quantization.vector(2, 4)[1], quantization.vector(3, 8)[1]
        axis = quantization.number(6, "i")
        # Kernels read one scale a channel without asking how many there are.
        if scales > 1 and (not 0 <= axis < len(shape) or shape[axis] != scales):
            msg = f"tensor {name!r} of shape {shape} has {scales} scales along axis {axis}"
            raise _Damaged(msg)
        if zeros not in {0, 1, scales}:
            msg = f"tensor {name!r} has {scales} scales and {zeros} zero points"
            raise _Damaged(msg)
    tensor.child(6)
    return TfliteTensor(name, shape, tensor.numbers(7) or shape, kind, constant)


def _check_memory(tensors: list[TfliteTensor]) -> None:
    needed = sum(tensor.bytes for tensor in tensors if not tensor.constant)
    if needed > _MOST_BYTES_AT_ONCE:
        largest = max(tensors, key=lambda tensor: tensor.bytes)
        msg = (
            f"one operator of the TFLite file needs {needed:,} bytes at once (tensor {largest.name!r} has shape "
            f"{list(largest.shape)}); at most {_MOST_BYTES_AT_ONCE:,} are given to it, use a smaller input"
        )
        raise BackendError(msg)


def _signature_names(signatures: list[_Table], counts: list[int]) -> dict[tuple[str, int], str]:
    """Names of the first graph's inputs and outputs: of ``serving_default``, else of the only signature."""
    ours: dict[str, dict[tuple[str, int], str]] = {}
    for signature in signatures:
        graph = signature.number(4, "I")
        _named(graph, len(counts), "a signature names graph")
        names: dict[tuple[str, int], str] = {}
        for kind, field in (("input", 0), ("output", 1)):
            for entry in signature.tables(field):
                index = entry.number(1, "I")
                _named(index, counts[graph], "a signature names tensor")
                names[kind, index] = entry.text(0)
        if graph == 0:
            ours[signature.text(2)] = names
    if _SERVING in ours:
        return ours[_SERVING]
    return next(iter(ours.values())) if len(ours) == 1 else {}


def _named(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        msg = f"{what} {index}, there are {count}"
        raise _Damaged(msg)
