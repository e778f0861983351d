"""Static INT8: a float ONNX graph and its activation ranges become a QDQ graph.

Written by ONNX Runtime's QDQ writer in the integers of a ``Scheme``. Names of inputs, outputs and nodes stay; a weight
``w`` becomes ``w_quantized`` with ``w_scale`` and ``w_zero_point``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.errors import JudgeError
from edgewright.optimize.graph.operators import WEIGHTED
from edgewright.optimize.graph.segments import node_id
from edgewright.optimize.passes.order import SortTopologically
from edgewright.optimize.quantization.scheme import IntegerType, Scheme
from edgewright.optimize.quantization.zero_biases import add_zero_biases
from edgewright.optimize.quantization.zero_channels import mend_zero_channels
from edgewright.optimize.sizes import format_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx

    from edgewright.optimize.types import Ranges

__all__ = ["KEEP_FLOAT_ENGINE", "QuantizedGraph", "quantize_graph"]

_FLOATS = (1, 10, 11, 16)  # float32, float16, float64, bfloat16 in ONNX's numbering
_LARGE = 1024  # bytes
_MATRIX = 2  # dimensions
KEEP_FLOAT_ENGINE: Mapping[str, Any] = {"disabled_optimizers": ["WeightBiasQuantization"]}
"""What the engine must be told wherever weights stay in float: else its optimizer quantizes them again, per tensor."""

# A graph output behind one of these can stay float for nothing; behind a convolution it would cost the integer kernel.
_FREE_FLOAT_OUTPUT = frozenset(
    {
        "Concat",
        "Flatten",
        "Gemm",
        "Identity",
        "MatMul",
        "Reshape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)


@dataclass(frozen=True, eq=False)
class QuantizedGraph:
    """An INT8 model.

    Attributes:
        model: The ONNX file.
        engine: Options the engine needs to run it as meant (``Variant.engine``).
        notes: What stayed float, in words.
    """

    model: bytes
    engine: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def quantize_graph(
    model: bytes, ranges: Ranges, keep_float: Collection[str] = (), scheme: Scheme | None = None
) -> QuantizedGraph:
    """Quantizes a prepared graph.

    Args:
        model: A float ONNX file, prepared (``edgewright.optimize.passes.prepare_graph``).
        ranges: Low and high of every float tensor.
        keep_float: Nodes to leave alone (``node_id``); the result then needs an engine option, which it carries.
        scheme: Which integers; None takes ``Scheme()``.

    Returns:
        The INT8 file; topologically sorted, checked.

    Raises:
        JudgeError: The writer failed, or there was nothing it could quantize.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    import onnx

    source = onnx.load_model_from_string(model)
    for node in source.graph.node:
        # The writer leaves nodes alone by their name, and some exporters give none.
        node.name = node_id(node)
    alone = {*keep_float, *_unwritable(source)}
    add_zero_biases(source, alone)
    try:
        written = _write(source, ranges, alone, scheme or Scheme())
    except (ValueError, RuntimeError, KeyError, IndexError) as error:
        msg = f"ONNX Runtime's quantizer refused the model: {error}"
        raise JudgeError(msg) from error
    mend_zero_channels(written, source)
    # Shapes of intermediate values served the writer; in the file they only take room.
    del written.graph.value_info[:]
    if scheme is None or scheme.float_outputs:
        _free_outputs(written)
    result = SortTopologically().run(written).model
    onnx.checker.check_model(result)
    quantized, left = _count_weighted(result)
    if not quantized:
        kinds = ", ".join(sorted(WEIGHTED))
        msg = f"nothing in this model can be quantized: it holds no {kinds} with constant weights"
        raise JudgeError(msg)
    engine = KEEP_FLOAT_ENGINE if left else {}
    note = f"{quantized} operators with weights run in INT8" + (
        f", {len(left)} stay float: {_some(left)}" if left else ""
    )
    return QuantizedGraph(result.SerializeToString(deterministic=True), engine, (note, *_float_constants(result)))


def _unwritable(source: onnx.ModelProto) -> frozenset[str]:
    """Operators that the writer gets wrong per channel: they stay float, and the notes name them."""
    dimensions = {tensor.name: len(tensor.dims) for tensor in source.graph.initializer}
    groups = {
        node.name: next((item.i for item in node.attribute if item.name == "group"), 1) for node in source.graph.node
    }
    return frozenset(
        node.name
        for node in source.graph.node
        if (node.op_type == "ConvTranspose" and groups[node.name] > 1)
        or (node.op_type == "MatMul" and dimensions.get(node.input[1], 2) > _MATRIX)
    )


def _write(source: onnx.ModelProto, ranges: Ranges, keep_float: Collection[str], scheme: Scheme) -> onnx.ModelProto:
    try:
        from onnxruntime.quantization import CalibrationMethod, QuantType
        from onnxruntime.quantization.calibrate import TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
    except ImportError as error:
        what = "ONNX Runtime's quantizer, which writes INT8 models, is not installed"
        raise MissingExtraError(what, "optimize") from error
    types = {IntegerType.UINT8: QuantType.QUInt8, IntegerType.INT8: QuantType.QInt8}
    data = TensorsData(
        CalibrationMethod.MinMax,
        {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()},
    )
    quantizer = QDQQuantizer(
        source,
        per_channel=scheme.per_channel,
        reduce_range=scheme.weight_bits < 8,
        weight_qType=types[scheme.weights],
        activation_qType=types[scheme.activations],
        tensors_range=data,
        nodes_to_quantize=[],
        nodes_to_exclude=sorted(keep_float),
        op_types_to_quantize=sorted({*QLinearOpsRegistry, *QDQRegistry}),
        extra_options={"ActivationSymmetric": scheme.activations is IntegerType.INT8},
    )
    quantizer.quantize_model()
    written: onnx.ModelProto = quantizer.model.model
    return written


def _free_outputs(model: onnx.ModelProto) -> None:
    """Takes QuantizeLinear and DequantizeLinear off graph outputs that can stay float for nothing."""
    producers = {name: node for node in model.graph.node for name in node.output}
    readers = Counter(name for node in model.graph.node for name in node.input)
    for output in model.graph.output:
        pair = _closing_pair(output.name, producers)
        if pair is None or readers[output.name]:
            continue
        quantize, dequantize = pair
        maker = producers.get(quantize.input[0])
        if maker is None or maker.op_type not in _FREE_FLOAT_OUTPUT or readers[quantize.input[0]] > 1:
            continue
        maker.output[list(maker.output).index(quantize.input[0])] = output.name
        model.graph.node.remove(dequantize)
        if readers[quantize.output[0]] == 1:
            model.graph.node.remove(quantize)
        _drop_unread(model)


def _closing_pair(output: str, producers: Mapping[str, onnx.NodeProto]) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    dequantize = producers.get(output)
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return None
    quantize = producers.get(dequantize.input[0])
    return (quantize, dequantize) if quantize is not None and quantize.op_type == "QuantizeLinear" else None


def _drop_unread(model: onnx.ModelProto) -> None:
    """Drops initializers that nothing reads."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _count_weighted(model: onnx.ModelProto) -> tuple[int, list[str]]:
    """How many weighted operators read dequantized weights, and the names of those that read float ones."""
    constants = {tensor.name for tensor in model.graph.initializer}
    dequantized = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    weighted = [node for node in model.graph.node if node.op_type in WEIGHTED and len(node.input) > 1]
    left = [node.name or node.output[0] for node in weighted if node.input[1] in constants]
    return sum(node.input[1] in dequantized for node in weighted), left


def _float_constants(model: onnx.ModelProto) -> tuple[str, ...]:
    """A note on the float constants that the INT8 file still holds, grids of quantized tensors aside."""
    grids = {
        name
        for node in model.graph.node
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}
        for name in node.input[1:]
    }
    readers = {name: node.op_type for node in model.graph.node for name in node.input}
    large = {
        tensor.name: tensor.ByteSize()
        for tensor in model.graph.initializer
        if tensor.data_type in _FLOATS and tensor.name not in grids and tensor.ByteSize() > _LARGE
    }
    if not large:
        return ()
    kinds = ", ".join(sorted({readers.get(name, "no operator") for name in large}))
    return (f"{format_bytes(sum(large.values()))} of the INT8 file are constants that stay float, in {kinds}",)


def _some(names: list[str]) -> str:
    shown = 3
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
