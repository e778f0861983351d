"""The operators of an ONNX file as ONNX Runtime will run them: quantizers and activations drawn into their neighbours.

A node computes in INT8 where all it reads comes from DequantizeLinear, all that reads it is QuantizeLinear, and the engine
has an integer kernel for it; its quantizers then cost nothing. That is how ONNX Runtime's own rules read a QDQ graph.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import ModelError
from edgewright.optimize.estimate.convolution import convolution, product
from edgewright.optimize.estimate.operators import Kind, Operator, WorkTable
from edgewright.optimize.graph.cost import macs_of
from edgewright.optimize.graph.segments import node_id
from edgewright.optimize.sensitivity.structure import GraphView

if TYPE_CHECKING:
    import onnx

__all__ = ["onnx_operators"]

_TABLE = WorkTable(
    free=frozenset({"Constant", "Dropout", "Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze"}),
    fused=frozenset({"Clip", "Relu"}),
    moving=frozenset(
        {
            *("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "AveragePool", "GlobalAveragePool", "MaxPool"),
            *("ReduceMean", "ReduceSum", "ReduceMax", "Concat", "Expand", "Gather", "Pad", "Resize", "Slice", "Split"),
            *("Tile", "Transpose", "Upsample", "DepthToSpace", "SpaceToDepth", "Cast", "BatchNormalization"),
            *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Where"),
        }
    ),
    sums=frozenset({"Add", "Sub", "Mul"}),
    activation=frozenset(
        {
            *(
                "LeakyRelu",
                "PRelu",
                "Sigmoid",
                "Tanh",
                "Exp",
                "Log",
                "Sqrt",
                "Erf",
                "Elu",
                "Selu",
                "Softplus",
                "Abs",
                "Neg",
            ),
            *("HardSigmoid", "HardSwish", "Mish", "Gelu", "Softmax", "LogSoftmax", "Pow", "Reciprocal"),
        }
    ),
    leaky=frozenset({"LeakyRelu"}),
)
_INTEGER = frozenset(
    {
        *("Conv", "Gemm", "MatMul", "Add", "Mul", "AveragePool", "GlobalAveragePool", "MaxPool", "Concat", "Resize"),
        *(
            "LeakyRelu",
            "Sigmoid",
            "Softmax",
            "Reshape",
            "Flatten",
            "Squeeze",
            "Unsqueeze",
            "Transpose",
            "Slice",
            "Split",
        ),
        *("Gather", "Pad", "Relu", "Clip", "ReduceMean"),
    }
)
"""Operators for which the engine has an integer kernel, or which move integers as well as floats."""

_WRITTEN_INTEGER = {"QLinearConv": 3, "ConvInteger": 1, "QLinearMatMul": 3, "MatMulInteger": 1}
"""Operators that name integers themselves, and the input where their weights stand."""

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", *_WRITTEN_INTEGER})
_FUSES = frozenset({"Conv", "ConvTranspose", "Gemm", "Add"})
_FUSED_BY_CONVOLUTION = frozenset({"Clip", "Relu", "LeakyRelu", "HardSigmoid", "Sigmoid", "Tanh"})


def onnx_operators(model: bytes) -> tuple[Operator, ...]:
    """Reads a file.

    Args:
        model: An ONNX file with fixed shapes, float or quantized.

    Returns:
        One operator for each node, in order; those that cost nothing are among them.

    Raises:
        ModelError: It cannot be read, or a shape that counts is not fixed.
    """
    import onnx

    try:
        proto = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model), data_prop=True)
    except Exception as error:
        # protobuf's DecodeError, an inference error, or whatever else is made of bytes that are no message at all.
        msg = f"the ONNX file cannot be read: {' '.join(str(error).split())[:300]}"
        raise ModelError(msg) from error
    reader = _Reader(GraphView(proto))
    return tuple(reader.operator(node) for node in reader.view.nodes)


class _Reader:
    """Looks at nodes with their neighbours."""

    def __init__(self, view: GraphView) -> None:
        self.view = view
        self.shapes = {name: view.shape(name) for node in view.nodes for name in (*node.input, *node.output) if name}

    def operator(self, node: onnx.NodeProto) -> Operator:
        """One node as work."""
        name, kind = node_id(node), node.op_type
        if node.domain not in {"", "ai.onnx"} and kind not in {_QUANTIZE, _DEQUANTIZE}:
            return Operator(name, f"{node.domain}:{kind}", Kind.UNKNOWN)
        if self._constant(node) or self._drawn_in(node):
            return Operator(name, kind, Kind.FREE)
        precision = "int8" if self._integer(node) else "float32"
        if kind in _WEIGHTED:
            return self._weighted(node, precision)
        return _TABLE.plain(name, kind, precision, self._numbers(node))

    def _constant(self, node: onnx.NodeProto) -> bool:
        """Whether it is computed once, when the file is loaded."""
        return not self.view.data_inputs(node)

    def _integer(self, node: onnx.NodeProto) -> bool:
        if node.op_type in _WRITTEN_INTEGER:
            return True
        read = [self.view.producer.get(name) for name in self.view.data_inputs(node)]
        if node.op_type not in _INTEGER or not all(maker and maker.op_type == _DEQUANTIZE for maker in read):
            return False
        # A fully connected layer may give floats from integers; every other kernel gives what it takes.
        return node.op_type in {"Gemm", "MatMul"} or self._requantized(node)

    def _requantized(self, node: onnx.NodeProto) -> bool:
        readers = self._readers(node)
        if len(readers) == 1 and readers[0].op_type in _TABLE.fused:
            readers = self._readers(readers[0])
        return bool(readers) and all(reader.op_type == _QUANTIZE for reader in readers)

    def _drawn_in(self, node: onnx.NodeProto) -> bool:
        """Whether a neighbour does its work along with its own."""
        kind = node.op_type
        if kind == _DEQUANTIZE:
            readers = self._readers(node)
            return bool(readers) and all(self._integer(reader) for reader in readers)
        maker = self._maker(node)
        if maker is None:
            return False
        if kind == _QUANTIZE:
            if maker.op_type in _TABLE.fused:
                maker = self._maker(maker) or maker
            return self._integer(maker)
        alone = len(self._readers(maker)) == 1
        by_convolution = kind in _FUSED_BY_CONVOLUTION and maker.op_type in {"Conv", "Gemm"}
        by_any = kind in _TABLE.fused and maker.op_type in _FUSES
        return alone and (by_any or (by_convolution and not self._integer(maker)))

    def _weighted(self, node: onnx.NodeProto, precision: str) -> Operator:
        name, kind = node_id(node), node.op_type
        place = _WRITTEN_INTEGER.get(kind, 1)
        data, weights = self._shape(node, node.input[0]), self._shape(node, node.input[place])
        macs = macs_of(node, self.shapes)
        size = math.prod(weights) * (1 if precision == "int8" else 4)
        if "Conv" not in kind:
            made = self._shape(node, node.output[0])
            columns = made[-1] if len(made) > 1 else 1
            rows = max(math.prod(made) // columns, 1)
            constant = node.input[place] in self.view.constants or self._from_constant(node.input[place])
            like = "" if constant else "a product of two activations, priced as one with weights"
            sizes = (macs // (rows * columns), columns)
            return product(name, kind, precision, rows=rows, sizes=sizes, weight_bytes=size, like=like)
        turned = kind == "ConvTranspose"
        groups = _attribute(node, "group", 1)
        channels = (data[1], weights[1] * groups if turned else weights[0])
        like = "a transposed convolution, priced as a plain one" if turned else ""
        return convolution(
            name,
            kind,
            precision,
            window=weights[2:],
            channels=channels,
            groups=groups,
            macs=macs,
            numbers=math.prod(data) + self.view.size(node.output[0]),
            weight_bytes=size,
            like=like or ("integers anew for every picture" if kind.endswith("Integer") else ""),
        )

    def _from_constant(self, tensor: str) -> bool:
        maker = self.view.producer.get(tensor)
        return maker is not None and self._constant(maker)

    def _numbers(self, node: onnx.NodeProto) -> int:
        return sum(
            self.view.size(name) for name in (*self.view.data_inputs(node), *node.output) if self.view.shape(name)
        )

    def _readers(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [reader for name in node.output for reader in self.view.readers.get(name, [])]

    def _maker(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        return self.view.producer.get(node.input[0]) if node.input else None

    def _shape(self, node: onnx.NodeProto, tensor: str) -> tuple[int, ...]:
        shape = self.shapes.get(tensor, ())
        if not shape or 0 in shape:
            msg = f"the shape of {tensor!r} at node {node_id(node)!r} ({node.op_type}) is not fixed; fix the input's shape"
            raise ModelError(msg)
        return shape


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((int(item.i) for item in node.attribute if item.name == name), default)
