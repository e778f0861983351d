"""Output channels whose weights are all zero, as folding leaves them, keep their bias.

ONNX Runtime's writer gives such a channel the weight step 1. A bias stands on the step of the input times that of the
weights, so its own becomes as coarse as the input's, and what the channel puts out is lost. Any step is right for
zeros: they get the median of the other channels'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.graph.operators import WEIGHTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from numpy.typing import NDArray

__all__ = ["mend_zero_channels"]

_INT32 = 2**31 - 1


def mend_zero_channels(written: onnx.ModelProto, source: onnx.ModelProto) -> int:
    """Gives channels of zeros a step, and their biases the codes that belong to it.

    Args:
        written: The QDQ graph; edited in place.
        source: The float graph it was written from.

    Returns:
        How many channels were mended.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in written.graph.initializer}
    makers = {name: node for node in written.graph.node for name in node.output}
    biases = _float_biases(source)
    mended: dict[str, NDArray[np.bool_]] = {}
    for node in written.graph.node:
        weight = makers.get(node.input[1]) if node.op_type in WEIGHTED and len(node.input) > 1 else None
        if weight is None or weight.op_type != "DequantizeLinear" or weight.input[0] not in constants:
            continue
        name = weight.input[1]
        if name not in mended:
            mended[name] = _mend_scale(constants, weight)
        if mended[name].any() and len(node.input) > 2:
            scale = np.asarray(numpy_helper.to_array(constants[name]), np.float64)
            _mend_bias(constants, makers, node, scale=scale, empty=mended[name], values=biases.get(node.name))
    return int(sum(channels.sum() for channels in mended.values()))


def _float_biases(source: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Constant biases of the float graph by the names of their operators, which all have one."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in source.graph.initializer}
    found: dict[str, NDArray[Any]] = {}
    for node in source.graph.node:
        if node.op_type in WEIGHTED and len(node.input) > 2 and node.input[2] in constants:
            found[node.name] = numpy_helper.to_array(constants[node.input[2]]).reshape(-1)
    return found


def _mend_scale(constants: Mapping[str, onnx.TensorProto], weight: onnx.NodeProto) -> NDArray[np.bool_]:
    """Which channels were all zeros and have a new step now."""
    from onnx import numpy_helper

    scale = numpy_helper.to_array(constants[weight.input[1]]).copy()
    codes = numpy_helper.to_array(constants[weight.input[0]])
    none = np.zeros(scale.shape, np.bool_)
    if scale.ndim != 1 or len(weight.input) < 3:
        return none
    axis = next((item.i for item in weight.attribute if item.name == "axis"), 1) % codes.ndim
    if codes.shape[axis] != len(scale):
        return none
    zero = numpy_helper.to_array(constants[weight.input[2]]).astype(np.int64)
    by_channel = np.moveaxis(codes, axis, 0).reshape(len(scale), -1).astype(np.int64)
    empty: NDArray[np.bool_] = (by_channel == zero[:, None]).all(axis=1)
    if not empty.any() or empty.all():
        return none
    scale[empty] = np.median(scale[~empty])
    constants[weight.input[1]].CopyFrom(numpy_helper.from_array(scale, weight.input[1]))
    return empty


def _mend_bias(
    constants: Mapping[str, onnx.TensorProto],
    makers: Mapping[str, onnx.NodeProto],
    node: onnx.NodeProto,
    *,
    scale: NDArray[np.float64],
    empty: NDArray[np.bool_],
    values: NDArray[Any] | None,
) -> None:
    from onnx import numpy_helper

    bias, reader = makers.get(node.input[2]), makers.get(node.input[0])
    if bias is None or reader is None or values is None or bias.op_type != "DequantizeLinear":
        return
    step = float(numpy_helper.to_array(constants[reader.input[1]]).reshape(-1)[0])
    codes = numpy_helper.to_array(constants[bias.input[0]]).copy()
    steps = numpy_helper.to_array(constants[bias.input[1]]).copy()
    if codes.shape != values.shape or steps.shape != empty.shape or len(values) != len(empty):
        return
    steps[empty] = (scale * step)[empty].astype(steps.dtype)
    exact = values[empty].astype(np.float64) / steps[empty].astype(np.float64)
    codes[empty] = np.clip(np.rint(exact), -_INT32 - 1, _INT32).astype(codes.dtype)
    constants[bias.input[0]].CopyFrom(numpy_helper.from_array(codes, bias.input[0]))
    constants[bias.input[1]].CopyFrom(numpy_helper.from_array(steps, bias.input[1]))
