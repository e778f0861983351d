"""What a graph costs whoever runs it: parameters, multiplications, bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.optimize.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx

__all__ = ["GraphCost", "cost_of", "macs_of"]

_SCALED = {
    # Operators that take scales and zero points, and the inputs where those stand.
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
}
_PLACE = {"QLinearConv": (0, 3), "QLinearMatMul": (0, 3)}  # of data and weights, where it is not (0, 1)
_WEIGHTED = {
    "Conv": "Conv",
    "QLinearConv": "Conv",
    "ConvInteger": "Conv",
    "ConvTranspose": "ConvTranspose",
    "Gemm": "Gemm",
    "MatMul": "MatMul",
    "QLinearMatMul": "MatMul",
    "MatMulInteger": "MatMul",
}


@dataclass(frozen=True)
class GraphCost:
    """The cost of one ONNX file.

    Attributes:
        parameters: Numbers that were trained: constants of float or of quantized type that hold more than one number,
            without scales and zero points.
        macs: Multiplications of convolutions and matrix products, for the inputs' shapes.
        bytes: Size of the file.
    """

    parameters: int
    macs: int
    bytes: int

    def to_json(self) -> dict[str, int]:
        """Plain values by name."""
        return {"parameters": self.parameters, "macs": self.macs, "bytes": self.bytes}


def cost_of(model: bytes) -> GraphCost:
    """Reads the cost off a file.

    Args:
        model: An ONNX file with fixed shapes, float or quantized.

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
    shapes = _shapes(proto.graph)
    macs = sum(macs_of(node, shapes) for node in proto.graph.node)
    return GraphCost(_parameters(proto.graph), macs, len(model))


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def _parameters(graph: onnx.GraphProto) -> int:
    from onnx import TensorProto

    trained = {
        *(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE),
        *(TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32),
    }
    aside = {
        node.input[place] for node in graph.node for place in _SCALED.get(node.op_type, ()) if place < len(node.input)
    }
    aside |= {name for node in graph.node if node.op_type == "Resize" for name in node.input[1:]}
    sizes = {
        name: math.prod(tensor.dims)
        for name, tensor in _constants(graph)
        if tensor.data_type in trained and name not in aside
    }
    return sum(size for size in sizes.values() if size > 1)


def _shapes(graph: onnx.GraphProto) -> Mapping[str, tuple[int, ...]]:
    shapes = {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }
    return {**shapes, **{name: tuple(tensor.dims) for name, tensor in _constants(graph)}}


def macs_of(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiplications of one node; 0 where it is no convolution and no matrix product.

    Args:
        node: Any node.
        shapes: Of its inputs and outputs.

    Raises:
        ModelError: A shape that counts is not fixed.
    """
    if node.op_type not in _WEIGHTED:
        return 0
    data, weights = (node.input[place] for place in _PLACE.get(node.op_type, (0, 1)))

    def shape(name: str) -> tuple[int, ...]:
        found = shapes.get(name)
        if found is None or 0 in found:
            msg = (
                f"the shape of {name!r} at node {node.name or node.output[0]!r} ({node.op_type}) is not fixed, so its "
                "multiplications cannot be counted; fix the input's shape"
            )
            raise ModelError(msg)
        return found

    kind = _WEIGHTED[node.op_type]
    if kind == "Conv":
        return math.prod(shape(node.output[0])) * math.prod(shape(weights)[1:])
    if kind == "ConvTranspose":
        return math.prod(shape(data)) * math.prod(shape(weights)[1:])
    if kind == "Gemm":
        turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return math.prod(shape(node.output[0])) * shape(data)[0 if turned else 1]
    made = shape(node.output[0]) if len(shapes.get(node.output[0], ())) else ()
    return math.prod(made) * shape(data)[-1]
