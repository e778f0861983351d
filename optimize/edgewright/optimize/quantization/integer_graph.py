"""A quantized graph seen as layers of integers, which rounding and correction passes may change.

Only what ``quantize_graph`` writes is understood: weights behind ``DequantizeLinear``, activations between
``QuantizeLinear`` and ``DequantizeLinear``, biases as int32 behind a ``DequantizeLinear`` of their own.

Example:
    >>> graph = IntegerGraph(int8.model)                                     # doctest: +SKIP
    >>> layer = graph.layers[0]                                              # doctest: +SKIP
    >>> graph.set_codes(layer.node, better_codes)                            # doctest: +SKIP
    >>> changed = graph.to_bytes()                                           # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.graph.operators import WEIGHTED
from edgewright.optimize.graph.segments import node_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from numpy.typing import NDArray

__all__ = ["IntegerGraph", "IntegerLayer", "TensorGrid"]


@dataclass(frozen=True)
class TensorGrid:
    """The integers of one activation tensor: ``real = (code - zero_point) * scale``.

    Attributes:
        tensor: Name of the float tensor that is quantized.
        scale: Step.
        zero_point: Code of 0.0.
        low: Smallest code.
        high: Largest code.
    """

    tensor: str
    scale: float
    zero_point: int
    low: int
    high: int

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest real value."""
        return (self.low - self.zero_point) * self.scale, (self.high - self.zero_point) * self.scale


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """One operator with quantized weights.

    Attributes:
        node: Its id (``node_id``), the same as in the float graph.
        op_type: Conv, ConvTranspose, Gemm or MatMul.
        weight: Name of the float initializer it came from.
        codes: Integer weights in the operator's layout, int8 or uint8.
        scale: Step of the weights, (channels,) or (1,), float32.
        zero_point: Codes of 0.0, shaped as ``scale``.
        axis: Axis of the output channels in ``codes``.
        bias: int32 (channels,), None where there is none or it is float.
        bias_scale: Step of the bias, (channels,) or (1,), None without bias.
        input: Grid of its input.
        input_tensor: Name of the tensor it reads in this graph (the dequantized one).
        output: Name of its output tensor in this graph.
        grid: Grid of the output, None where the output stays float.
        attributes: Of the operator, by name.
    """

    node: str
    op_type: str
    weight: str
    codes: NDArray[Any]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int
    bias: NDArray[np.int32] | None
    bias_scale: NDArray[np.float32] | None
    input: TensorGrid
    input_tensor: str
    output: str
    grid: TensorGrid | None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """How many output channels."""
        return int(self.codes.shape[self.axis]) if self.codes.ndim else 1

    @property
    def depthwise(self) -> bool:
        """Whether every output channel of this convolution sees one input channel only."""
        return self.op_type == "Conv" and int(self.attributes.get("group", 1)) > 1 and self.codes.shape[1] == 1

    @property
    def reals(self) -> NDArray[np.float32]:
        """The weights that the codes stand for, in the operator's layout."""
        shape = [1] * self.codes.ndim
        if len(self.scale) > 1:
            shape[self.axis] = -1
        codes = self.codes.astype(np.float32) - self.zero_point.astype(np.float32).reshape(shape)
        return np.asarray(codes * self.scale.reshape(shape), np.float32)


class IntegerGraph:
    """A QDQ file whose integers can be read and replaced."""

    def __init__(self, model: bytes) -> None:
        """Parses the file.

        Args:
            model: As ``quantize_graph`` writes it.
        """
        import onnx

        self._model = onnx.load_model_from_string(model)
        graph = self._model.graph
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._producers = {name: node for node in graph.node for name in node.output}
        self._quantizers = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
        self._nodes = {
            node_id(node): node for node in graph.node if node.op_type in WEIGHTED and self._quantized_weight(node)
        }

    @property
    def layers(self) -> tuple[IntegerLayer, ...]:
        """All operators with quantized weights, in the graph's order, with their integers as they are now."""
        return tuple(self._layer(name, node) for name, node in self._nodes.items())

    def layer(self, node: str) -> IntegerLayer:
        """One of them.

        Raises:
            KeyError: There is no such layer.
        """
        return self._layer(node, self._nodes[node])

    def set_codes(self, node: str, codes: NDArray[Any]) -> None:
        """Replaces a layer's integer weights.

        Args:
            node: Its id.
            codes: Of the same shape and type; for seven-bit weights keeping to their range is the caller's duty.

        Raises:
            JudgeError: Shape or type differ.
        """
        name = self._dequantizer(self._nodes[node].input[1]).input[0]
        self._replace(name, codes)

    def set_bias(self, node: str, values: NDArray[np.int32]) -> None:
        """Replaces a layer's integer bias.

        Raises:
            JudgeError: The layer has no integer bias, or shape or type differ.
        """
        bias = self._nodes[node].input[2] if len(self._nodes[node].input) > 2 else ""
        source = self._producers.get(bias)
        if source is None:
            msg = f"layer {node!r} has no integer bias to replace"
            raise JudgeError(msg)
        self._replace(source.input[0], values)

    def to_bytes(self) -> bytes:
        """The file with all changes."""
        data: bytes = self._model.SerializeToString(deterministic=True)
        return data

    def _replace(self, name: str, values: NDArray[Any]) -> None:
        from onnx import numpy_helper

        old = numpy_helper.to_array(self._constants[name])
        if old.shape != values.shape or old.dtype != values.dtype:
            msg = f"{name} is {old.dtype} {old.shape}, it cannot be replaced by {values.dtype} {values.shape}"
            raise JudgeError(msg)
        self._constants[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))

    def _quantized_weight(self, node: onnx.NodeProto) -> bool:
        source = self._producers.get(node.input[1]) if len(node.input) > 1 else None
        return (
            source is not None
            and source.op_type == "DequantizeLinear"
            and source.input[0] in self._constants
            and self._grid_of(node.input[0]) is not None
        )

    def _dequantizer(self, name: str) -> onnx.NodeProto:
        node: onnx.NodeProto = self._producers[name]
        return node

    def _layer(self, name: str, node: onnx.NodeProto) -> IntegerLayer:
        import onnx

        weight = self._dequantizer(node.input[1])
        codes, scale = self._array(weight.input[0]), np.atleast_1d(self._array(weight.input[1]))
        zero = self._array(weight.input[2]) if len(weight.input) > 2 else np.zeros(scale.shape, np.int64)
        bias, bias_scale = self._bias(node)
        grid = self._grid_of(node.input[0])
        if grid is None:  # _quantized_weight has seen it
            msg = f"layer {name!r} reads a tensor that is not quantized"
            raise JudgeError(msg)
        return IntegerLayer(
            node=name,
            op_type=node.op_type,
            weight=weight.input[0].removesuffix("_quantized"),
            codes=codes,
            scale=scale.astype(np.float32),
            zero_point=np.atleast_1d(zero).astype(np.int64),
            axis=_channel_axis(node, codes.ndim),
            bias=bias,
            bias_scale=bias_scale,
            input=grid,
            input_tensor=node.input[0],
            output=node.output[0],
            grid=self._output_grid(node.output[0]),
            attributes={item.name: onnx.helper.get_attribute_value(item) for item in node.attribute},
        )

    def _bias(self, node: onnx.NodeProto) -> tuple[NDArray[np.int32] | None, NDArray[np.float32] | None]:
        source = self._producers.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if source is None or source.op_type != "DequantizeLinear":
            return None, None
        scale = np.atleast_1d(self._array(source.input[1])).astype(np.float32)
        return self._array(source.input[0]), scale

    def _grid_of(self, tensor: str) -> TensorGrid | None:
        """The grid of a dequantized tensor."""
        dequantize = self._producers.get(tensor)
        if dequantize is None or dequantize.op_type != "DequantizeLinear" or dequantize.input[1] not in self._constants:
            return None
        quantize = self._producers.get(dequantize.input[0])
        name = (
            quantize.input[0] if quantize is not None and quantize.op_type == "QuantizeLinear" else dequantize.input[0]
        )
        return self._grid(name, dequantize)

    def _output_grid(self, tensor: str) -> TensorGrid | None:
        quantize = self._quantizers.get(tensor)
        return None if quantize is None else self._grid(tensor, quantize)

    def _grid(self, tensor: str, node: onnx.NodeProto) -> TensorGrid:
        zero = self._array(node.input[2]) if len(node.input) > 2 else np.zeros((), np.uint8)
        limits = np.iinfo(zero.dtype)
        scale = float(self._array(node.input[1]).reshape(-1)[0])
        return TensorGrid(tensor, scale, int(zero.reshape(-1)[0]), int(limits.min), int(limits.max))

    def _array(self, name: str) -> NDArray[Any]:
        from onnx import numpy_helper

        return np.asarray(numpy_helper.to_array(self._constants[name]))


def _channel_axis(node: onnx.NodeProto, dimensions: int) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm" and any(item.name == "transB" and item.i for item in node.attribute):
        return 0
    return max(dimensions - 1, 0)
