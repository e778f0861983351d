"""INT8 weights, float arithmetic: a file of a quarter of the size, at the speed of float.

Each weight tensor is stored as int8 with one symmetric scale per output channel, and becomes float again through Cast
and Mul. The engine folds these two once, while it loads. A DequantizeLinear would say the same, but engines treat it
as part of an integer graph: ONNX Runtime keeps it, and multiplies all weights again for every picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.manifest import Precision
from edgewright.optimize.errors import ModelError
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.variants.form import ModelForm

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.quantization.writer import QuantizedGraph

__all__ = ["quantize_weight", "weight_only_form"]

_AXES = {"Conv": 0, "ConvTranspose": 1}
_TOP = 127
_FEW = 256  # values; below that the scales would eat what is saved


def weight_only_form(model: bytes, rounded: QuantizedGraph | None = None) -> ModelForm:
    """Converts a prepared float graph.

    Args:
        model: The ONNX file, topologically sorted.
        rounded: An INT8 graph made of it, whose codes the rounding passes have bettered: they serve here as well.

    Returns:
        The same network with INT8 weights, named ``weight-only``.

    Raises:
        ModelError: There are no weights to convert.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    source = onnx.load_model_from_string(model)
    constants = {tensor.name: tensor for tensor in source.graph.initializer}
    axes = _weights(source)
    better = _rounded(rounded)
    nodes: list[onnx.NodeProto] = []
    stored: list[onnx.TensorProto] = []
    converted = 0
    for name, axis in axes.items():
        values = np.asarray(numpy_helper.to_array(constants[name]))
        if values.dtype != np.float32 or values.size < _FEW:
            continue
        codes, scale = better.get(name) or quantize_weight(values, axis)
        if codes.shape != values.shape:
            codes, scale = quantize_weight(values, axis)
        stored += [
            numpy_helper.from_array(codes, f"{name}_quantized"),
            numpy_helper.from_array(scale, f"{name}_scale"),
        ]
        nodes += [
            helper.make_node("Cast", [f"{name}_quantized"], [f"{name}_codes"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_codes", f"{name}_scale"], [name], name=f"{name}_restore"),
        ]
        source.graph.initializer.remove(constants[name])
        converted += 1
    if not converted:
        msg = "this model has no weights of convolutions or matrix products that could be stored in INT8"
        raise ModelError(msg)
    nodes += source.graph.node
    del source.graph.node[:]
    source.graph.node.extend(nodes)
    source.graph.initializer.extend(stored)
    onnx.checker.check_model(source)
    note = f"{converted} weight tensors are stored in INT8 and become float while the model is loaded"
    return ModelForm("weight-only", source.SerializeToString(deterministic=True), Precision.FLOAT32, notes=(note,))


def quantize_weight(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Rounds weights to int8, symmetrically.

    Args:
        values: The weights.
        axis: Of the output channels.

    Returns:
        Codes -127..127, and the step of each channel shaped to meet them.
    """
    others = tuple(k for k in range(values.ndim) if k != axis)
    scale = np.abs(values).max(axis=others, keepdims=True).astype(np.float32) / np.float32(_TOP)
    scale = np.where(scale > 0, scale, np.float32(1))
    return np.clip(np.rint(values / scale), -_TOP, _TOP).astype(np.int8), scale


def _rounded(graph: QuantizedGraph | None) -> dict[str, tuple[NDArray[np.int8], NDArray[np.float32]]]:
    """Codes and steps of a graph's symmetric weights, by the float weight's name, the steps shaped to meet the codes."""
    found: dict[str, tuple[NDArray[np.int8], NDArray[np.float32]]] = {}
    for layer in IntegerGraph(graph.model).layers if graph is not None else ():
        if layer.codes.dtype == np.int8 and not layer.zero_point.any():
            shape = [1] * layer.codes.ndim
            shape[layer.axis] = -1 if len(layer.scale) > 1 else 1
            found[layer.weight] = (layer.codes, layer.scale.reshape(shape))
    return found


def _weights(source: onnx.ModelProto) -> dict[str, int]:
    """Constant weights and the axis of their output channels; those that other operators read as well are left out."""
    constants = {tensor.name: len(tensor.dims) for tensor in source.graph.initializer}
    found: dict[str, int] = {}
    barred = {output.name for output in source.graph.output}
    for node in source.graph.node:
        for index, name in enumerate(node.input):
            axis = _axis(node, constants[name]) if index == 1 and name in constants else None
            if axis is None or found.get(name, axis) != axis:
                barred.add(name)
            else:
                found[name] = axis
    return {name: axis for name, axis in found.items() if name not in barred}


def _axis(node: onnx.NodeProto, dimensions: int) -> int | None:
    if node.op_type in _AXES:
        return _AXES[node.op_type] if dimensions > 2 else None
    if node.op_type == "Gemm" and dimensions == 2:
        attributes: dict[str, Any] = {item.name: item.i for item in node.attribute}
        return 0 if attributes.get("transB", 0) else 1
    return dimensions - 1 if node.op_type == "MatMul" and dimensions > 1 else None
