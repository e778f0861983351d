"""Folds what is left of batch norms behind convolutions: the converter leaves a Mul and an Add behind depthwise ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

__all__ = ["fold_scales"]


def fold_scales(model: onnx.ModelProto) -> tuple[str, ...]:
    """Multiplies ``Mul`` and adds ``Add`` by one constant a channel into the convolution in front, in place.

    Args:
        model: With weights as initializers and shapes of no account.

    Returns:
        A note, where something was folded.
    """
    folded = 0
    while _fold_one(model.graph):
        folded += 1
    return (f"{folded} multiplications and additions behind convolutions were folded into them",) if folded else ()


def _fold_one(graph: onnx.GraphProto) -> bool:
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    readers: dict[str, int] = {value.name: 1 for value in graph.output}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    for node in graph.node:
        if node.op_type not in ("Mul", "Add"):
            continue
        value = next((name for name in node.input if name in makers and readers[name] == 1), None)
        other = next((name for name in node.input if name in constants), None)
        if value is None or other is None or makers[value].input[1] not in constants:
            continue
        conv = makers[value]
        weight = numpy_helper.to_array(constants[conv.input[1]])
        channel = _per_channel(numpy_helper.to_array(constants[other]), weight)
        has_bias = len(conv.input) > 2 and bool(conv.input[2])
        if channel is None or (has_bias and conv.input[2] not in constants):
            continue
        bias = numpy_helper.to_array(constants[conv.input[2]]) if has_bias else np.zeros(len(weight), np.float32)
        if node.op_type == "Mul":
            weight, bias = weight * channel.reshape(-1, *[1] * (weight.ndim - 1)), bias * channel
        else:
            bias = bias + channel
        output = node.output[0]
        graph.node.remove(node)
        _replace(graph, conv, output, weight, bias)
        return True
    return False


def _per_channel(constant: NDArray[Any], weight: NDArray[Any]) -> NDArray[np.float32] | None:
    """One value an output channel; None where the constant differs along another axis."""
    if constant.dtype != np.float32 or weight.dtype != np.float32:
        return None
    shape = (1,) * (weight.ndim - constant.ndim) + constant.shape
    if len(shape) != weight.ndim or any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return None
    if shape[1] not in (1, len(weight)):
        return None
    return np.broadcast_to(constant.reshape(-1), (len(weight),)).astype(np.float32)


def _replace(
    graph: onnx.GraphProto, conv: onnx.NodeProto, output: str, weight: NDArray[Any], bias: NDArray[Any]
) -> None:
    """New constants under new names: the old ones may serve another node as well."""
    from onnx import numpy_helper

    names = f"{output}/weight", f"{output}/bias"
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name)
        for name, array in zip(names, (weight, bias), strict=True)
    )
    del conv.input[1:]
    conv.input.extend(names)
    gone = conv.output[0]
    conv.output[0] = output
    for entry in [entry for entry in graph.value_info if entry.name == gone]:
        graph.value_info.remove(entry)
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
