"""Moves the scaling of pixels at the front of a graph (Keras: ``Rescaling``, ``Normalization``) into the preprocessing.

The device scales pixels anyway; a second scaling inside the graph would cost time, and would stand between the uint8
picture and the first convolution. With ``y = a * x + b`` behind ``x = (pixel * scale - mean) / std``::

    y = (pixel * scale - (mean - b * std / a)) / (std / a)
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.manifest import Layout

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.spec import ModelSpec

__all__ = ["absorb_scaling"]

_CHANNELS = 3


def absorb_scaling(model: onnx.ModelProto, spec: ModelSpec) -> tuple[ModelSpec, tuple[str, ...]]:
    """Takes multiplications and additions by constants off the input, in place.

    Args:
        model: With one input.
        spec: With ``input_shape`` set.

    Returns:
        The spec that feeds the shorter graph the same values, and a note where something was moved.
    """
    factor, offset = np.ones(_CHANNELS), np.zeros(_CHANNELS)
    moved = 0
    while (step := _take_one(model.graph, spec.layout)) is not None:
        factor, offset = factor * step[0], offset * step[0] + step[1]
        moved += 1
    if not moved:
        return spec, ()
    pre = spec.preprocess
    mean, std = np.asarray(pre.mean), np.asarray(pre.std)
    if np.ptp(factor) == 0:
        # The same for every channel: the scale stays a scale, and reads as one.
        scaled = replace(pre, scale=pre.scale * float(factor[0]), mean=_triple(mean * factor - offset * std))
    else:
        scaled = replace(pre, mean=_triple(mean - offset * std / factor), std=_triple(std / factor))
    note = f"{moved} scalings of the pixels at the front of the graph were moved into the preprocessing"
    return replace(spec, preprocess=scaled), (note,)


def _triple(values: NDArray[Any]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third


def _take_one(graph: onnx.GraphProto, layout: Layout) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Removes the node behind the input if it scales; gives its factor and offset, one a channel."""
    from onnx import numpy_helper

    name = graph.input[0].name
    readers = [node for node in graph.node if name in node.input]
    outputs = {value.name for value in graph.output}
    if len(readers) != 1 or readers[0].op_type not in {"Mul", "Add", "Sub", "Div"} or readers[0].output[0] in outputs:
        return None
    node = readers[0]
    place = 1 - list(node.input).index(name)
    constant = next((tensor for tensor in graph.initializer if tensor.name == node.input[place]), None)
    value = None if constant is None else _per_channel(numpy_helper.to_array(constant), layout)
    if value is None:
        return None
    if node.op_type in {"Sub", "Div"} and place == 0:
        return None  # a constant minus, or divided by, the picture: no Keras layer writes that
    one, zero = np.ones(_CHANNELS), np.zeros(_CHANNELS)
    if node.op_type in {"Mul", "Div"} and not (np.isfinite(value).all() and value.all()):
        return None
    if node.op_type in {"Mul", "Div"}:
        step = (value if node.op_type == "Mul" else one / value), zero
    else:
        step = one, (value if node.op_type == "Add" else -value)
    for reader in graph.node:
        for index, read in enumerate(reader.input):
            if read == node.output[0]:
                reader.input[index] = name
    graph.node.remove(node)
    if constant is not None and not any(constant.name in reader.input for reader in graph.node):
        graph.initializer.remove(constant)
    return step


def _per_channel(constant: NDArray[Any], layout: Layout) -> NDArray[Any] | None:
    axis = 1 if layout is Layout.NCHW else 3
    shape = (1,) * (4 - constant.ndim) + constant.shape
    if len(shape) != 4 or any(size != 1 for index, size in enumerate(shape) if index != axis):
        return None
    if shape[axis] not in (1, _CHANNELS):
        return None
    return np.broadcast_to(constant.reshape(-1).astype(np.float64), (_CHANNELS,))
