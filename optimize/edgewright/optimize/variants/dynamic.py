"""Dynamic INT8: weights quantized beforehand, activations anew for every picture from their own extremes.

Needs no calibration. Matrix products gain from it on every processor; convolutions run as ConvInteger, for which
ONNX Runtime has no fast kernel, so that small vision networks become slower than in float: the judge will say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.bundle.errors import MissingExtraError
from edgewright.bundle.manifest import Precision
from edgewright.optimize.errors import JudgeError
from edgewright.optimize.passes.order import SortTopologically
from edgewright.optimize.variants.form import ModelForm

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx

__all__ = ["dynamic_form"]

_INTEGER = frozenset({"ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul"})


def dynamic_form(model: bytes, op_types: Collection[str] = ("Conv", "MatMul")) -> ModelForm:
    """Converts a prepared float graph with ONNX Runtime's writer, in memory.

    Args:
        model: The ONNX file.
        op_types: Kinds of operators to convert; Gemm goes with MatMul.

    Returns:
        The dynamic INT8 model, named ``dynamic``.

    Raises:
        JudgeError: The writer failed, or found nothing to convert.
        MissingExtraError: onnxruntime is not installed.
    """
    import onnx

    try:
        written = _write(onnx.load_model_from_string(model), op_types)
    except (ValueError, RuntimeError, KeyError) as error:
        msg = f"ONNX Runtime's dynamic quantizer refused the model: {error}"
        raise JudgeError(msg) from error
    del written.graph.value_info[:]
    result = SortTopologically().run(written).model
    count = sum(node.op_type in _INTEGER for node in result.graph.node)
    if not count:
        msg = f"dynamic INT8 found nothing to convert: the model holds no {', '.join(sorted(op_types))} with weights"
        raise JudgeError(msg)
    note = f"{count} operators quantize their inputs anew for every picture"
    return ModelForm("dynamic", result.SerializeToString(deterministic=True), Precision.INT8, notes=(note,))


def _write(source: onnx.ModelProto, op_types: Collection[str]) -> onnx.ModelProto:
    try:
        from onnxruntime.quantization import QuantizationMode, QuantType
        from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    except ImportError as error:
        what = "ONNX Runtime's quantizer, which writes INT8 models, is not installed"
        raise MissingExtraError(what, "optimize") from error
    quantizer = ONNXQuantizer(
        source,
        per_channel=False,  # ConvInteger has one zero point and scale a tensor
        reduce_range=False,
        mode=QuantizationMode.IntegerOps,
        static=False,
        weight_qType=QuantType.QUInt8,  # the only type that ConvInteger takes
        activation_qType=QuantType.QUInt8,
        tensors_range=None,
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=sorted(op_types),
        extra_options={"MatMulConstBOnly": True},
    )
    quantizer.quantize_model()
    written: onnx.ModelProto = quantizer.model.model
    return written
