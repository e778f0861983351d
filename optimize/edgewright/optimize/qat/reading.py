"""What an ONNX graph says that is needed to build a network: weights, shapes, constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import ModelError
from edgewright.optimize.graph.operators import WEIGHTED
from edgewright.optimize.graph.segments import node_id

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

__all__ = ["FloatWeights", "constant_of", "float_weights", "moved_to", "shapes_of"]

_BIASED = 3  # inputs


@dataclass(frozen=True, eq=False)
class FloatWeights:
    """Weights and biases of a float graph by node."""

    weights: dict[str, NDArray[Any]]
    biases: dict[str, NDArray[Any]]


def float_weights(model: onnx.ModelProto) -> FloatWeights:
    """Constant weights of a float graph.

    Raises:
        ModelError: Two layers share one.
    """
    from onnx import numpy_helper

    constants = {item.name: item for item in model.graph.initializer}
    found, owners = FloatWeights({}, {}), dict[str, str]()
    for node in model.graph.node:
        if node.op_type not in WEIGHTED or len(node.input) < 2 or node.input[1] not in constants:
            continue
        name = node_id(node)
        if owners.setdefault(node.input[1], name) != name:
            msg = f"layers {owners[node.input[1]]!r} and {name!r} share weights; prepare the graph before it is trained"
            raise ModelError(msg)
        found.weights[name] = numpy_helper.to_array(constants[node.input[1]])
        if len(node.input) >= _BIASED and node.input[2] in constants:
            found.biases[name] = numpy_helper.to_array(constants[node.input[2]]).reshape(-1)
    return found


def shapes_of(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes of computed values, where all sizes are known and none is 0."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found: dict[str, tuple[int, ...]] = {}
    for value in (*graph.value_info, *graph.output):
        sizes = tuple(int(dim.dim_value) for dim in value.type.tensor_type.shape.dim)
        if value.type.tensor_type.HasField("shape") and sizes and all(sizes):
            found[value.name] = sizes
    return found


def moved_to(value: NDArray[Any], real: NDArray[Any], scale: NDArray[Any], axis: int | None) -> NDArray[np.float32]:
    """Float values, but what the file's integers stand for wherever a pass moved them further than rounding does."""
    shape = [1] * value.ndim
    if axis is not None and scale.size > 1:
        shape[axis] = -1
    step = scale.astype(np.float64).reshape(shape if scale.size > 1 else [1] * value.ndim)
    near = np.abs(value.astype(np.float64) - real) <= 0.5001 * step
    return np.asarray(np.where(near, value, real), np.float32)


def constant_of(node: onnx.NodeProto) -> NDArray[Any]:
    """The value of a Constant node.

    Raises:
        ModelError: It is of a rare kind.
    """
    from onnx import numpy_helper

    for item in node.attribute:
        if item.name == "value":
            return numpy_helper.to_array(item.t)
        if item.name in {"value_float", "value_int"}:
            return np.array(item.f if item.name == "value_float" else item.i)
    msg = f"cannot train with node {node_id(node)!r}: a constant of this kind is not known"
    raise ModelError(msg)
