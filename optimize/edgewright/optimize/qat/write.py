"""What was trained, written as every other INT8 file is: float graph, ranges, and the QDQ writer.

Weights go into the float graph as their integers stand for, and steps of activations into ranges, rounded so that the
writer finds the very same float32 steps. Afterwards every integer and every step of the file is compared with the
simulation's; one that differs is replaced, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.graph.segments import node_id
from edgewright.optimize.quantization.writer import QuantizedGraph, quantize_graph
from edgewright.optimize.quantization.zero_biases import add_zero_biases

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.qat.network import Network
    from edgewright.optimize.quantization.scheme import Scheme
    from edgewright.optimize.types import Ranges

__all__ = ["Written", "differences", "learnable_grids", "write_trained", "writer_step"]

_SCALE = "_scale"
_TINY = float(np.finfo(np.float32).tiny)
_BIASED = 3  # inputs


@dataclass(frozen=True, eq=False)
class Written:
    """A trained network as files.

    Attributes:
        model: The float graph with the trained weights.
        ranges: Of its tensors, with the trained steps.
        graph: The INT8 file.
        replaced: Constants of the file that the writer chose otherwise than the simulation.
    """

    model: bytes
    ranges: Ranges
    graph: QuantizedGraph
    replaced: int


def learnable_grids(graph: bytes, ranges: Ranges) -> frozenset[str]:
    """Names of the activation steps in a QDQ file that the writer takes from ranges.

    Others are fixed by it (such as those behind Softmax), or came from elsewhere; they are not trained.

    Args:
        graph: The QDQ file.
        ranges: That it was written with.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(graph)
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    found = set()
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or not node.input[1].endswith(_SCALE):
            continue
        pair = ranges.get(node.input[1].removesuffix(_SCALE))
        scale, zero = constants[node.input[1]], constants[node.input[2]]
        if pair is not None and scale.size == 1:
            step, code = writer_step(pair, zero.dtype)
            if step == float(scale.reshape(-1)[0]) and code == int(zero.reshape(-1)[0]):
                found.add(node.input[1])
    return frozenset(found)


def writer_step(pair: tuple[float, float], kind: np.dtype[Any]) -> tuple[float, int]:
    """Step and zero point that the writer makes of a range.

    Args:
        pair: Low and high.
        kind: uint8 is asymmetric, int8 symmetric.
    """
    low, high = min(np.float32(pair[0]), np.float32(0)), max(np.float32(pair[1]), np.float32(0))
    signed = kind == np.int8
    if signed:
        high = max(abs(low), abs(high))
        low = -high
    scale = (np.float64(high) - np.float64(low)) / (254.0 if signed else 255.0)
    if scale < _TINY:
        return 1.0, 0
    return float(np.float32(scale)), 0 if signed else int(np.round(-np.float64(low) / scale))


def write_trained(
    network: Network, model: bytes, ranges: Ranges, keep_float: Collection[str], scheme: Scheme
) -> Written:
    """Writes a trained simulation.

    Args:
        network: The simulation; its layers and grids are settled on what the files can say.
        model: The float graph that training started from.
        ranges: Of its tensors.
        keep_float: Nodes that stay float, as they did before.
        scheme: Which integers.

    Raises:
        JudgeError: The writer failed, or wrote another graph than the one that was trained.
    """
    trained = _settle_grids(network, ranges)
    for layer in network.layers.values():
        layer.settle()
    float_model = _with_weights(network, model)
    graph = quantize_graph(float_model, trained, keep_float, scheme)
    wanted = _constants_of(network, graph.model)
    changed = _differing(wanted, graph.model)
    if changed:
        graph = QuantizedGraph(
            _replaced(graph.model, {name: wanted[name] for name in changed}), graph.engine, graph.notes
        )
    return Written(float_model, trained, graph, len(changed))


def differences(network: Network, graph: bytes) -> tuple[str, ...]:
    """Names of integers and steps in a QDQ file that are not those of the simulation."""
    return _differing(_constants_of(network, graph), graph)


def _settle_grids(network: Network, ranges: Ranges) -> dict[str, tuple[float, float]]:
    """Ranges whose steps are the trained ones; where float32 cannot say one, the grid takes the nearest it can."""
    trained = dict(ranges)
    for name, grid in network.grids.items():
        if not grid.change.requires_grad:
            continue
        low, high = ((limit - grid.zero_point) * float(grid.scale.detach()) for limit in grid.limits)
        if grid.limits[0] < 0:
            low = -high
        pair = float(np.float32(low)), float(np.float32(high))
        step, _ = writer_step(pair, np.dtype(np.int8 if grid.limits[0] < 0 else np.uint8))
        grid.settle(step)
        trained[name.removesuffix(_SCALE)] = pair
    return trained


def _with_weights(network: Network, model: bytes) -> bytes:
    import onnx
    from onnx import numpy_helper

    source = onnx.load_model_from_string(model)
    for node in source.graph.node:
        node.name = node_id(node)
    layers = network.layers
    biased = {name for name, layer in layers.items() if layer.has_bias}
    add_zero_biases(source, {node.name for node in source.graph.node} - biased)
    constants = {item.name: item for item in source.graph.initializer}
    for node in source.graph.node:
        layer = layers.get(node.name)
        if layer is None:
            continue
        new = {node.input[1]: layer.base}
        if layer.has_bias:
            new[node.input[2]] = layer.bias_base
        for name, value in new.items():
            tensor = constants[name]
            array = value.cpu().numpy().astype(np.float32).reshape(tuple(tensor.dims))
            tensor.CopyFrom(numpy_helper.from_array(array, name))
    data: bytes = source.SerializeToString(deterministic=True)
    return data


def _constants_of(network: Network, graph: bytes) -> dict[str, NDArray[Any]]:
    """What the simulation says of the integers and steps in a file, by their names there."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(graph)
    stored = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    layers = network.layers
    wanted: dict[str, NDArray[Any]] = {}

    def want(name: str, value: Any) -> None:
        wanted[name] = np.asarray(value).astype(stored[name].dtype).reshape(stored[name].shape)

    seen = set()
    for node in model.graph.node:
        layer = layers.get(node.name)
        if layer is None or layer.grid is None:
            continue
        seen.add(node.name)
        weight = makers.get(node.input[1])
        if weight is None or weight.op_type != "DequantizeLinear":
            msg = f"layer {node.name!r} was trained in integers and written in float"
            raise JudgeError(msg)
        integers = layer.integers()
        for name, value in zip(weight.input, (integers.codes, integers.scale, integers.zero), strict=False):
            want(name, value.numpy())
        bias = makers.get(node.input[2]) if len(node.input) >= _BIASED else None
        if integers.bias is not None and integers.bias_scale is not None and bias is not None:
            want(bias.input[0], integers.bias.numpy())
            want(bias.input[1], integers.bias_scale.numpy())
    missing = [name for name, layer in layers.items() if layer.grid is not None and name not in seen]
    missing += [name for name in network.grids if name not in stored]
    if missing:
        msg = f"the writer left out what was trained: {', '.join(missing[:3])}"
        raise JudgeError(msg)
    for name, grid in network.grids.items():
        want(name, grid.base.numpy())
    return wanted


def _differing(wanted: Mapping[str, NDArray[Any]], graph: bytes) -> tuple[str, ...]:
    import onnx
    from onnx import numpy_helper

    stored = {item.name: item for item in onnx.load_model_from_string(graph).graph.initializer}
    return tuple(
        name for name, value in wanted.items() if not np.array_equal(numpy_helper.to_array(stored[name]), value)
    )


def _replaced(graph: bytes, wanted: Mapping[str, NDArray[Any]]) -> bytes:
    import onnx
    from onnx import numpy_helper

    model: onnx.ModelProto = onnx.load_model_from_string(graph)
    for item in model.graph.initializer:
        if item.name in wanted:
            item.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(wanted[item.name]), item.name))
    data: bytes = model.SerializeToString(deterministic=True)
    return data
