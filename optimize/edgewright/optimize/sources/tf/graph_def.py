"""A TF1 frozen graph, cut at the tensors that the user names. Runs in the child process.

Only the part between the cuts is ever given to TensorFlow: a graph's own resizing in front and its non-maximum
suppression behind are full of loops, and are done on the device by preprocessing and decoding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import ModelError
from edgewright.optimize.sources.tf.frozen import Frozen, check_nodes, fixed_shape

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edgewright.optimize.sources.tf.names import GraphNames

__all__ = ["freeze_graph"]

_REMEDY = (
    "name tensors on the near side of it with --graph-inputs (behind the graph's own resizing) and --graph-outputs (in "
    "front of its non-maximum suppression: the box codes and the class scores)"
)
_SHOWN = 8
_MAX_VALUES = 1 << 29  # 2 GiB of float32


def freeze_graph(path: Path, names: GraphNames, size: tuple[int, int] | None, where: str) -> Frozen:
    """Reads and cuts.

    Raises:
        ModelError: It is no graph, a name is not in it, or what lies between the cuts is no picture model.
    """
    import tensorflow as tf

    graph = _parse(path, where)
    nodes = {node.name: node for node in graph.node}
    if not (names.inputs and names.outputs):
        raise ModelError(_unnamed(nodes, where))
    for tensor in (*names.inputs, *names.outputs):
        if _node(tensor) not in nodes:
            msg = f"{where} has no node {_node(tensor)!r}; {_ends(nodes)}"
            raise ModelError(msg)
    picture = names.inputs[0]
    dims, dtype = _input_type(nodes[_node(picture)], size)
    shape = fixed_shape(picture, dims, dtype, size, where)
    _enter_at(nodes[_node(picture)], picture, shape, where)
    cut = tf.compat.v1.graph_util.extract_sub_graph(graph, [_node(tensor) for tensor in names.outputs])
    _check_cut(cut, picture, where)
    del nodes, graph
    try:
        function = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(cut, name=""), []).prune(
            [picture], list(names.outputs)
        )
    except Exception as error:
        # Importing checks shapes and types in C++ and raises ValueError, TypeError, and errors of its own.
        msg = f"TensorFlow cannot read {where} between {picture} and {', '.join(names.outputs)}: {error}"
        raise ModelError(" ".join(msg.split())[:600]) from error

    def run(array: NDArray[Any]) -> list[NDArray[Any]]:
        return [value.numpy() for value in function(tf.constant(array))]

    friendly = tuple(tensor.removesuffix(":0") for tensor in names.outputs)
    return Frozen(cut, picture, names.outputs, picture.removesuffix(":0"), friendly, shape, run)


def _parse(path: Path, where: str) -> Any:
    import tensorflow as tf

    try:
        graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    except Exception as error:
        # protobuf's DecodeError, or whatever else its parser makes of bytes that are no message at all.
        msg = f"{where} is not a TensorFlow graph, or is cut short"
        raise ModelError(msg) from error
    if not graph.node:
        msg = f"{where} is not a frozen graph: it holds no nodes (a SavedModel is named by its folder)"
        raise ModelError(msg)
    held = next((node for node in graph.node if node.op in {"VariableV2", "VarHandleOp", "Variable"}), None)
    if held is not None:
        msg = f"{where}: node {held.name!r} is a variable without a value; freeze the graph, or give the SavedModel"
        raise ModelError(msg)
    return graph


def _unnamed(nodes: dict[str, Any], where: str) -> str:
    return (
        f"{where} does not say where a picture goes in and what comes out; add --graph-inputs NODE:0 and "
        f"--graph-outputs NODE:0,NODE:0; {_ends(nodes)}. {_REMEDY[0].upper()}{_REMEDY[1:]}"
    )


def _ends(nodes: dict[str, Any]) -> str:
    read = {_node(name) for node in nodes.values() for name in node.input}
    starts = sorted(name for name, node in nodes.items() if node.op == "Placeholder" and name in read)
    ends = sorted(name for name, node in nodes.items() if name not in read and node.op != "NoOp")
    return f"the graph starts at {_listed(starts)} and ends at {_listed(ends)}"


def _listed(names: list[str]) -> str:
    return (", ".join(names[:_SHOWN]) + (" and others" if len(names) > _SHOWN else "")) or "nothing"


def _node(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _input_type(node: Any, size: tuple[int, int] | None) -> tuple[tuple[int | None, ...], str]:
    """Sizes and type of the tensor to enter at; those of a value inside are not written in a graph."""
    import tensorflow as tf

    key = next((key for key in ("dtype", "DstT", "T") if key in node.attr), None)
    dtype = tf.dtypes.as_dtype(node.attr[key].type).name if key else "float32"
    if "shape" in node.attr and not node.attr["shape"].shape.unknown_rank:
        dims = tuple(None if dim.size < 0 else int(dim.size) for dim in node.attr["shape"].shape.dim)
        return dims, dtype
    inside = (None, None, None, 3) if size is None else (1, size[1], size[0], 3)
    return inside, dtype


def _enter_at(node: Any, tensor: str, shape: tuple[int, ...], where: str) -> None:
    """Makes a placeholder of the node, in place."""
    import tensorflow as tf

    if not tensor.endswith(":0"):
        msg = f"{where}: --graph-inputs {tensor} is not a node's first output; name one that is, as NODE:0"
        raise ModelError(msg)
    node.op = "Placeholder"
    del node.input[:]
    node.attr.clear()
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())


def _check_cut(cut: Any, picture: str, where: str) -> None:
    from tensorflow.python.framework import op_def_registry

    nodes = [(node.name, node.op) for node in cut.node]
    if _node(picture) not in dict(nodes):
        msg = f"{where}: the outputs do not depend on {picture}; name the tensor that leads to them"
        raise ModelError(msg)
    check_nodes(nodes, where, _REMEDY)
    _check_constants(cut, where)
    for name, op in nodes:
        known = op_def_registry.get(op)
        if known is None:
            msg = f"{where}: node {name!r} is {op}, an operator that TensorFlow does not have; cut the graph beside it"
            raise ModelError(msg)
        if op == "Placeholder" and name != _node(picture):
            msg = f"{where}: the outputs need the input {name!r} too; name a tensor behind it with --graph-inputs"
            raise ModelError(msg)
        if known.is_stateful:
            msg = f"{where}: node {name!r} is {op}, which keeps a state; {_REMEDY}"
            raise ModelError(msg)


def _check_constants(cut: Any, where: str) -> None:
    """A few bytes can stand for a huge tensor of one value; TensorFlow would make it."""
    total = 0
    for node in cut.node:
        if node.op == "Const":
            total += math.prod(max(int(dim.size), 0) for dim in node.attr["value"].tensor.tensor_shape.dim)
        if total > _MAX_VALUES:
            msg = f"{where}: constant {node.name!r} takes the graph beyond {_MAX_VALUES} values; that is no edge model"
            raise ModelError(msg)
