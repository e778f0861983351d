"""The file itself: tensors, buffers and operators are gathered, then packed once.

The schema classes are generated code that comes with ai-edge-litert; what they hold is untyped. Constants that are
alike share a buffer, and every buffer starts at a multiple of 16 bytes, as the format asks and the generated packer
forgets.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import import_problem
from edgewright.optimize.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["MAX_BYTES", "FlatModel", "Options", "Steps", "load_schema"]

MAX_BYTES = 2**31 - 2**24
"""Of all constants: a flatbuffer ends at 2 GB, and the rest of it needs room as well."""

_ALIGNMENT = 16
_SCHEMA_VERSION = 3
_WIDE_CODE = 127  # operator codes beyond it do not fit the old field
_TYPES = {"float32": "FLOAT32", "float16": "FLOAT16", "int8": "INT8", "uint8": "UINT8", "int32": "INT32"}


@dataclass(frozen=True)
class Options:
    """Settings of an operator.

    Attributes:
        kind: Name of the table in the schema, such as ``Conv2DOptions``.
        values: Its fields.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Steps:
    """Quantization of a tensor.

    Attributes:
        scale: (1,) or (channels,).
        zero_point: Of all of them.
        axis: Of the channels, in the file's order.
    """

    scale: NDArray[np.float32]
    zero_point: int = 0
    axis: int = 0


def load_schema() -> Any:
    """The generated schema classes.

    Raises:
        MissingExtraError: ai-edge-litert is not installed.
        BrokenPackageError: It is and cannot be loaded.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise import_problem(error, "ai_edge_litert", "writing a .tflite file", "tflite") from error
    return schema_py_generated


class FlatModel:
    """A file in the making."""

    def __init__(self) -> None:
        """Starts empty."""
        self.schema = load_schema()
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [self.schema.BufferT()]  # number 0 is empty by the format's own rule
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}
        self._known: dict[tuple[Any, ...], int] = {}
        self._names: dict[str, int] = {}
        self._bytes = 0

    def name(self, tensor: int) -> str:
        """Of a tensor."""
        return str(self._tensors[tensor].name)

    def is_integer(self, tensor: int) -> bool:
        """Whether it holds int8."""
        return bool(self._tensors[tensor].type == self.schema.TensorType.INT8)

    def is_constant(self, tensor: int) -> bool:
        """Whether its numbers are in the file."""
        return bool(self._tensors[tensor].buffer)

    def names(self) -> dict[str, int]:
        """Number of every tensor by name."""
        return dict(self._names)

    def tensor(self, name: str, shape: Sequence[int], dtype: str, steps: Steps | None = None) -> int:
        """Adds a tensor that an operator, or the caller, will fill."""
        item = self.schema.TensorT()
        item.shape = np.array(shape, np.int32)
        item.type = getattr(self.schema.TensorType, _TYPES[dtype])
        item.buffer = 0
        item.hasRank = True
        if steps is not None:
            item.quantization = self._quantization(steps)
        self._tensors.append(item)
        number = len(self._tensors) - 1
        self._call(number, self._free_name(name))
        return number

    def constant(self, name: str, array: NDArray[Any], steps: Steps | None = None) -> int:
        """Adds a constant, or finds it.

        Raises:
            ConversionError: All constants together are beyond what the format can hold.
        """
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8) if array.size else np.zeros(0, np.uint8)
        marks = () if steps is None else (steps.scale.tobytes(), steps.zero_point, steps.axis)
        key = (array.dtype.name, array.shape, hashlib.sha256(data.data).digest(), marks)
        if key in self._known:
            return self._known[key]
        self._bytes += data.nbytes
        if self._bytes > MAX_BYTES:
            msg = (
                f"the model's constants take more than {MAX_BYTES / 2**30:.2f} GB, which a .tflite file cannot hold; "
                f"quantize the weights, or choose --formats onnx"
            )
            raise ConversionError(msg)
        number = self.tensor(name, array.shape, array.dtype.name, steps)
        self._tensors[number].buffer = len(self._buffers)
        buffer = self.schema.BufferT()
        buffer.data = data
        self._buffers.append(buffer)
        self._known[key] = number
        return number

    def operator(
        self, code: str, inputs: Sequence[int], outputs: Sequence[int], options: Options | None, version: int
    ) -> None:
        """Adds an operator behind all others.

        Args:
            code: Its name in the schema, such as ``CONV_2D``.
            inputs: Tensors, -1 for one that is left out.
            outputs: Tensors.
            options: Its settings.
            version: Of the operator, the lowest that means what is asked.
        """
        number = int(getattr(self.schema.BuiltinOperator, code))
        item = self.schema.OperatorT()
        item.opcodeIndex = self._codes.setdefault((number, version), len(self._codes))
        item.inputs = np.array(inputs, np.int32)
        item.outputs = np.array(outputs, np.int32)
        if options is not None:
            item.builtinOptionsType = getattr(self.schema.BuiltinOptions, options.kind)
            item.builtinOptions = getattr(self.schema, options.kind + "T")(**options.values)
        self._operators.append(item)

    def rename(self, tensor: int, name: str) -> None:
        """Gives a tensor a name; who bore it before gets another one."""
        if self._names.get(name) == tensor:
            return
        if name in self._names:
            other = self._names.pop(name)
            self._call(other, self._free_name(f"{name}/inner"))
        self._names.pop(self.name(tensor), None)
        self._call(tensor, name)

    def pack(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file.

        Args:
            inputs: Tensors that the caller fills.
            outputs: Tensors that the caller reads.
        """
        schema = self.schema
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        model = schema.ModelT()
        model.version = _SCHEMA_VERSION
        model.description = "edgewright"
        model.operatorCodes = [self._operator_code(*key) for key in self._codes]
        model.subgraphs, model.buffers = [graph], self._buffers
        model.signatureDefs = [self._signature(inputs, outputs)]
        builder = _aligned_builder(self._bytes)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _quantization(self, steps: Steps) -> Any:
        item = self.schema.QuantizationParametersT()
        item.scale = np.asarray(steps.scale, np.float32)
        item.zeroPoint = np.full(len(steps.scale), steps.zero_point, np.int64)
        item.quantizedDimension = steps.axis
        return item

    def _operator_code(self, number: int, version: int) -> Any:
        item = self.schema.OperatorCodeT()
        item.builtinCode, item.version = number, version
        item.deprecatedBuiltinCode = min(number, _WIDE_CODE)
        return item

    def _signature(self, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        def entries(tensors: Sequence[int]) -> list[Any]:
            return [self.schema.TensorMapT(name=self.name(tensor), tensorIndex=tensor) for tensor in tensors]

        return self.schema.SignatureDefT(
            inputs=entries(inputs), outputs=entries(outputs), signatureKey="serving_default", subgraphIndex=0
        )

    def _free_name(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._names:
            name, count = f"{wanted}_{count}", count + 1
        return name

    def _call(self, tensor: int, name: str) -> None:
        self._tensors[tensor].name = name
        self._names[name] = tensor


def _aligned_builder(size: int) -> Any:
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]  # untyped
        """Starts every long vector at a multiple of 16 bytes; the generated code asks for one byte only."""

        def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
            wide = elemSize * numElems >= _ALIGNMENT
            return super().StartVector(elemSize, numElems, max(alignment, _ALIGNMENT) if wide else alignment)

    return AlignedBuilder(size + 2**16)
