"""What the graph alone says about ranges: which tensors share one, and which must never be clipped.

Two kinds of tensors need no statistics of their own:

- What only a ``Relu`` or ``Clip`` reads. ONNX Runtime's QDQ writer takes the activation's range for it and drops the
  activation, because saturating integers do its work; any other range here would contradict the file.
- What an operator made by only moving values (``Reshape``, ``Transpose``, ...): the writer hands the grid on.

Each such tensor is *represented* by another one, whose range is its own.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = ["float_tensors", "output_tensors", "representatives", "unproven"]

_ACTIVATIONS = frozenset({"Clip", "Relu"})

# Operators whose output holds the very values of their first input.
_MOVES = frozenset(
    {"DepthToSpace", "Flatten", "Identity", "Reshape", "SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze"}
)

# Operators that pick or squash values, so that clipping before would matter behind them.
_TRANSPARENT = (
    _ACTIVATIONS
    | _MOVES
    | {
        "Cast",
        "Concat",
        "Dropout",
        "Expand",
        "Gather",
        "HardSigmoid",
        "LeakyRelu",
        "LogSoftmax",
        "MaxPool",
        "Pad",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Tanh",
        "Tile",
        "TopK",
    }
)

# Operators that make finite values of finite values; NaN can be born anywhere else.
_FINITE = _TRANSPARENT | {
    "Add",
    "AveragePool",
    "Conv",
    "ConvTranspose",
    "Gemm",
    "GlobalAveragePool",
    "HardSwish",
    "MatMul",
    "Mul",
    "Sub",
}


def float_tensors(model: onnx.ModelProto) -> tuple[str, ...]:
    """Every float32 tensor that changes with the picture, in the order of the graph.

    Args:
        model: The float graph, every intermediate type known.

    Returns:
        Names of inputs first, then of what the nodes make; tensors without elements are left out.
    """
    import onnx

    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    constants = {tensor.name for tensor in model.graph.initializer}
    floats = {
        value.name
        for value in values
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        and not any(axis.HasField("dim_value") and not axis.dim_value for axis in value.type.tensor_type.shape.dim)
    }
    inputs = [value.name for value in model.graph.input if value.name not in constants]
    made = [name for node in model.graph.node for name in node.output]
    return tuple(name for name in (*inputs, *made) if name in floats)


def output_tensors(model: onnx.ModelProto) -> frozenset[str]:
    """The graph's outputs, and what reaches them through operators that only move or squash values.

    Args:
        model: The float graph.

    Returns:
        Tensor names.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()
    waiting = [output.name for output in model.graph.output]
    while waiting:
        name = waiting.pop()
        if name in found or name not in producers:
            continue
        found.add(name)
        if producers[name].op_type in _TRANSPARENT:
            waiting.extend(producers[name].input)
    return frozenset(found)


def representatives(model: onnx.ModelProto) -> dict[str, str]:
    """Whose range each float tensor has.

    Args:
        model: The float graph.

    Returns:
        Every float tensor to the one that stands for it, itself for most.
    """
    tensors = float_tensors(model)
    known = frozenset(tensors)
    readers = Counter(name for node in model.graph.node for name in node.input)
    outputs = {output.name for output in model.graph.output}
    inputs = {value.name for value in model.graph.input}
    stands_for = {name: name for name in tensors}
    for node in model.graph.node:
        if not node.input or node.input[0] not in known or node.output[0] not in known:
            continue
        before, after = node.input[0], node.output[0]
        if node.op_type in _ACTIVATIONS and readers[before] == 1 and before not in outputs | inputs:
            stands_for[before] = after
        elif node.op_type in _MOVES:
            stands_for[after] = before
    return {name: _follow(name, stands_for) for name in tensors}


def unproven(model: onnx.ModelProto) -> frozenset[str]:
    """Tensors in which NaN could be born although everything before them is finite.

    Args:
        model: The float graph.

    Returns:
        Outputs of operators such as ``Div``, ``Log`` or ``Sqrt``, and of those not known here.
    """
    return frozenset(name for node in model.graph.node if node.op_type not in _FINITE for name in node.output)


def _follow(name: str, stands_for: dict[str, str]) -> str:
    # No cycle: an activation's input points forward, a moved value back, and no tensor is both for one node.
    while stands_for[name] != name:
        name = stands_for[name]
    return name
