"""The ONNX graph as the writer reads it: plain nodes, constants as arrays, every shape known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import ConversionError
from edgewright.optimize.graph.segments import node_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from numpy.typing import NDArray

__all__ = ["Node", "SourceGraph", "read_source", "refuse"]

_QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True, eq=False)
class Node:
    """One operator.

    Attributes:
        name: As messages call it (``node_id``).
        kind: Operator, such as ``Conv``.
        inputs: Names, empty where an optional one is left out at the end or in between.
        outputs: Names.
        attributes: By name; texts are str.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def given(self, index: int) -> str:
        """Name of an input, empty where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""


def refuse(node: Node, reason: str) -> ConversionError:
    """The error for a node that cannot be written.

    Args:
        node: The node.
        reason: Why, without a full stop.
    """
    return ConversionError(
        f"{node.kind} {node.name!r} cannot be written as TFLite: {reason}",
        remedy="rewrite that part of the model, or choose --formats onnx",
    )


@dataclass(frozen=True, eq=False)
class SourceGraph:
    """A graph with fixed shapes.

    Attributes:
        nodes: In an order in which they can run; those whose results nobody reads are left out.
        constants: By name.
        shapes: Of every tensor.
        types: ONNX element type of every tensor that is not a constant.
        inputs: Names.
        outputs: Names.
        readers: The nodes that read a tensor.
        opset: Version of the standard operators.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    readers: dict[str, tuple[Node, ...]]
    opset: int


def read_source(model: bytes) -> SourceGraph:
    """Reads a file.

    Raises:
        ConversionError: It is no ONNX file, has shapes that are not fixed, or holds operators of another domain.
    """
    import onnx

    try:
        proto = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model), data_prop=True)
    except Exception as error:  # protobuf and onnx each raise their own kinds, the former without a common base
        msg = f"this is not an ONNX model that can be read: {error}"
        raise ConversionError(msg) from error
    constants = _initializers(proto)
    shapes, types = _shapes(proto)
    nodes = []
    for item in proto.graph.node:
        node = _node(item)
        if item.domain not in ("", "ai.onnx"):
            raise refuse(node, f"it is an operator of the domain {item.domain!r}")
        if not _folded(item, node, constants, shapes, proto):
            nodes.append(node)
    shapes |= {name: tuple(array.shape) for name, array in constants.items()}
    inputs = tuple(value.name for value in proto.graph.input if value.name not in constants)
    outputs = tuple(value.name for value in proto.graph.output)
    needed = _needed(nodes, outputs)
    _check_shapes(needed, inputs, shapes)
    opset = next((item.version for item in proto.opset_import if item.domain in ("", "ai.onnx")), 0)
    readers: dict[str, list[Node]] = {}
    for node in needed:
        for name in dict.fromkeys(node.inputs):
            readers.setdefault(name, []).append(node)
    kept = {name: tuple(found) for name, found in readers.items()}
    return SourceGraph(tuple(needed), constants, shapes, types, inputs, outputs, kept, opset)


def _initializers(proto: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    from onnx import TensorProto, numpy_helper

    outside = next((item.name for item in proto.graph.initializer if item.data_location == TensorProto.EXTERNAL), None)
    if outside is not None:
        msg = f"the weights {outside!r} lie in a file of their own; save the model with its weights inside"
        raise ConversionError(msg)
    return {item.name: _plain(numpy_helper.to_array(item)) for item in proto.graph.initializer}


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Wide and narrow floats as float32."""
    return array.astype(np.float32) if array.dtype.kind == "f" and array.dtype != np.float32 else np.asarray(array)


def _shapes(proto: onnx.ModelProto) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Shapes that are wholly known, and element types."""
    shapes, types = {}, {}
    for value in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output):
        tensor = value.type.tensor_type
        types[value.name] = tensor.elem_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return shapes, types


def _node(item: onnx.NodeProto) -> Node:
    from onnx import helper

    attributes = {entry.name: helper.get_attribute_value(entry) for entry in item.attribute}
    texts = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
    return Node(node_id(item), item.op_type, tuple(item.input), tuple(item.output), texts)


def _folded(
    item: onnx.NodeProto,
    node: Node,
    constants: dict[str, NDArray[Any]],
    shapes: Mapping[str, tuple[int, ...]],
    proto: onnx.ModelProto,
) -> bool:
    """Computes a node that reads constants only, and tells whether it did."""
    if node.kind == "Shape" and node.inputs[0] in shapes and not node.attributes:
        constants[node.outputs[0]] = np.array(shapes[node.inputs[0]], np.int64)
        return True
    known = all(not name or name in constants for name in node.inputs)
    if (
        not known
        or node.kind in _QUANTIZERS
        or node.kind.startswith("Random")
        or any(hasattr(value, "node") for value in node.attributes.values())
    ):
        return False
    from onnx.helper import make_graph, make_model, make_tensor_value_info
    from onnx.reference import ReferenceEvaluator

    names = [name for name in dict.fromkeys(node.inputs) if name]
    graph = make_graph(
        [item],
        "constant",
        [make_tensor_value_info(name, 1, None) for name in names],
        [make_tensor_value_info(name, 1, None) for name in node.outputs if name],
    )
    try:
        found = ReferenceEvaluator(make_model(graph, opset_imports=proto.opset_import)).run(
            None, {name: constants[name] for name in names}
        )
    except Exception:  # noqa: BLE001 - the evaluator raises anything; what it cannot do stays a node, and is judged as one
        return False
    constants.update(zip((name for name in node.outputs if name), map(_plain, map(np.asarray, found)), strict=True))
    return True


def _needed(nodes: list[Node], outputs: tuple[str, ...]) -> list[Node]:
    """The nodes whose results reach an output."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            wanted |= set(node.inputs)
            kept.append(node)
    return kept[::-1]


def _check_shapes(nodes: list[Node], inputs: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name in inputs:
        if not all(shapes.get(name, (0,))):
            msg = f"the shape of input {name!r} is not fixed; give the model fixed sizes first"
            raise ConversionError(msg)
    for node in nodes:
        unknown = next((name for name in node.outputs if name and name not in shapes), None)
        if unknown is not None:
            raise refuse(node, f"the shape of its result {unknown!r} is not fixed")
