"""The operators of a .tflite file, as LiteRT with XNNPACK will run them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import ModelError
from edgewright.optimize.estimate.convolution import convolution, product
from edgewright.optimize.estimate.operators import Kind, Operator, WorkTable
from edgewright.optimize.tflite.flatbuffer import load_schema
from edgewright.runtime.backends.tflite_file import read_tflite
from edgewright.runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["tflite_operators"]

_TABLE = WorkTable(
    free=frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SHAPE"}),
    fused=frozenset(),
    moving=frozenset(
        {
            *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "SUM"),
            *("REDUCE_MAX", "CONCATENATION", "PACK", "UNPACK", "GATHER", "PAD", "PADV2", "MIRROR_PAD"),
            *("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR", "SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V", "TILE"),
            *("TRANSPOSE", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "CAST", "QUANTIZE", "DEQUANTIZE", "BROADCAST_TO"),
        }
    ),
    sums=frozenset({"ADD", "SUB", "MUL"}),
    activation=frozenset(
        {
            *(
                "LEAKY_RELU",
                "PRELU",
                "RELU",
                "RELU6",
                "RELU_N1_TO_1",
                "LOGISTIC",
                "TANH",
                "EXP",
                "LOG",
                "SQRT",
                "RSQRT",
            ),
            *("ELU", "HARD_SWISH", "GELU", "SOFTMAX", "LOG_SOFTMAX", "ABS", "NEG", "SQUARE", "POW"),
        }
    ),
    leaky=frozenset({"LEAKY_RELU", "RELU", "RELU6"}),
)
_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})
_WEIGHTS, _TRANSPOSED_DATA = 1, 2
_NONE = -1


def tflite_operators(model: bytes) -> tuple[Operator, ...]:
    """Reads a file.

    Args:
        model: A whole ``.tflite`` file with fixed shapes.

    Raises:
        ModelError: It is damaged, or holds control flow.
        MissingExtraError: ai-edge-litert, whose schema is used, is not installed.
    """
    try:
        described = read_tflite(model)
    except BackendError as error:
        raise ModelError(str(error)) from error
    if described.subgraphs != 1:
        msg = f"the TFLite file has {described.subgraphs} subgraphs; operators of control flow cannot be estimated"
        raise ModelError(msg)
    schema = load_schema()
    reader = _Reader(schema, schema.ModelT.InitFromPackedBuf(model, 0))
    return tuple(reader.operator(item) for item in reader.graph.operators or ())


class _Reader:
    """Looks at operators with their tensors; the schema's classes hold untyped things."""

    def __init__(self, schema: Any, model: Any) -> None:
        self.graph = model.subgraphs[0]
        self._model = model
        self._schema = schema
        self._names = {value: key for key, value in vars(schema.BuiltinOperator).items() if not key.startswith("_")}

    def operator(self, item: Any) -> Operator:
        """One operator as work."""
        code = self._model.operatorCodes[item.opcodeIndex]
        kind = self._names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "an operator of a newer version")
        if kind == "CUSTOM":
            kind = f"CUSTOM {(code.customCode or b'').decode(errors='replace')}"
        outputs = [self.graph.tensors[index] for index in _indices(item.outputs)]
        name = (outputs[0].name or b"").decode(errors="replace") if outputs else kind
        inputs = [self.graph.tensors[index] for index in _indices(item.inputs)]
        data = [tensor for tensor in inputs if not self._constant(tensor)]
        if not data:
            return Operator(
                name, kind, Kind.FREE
            )  # such as weights in half precision, unpacked when the file is loaded
        precision = "int8" if self._is_integer(outputs[0]) and self._is_integer(data[0]) else "float32"
        if kind in _CONVOLUTIONS:
            return self._convolution(item, name, kind, precision)
        if kind in {"FULLY_CONNECTED", "BATCH_MATMUL"}:
            return self._product(item, name, kind, precision)
        numbers = sum(_size(tensor) for tensor in (*data, *outputs))
        return _TABLE.plain(name, kind, precision, numbers)

    def _convolution(self, item: Any, name: str, kind: str, precision: str) -> Operator:
        turned, alone = kind == "TRANSPOSE_CONV", kind == "DEPTHWISE_CONV_2D"
        data = self.graph.tensors[item.inputs[_TRANSPOSED_DATA if turned else 0]]
        weights = self.graph.tensors[item.inputs[_WEIGHTS]]
        made = self.graph.tensors[item.outputs[0]]
        read, out = int(data.shape[-1]), int(made.shape[-1])
        window = [int(side) for side in weights.shape[1:3]]
        groups = read if alone else max(read // int(weights.shape[-1]), 1)
        each = math.prod(window) * (1 if alone else int(weights.shape[-1]))
        like = "a transposed convolution, priced as a plain one" if turned else self._mixed(data, weights)
        return convolution(
            name,
            kind,
            precision,
            window=window,
            channels=(read, out),
            groups=groups,
            macs=_size(data if turned else made) * (math.prod(window) * out if turned else each),
            numbers=_size(data) + _size(made),
            weight_bytes=_size(weights) * (1 if self._is_integer(weights) else 4),
            like=like,
        )

    def _product(self, item: Any, name: str, kind: str, precision: str) -> Operator:
        data, weights = (self.graph.tensors[item.inputs[place]] for place in (0, _WEIGHTS))
        columns = int(self.graph.tensors[item.outputs[0]].shape[-1])
        rows = max(_size(self.graph.tensors[item.outputs[0]]) // max(columns, 1), 1)
        like = "" if self._constant(weights) else "a product of two activations, priced as one with weights"
        return product(
            name,
            kind,
            precision,
            rows=rows,
            sizes=(max(_size(data) // rows, 1) if kind == "FULLY_CONNECTED" else int(data.shape[-1]), columns),
            weight_bytes=_size(weights) * (1 if self._is_integer(weights) else 4),
            like=like or self._mixed(data, weights),
        )

    def _mixed(self, data: Any, weights: Any) -> str:
        if self._is_integer(weights) and not self._is_integer(data):
            return "integer weights with float activations, priced in float"
        return ""

    def _constant(self, tensor: Any) -> bool:
        buffer = self._model.buffers[tensor.buffer]
        return (buffer.data is not None and len(buffer.data) > 0) or bool(buffer.size)

    def _is_integer(self, tensor: Any) -> bool:
        kinds = self._schema.TensorType
        return tensor.type in {kinds.INT8, kinds.UINT8}


def _indices(found: Sequence[int] | None) -> list[int]:
    return [int(index) for index in (() if found is None else found) if index != _NONE]


def _size(tensor: Any) -> int:
    return math.prod(int(side) for side in (() if tensor.shape is None else tensor.shape))
