"""Static INT8: a float ONNX graph and its activation ranges become a QDQ graph.

Written by ONNX Runtime's QDQ writer: activations uint8 (asymmetric), weights int8 per output channel (symmetric). On
x86 this is the fast form; names of inputs, outputs and nodes stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.errors import JudgeError
from edgewright.optimize.passes.order import SortTopologically
from edgewright.optimize.sizes import format_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx

__all__ = ["QuantizedGraph", "quantize_graph"]

_FLOATS = (1, 10, 11, 16)  # float32, float16, float64, bfloat16 in ONNX's numbering
_LARGE = 1024  # bytes
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# ONNX Runtime's optimizer would quantize weights again, per tensor, that were left in float on purpose.
_KEEP_FLOAT = {"disabled_optimizers": ["WeightBiasQuantization"]}


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
    model: bytes, ranges: Mapping[str, tuple[float, float]], keep_float: Collection[str] = ()
) -> QuantizedGraph:
    """Quantizes a prepared graph.

    Args:
        model: A float ONNX file, prepared (``edgewright.optimize.passes.prepare_graph``).
        ranges: Low and high of every float tensor.
        keep_float: Names of nodes to leave alone; the result then needs an engine option, which it carries.

    Returns:
        The INT8 file; topologically sorted, checked.

    Raises:
        JudgeError: The writer failed, or there was nothing it could quantize.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    import onnx

    source = onnx.load_model_from_string(model)
    try:
        written = _write(source, ranges, keep_float)
    except (ValueError, RuntimeError, KeyError) as error:
        msg = f"ONNX Runtime's quantizer refused the model: {error}"
        raise JudgeError(msg) from error
    # Shapes of intermediate values served the writer; in the file they only take room.
    del written.graph.value_info[:]
    result = SortTopologically().run(written).model
    onnx.checker.check_model(result)
    quantized, left = _count_weighted(result)
    if not quantized:
        kinds = ", ".join(sorted(_WEIGHTED))
        msg = f"nothing in this model can be quantized: it holds no {kinds} with constant weights"
        raise JudgeError(msg)
    engine = _KEEP_FLOAT if left else {}
    note = f"{quantized} operators with weights run in INT8" + (
        f", {len(left)} stay float: {_some(left)}" if left else ""
    )
    return QuantizedGraph(result.SerializeToString(deterministic=True), engine, (note, *_float_constants(result)))


def _write(
    source: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], keep_float: Collection[str]
) -> onnx.ModelProto:
    try:
        from onnxruntime.quantization import CalibrationMethod, QuantType
        from onnxruntime.quantization.calibrate import TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
    except ImportError as error:
        what = "ONNX Runtime's quantizer, which writes INT8 models, is not installed"
        raise MissingExtraError(what, "optimize") from error
    data = TensorsData(
        CalibrationMethod.MinMax,
        {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()},
    )
    quantizer = QDQQuantizer(
        source,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=data,
        nodes_to_quantize=[],
        nodes_to_exclude=sorted(keep_float),
        op_types_to_quantize=sorted({*QLinearOpsRegistry, *QDQRegistry}),
        extra_options={},
    )
    quantizer.quantize_model()
    written: onnx.ModelProto = quantizer.model.model
    return written


def _count_weighted(model: onnx.ModelProto) -> tuple[int, list[str]]:
    """How many weighted operators read dequantized weights, and the names of those that read float ones."""
    constants = {tensor.name for tensor in model.graph.initializer}
    dequantized = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    weighted = [node for node in model.graph.node if node.op_type in _WEIGHTED and len(node.input) > 1]
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
