"""What cannot be quantized, said before any work is done: by the node's name, with the remedy.

The prepared graph is checked (``prepare_graph``), for what an exporter writes in a roundabout way (an ``If`` on a
constant, weights behind a ``Cast``) is often gone by then.

Handled without a word: opsets from 13 on, unnamed nodes, one calibration picture. Handled with a note: weights that
several operators share (they get one grid), channels of zeros (their step is made up), weights computed at run time
(they are quantized like activations). Refused: everything that the table of ``check_quantizable`` lists.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.errors import ModelError
from edgewright.optimize.graph.operators import WEIGHTED
from edgewright.optimize.graph.segments import node_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx
    from numpy.typing import NDArray

__all__ = ["LEAST_OPSET", "check_quantizable"]

LEAST_OPSET = 13
"""``DequantizeLinear`` knows one scale per channel from here on."""

_CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_INTEGER = frozenset({"ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QuantizeLinear"})
_INTEGER_PREFIXES = ("QLinear", "QGemm", "QAttention", "QMoE", "DynamicQuantize", "MatMulNBits", "MatMulInteger")
_STANDARD = ("", "ai.onnx")
_STANDARD_NAMES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
_OTHER_FLOATS = frozenset({10, 11, 16})
# A bound nearer to zero than this is below half a step of any range of half a unit or more.
_NO_BOUND = 1e-3
_SHOWN = 3


def check_quantizable(model: bytes) -> tuple[str, ...]:
    """Refuses graphs that quantization would break.

    ====================================== ===========================================================
    refused                                because
    ====================================== ===========================================================
    opset below 13, or newer than onnx     no per-channel grids there; unknown operators
    inputs without fixed sizes             ranges and memory are planned for one size
    If, Loop, Scan                         no ranges are observed inside
    integer operators                      the model is quantized already
    float16, bfloat16, float64 weights     the quantizer reads float32; such a file has lost digits before
    weights that are NaN or infinite       no grid holds them
    Clip to a range without zero           quantizers drop a Clip for the range behind it, which always has zero
    ====================================== ===========================================================

    Args:
        model: A float ONNX file, prepared.

    Returns:
        Notes on what is odd and is handled.

    Raises:
        ModelError: Naming the node, or the input, and the remedy.
    """
    import onnx

    graph = onnx.load_model_from_string(model)
    _check_opset(graph)
    _check_inputs(graph.graph)
    for node in graph.graph.node:
        _check_operator(node)
    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        _check_weights(node, constants)
        _check_clip(node, constants)
    return (
        *_shared_notes(graph.graph, constants),
        *_zero_notes(graph.graph, constants),
        *_computed_notes(graph.graph, constants),
    )


def _check_opset(model: onnx.ModelProto) -> None:
    import onnx

    found = next((entry.version for entry in model.opset_import if entry.domain in _STANDARD), 0)
    newest = onnx.defs.onnx_opset_version()
    if found < LEAST_OPSET:
        msg = (
            f"the model uses operator set {found}, and quantization per channel needs {LEAST_OPSET}: convert it with "
            "onnx.version_converter.convert_version(model, 17), or export it again with opset_version=17"
        )
        raise ModelError(msg)
    if found > newest:
        msg = f"the model uses operator set {found}, the installed onnx knows {newest}: export it with an older one"
        raise ModelError(msg)


def _check_inputs(graph: onnx.GraphProto) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        kind = value.type.tensor_type
        sizes = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in kind.shape.dim]
        if value.name not in constants and (not kind.HasField("shape") or min(sizes, default=1) < 1):
            shown = [dim.dim_param or (dim.dim_value or "?") for dim in kind.shape.dim]
            msg = (
                f"input {value.name!r} has the shape {shown}, which is not fixed: say the size (--size, or input_shape "
                "in the spec), or export with fixed sizes"
            )
            raise ModelError(msg)


def _check_operator(node: onnx.NodeProto) -> None:
    if node.op_type in _CONTROL_FLOW:
        msg = (
            f"node {node_id(node)!r} is {node.op_type}, control flow whose inside cannot be calibrated: export the model "
            "with the branch or the number of turns fixed (torch.onnx with dynamo=True does so), or cut it off and let "
            "the spec decode what comes before"
        )
        raise ModelError(msg)
    if node.op_type in _INTEGER or node.op_type.startswith(_INTEGER_PREFIXES):
        msg = (
            f"node {node_id(node)!r} is {node.op_type}: the model is quantized already; give the float model it was made "
            "from"
        )
        raise ModelError(msg)


def _check_weights(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> None:
    if node.op_type not in WEIGHTED:
        return
    for name in node.input:
        tensor = constants.get(name)
        if tensor is None:
            continue
        if tensor.data_type in _OTHER_FLOATS:
            msg = (
                f"node {node_id(node)!r} ({node.op_type}) has weights {name!r} of {_STANDARD_NAMES[tensor.data_type]}; "
                "export the model in float32, quantization does the rest"
            )
            raise ModelError(msg)
        if tensor.data_type == _FLOAT:
            _check_finite(node, name, _array(tensor))


_FLOAT = 1


def _check_finite(node: onnx.NodeProto, name: str, values: NDArray[np.float32]) -> None:
    bad = int((~np.isfinite(values)).sum())
    if bad:
        place = [int(at) for at in np.argwhere(~np.isfinite(values))[0]] if values.ndim else []
        msg = (
            f"node {node_id(node)!r} ({node.op_type}) has {bad} weights in {name!r} that are NaN or infinite, the first at "
            f"{place}: the training or the export went wrong; take an earlier checkpoint"
        )
        raise ModelError(msg)


def _check_clip(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> None:
    low, high = _clip_bounds(node, constants)
    if low > _NO_BOUND or high < -_NO_BOUND:
        msg = (
            f"node {node_id(node)!r} clips to [{low:g}, {high:g}], a range without zero, and quantization would lose that "
            "bound: run the pass GuardClips first, or write it as Max and Min"
        )
        raise ModelError(msg)


def _clip_bounds(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> tuple[float, float]:
    """Infinite where there is no bound, or it is not a constant."""
    low, high = -np.inf, np.inf
    if node.op_type == "Clip":
        names = [*node.input[1:], "", ""]
        low = float(_array(constants[names[0]]).ravel()[0]) if names[0] in constants else low
        high = float(_array(constants[names[1]]).ravel()[0]) if names[1] in constants else high
    return low, high


def _shared_notes(graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto]) -> Iterator[str]:
    readers: dict[str, list[str]] = defaultdict(list)
    for node in graph.node:
        if node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in constants:
            readers[node.input[1]].append(node_id(node))
    for name, nodes in readers.items():
        if len(nodes) > 1:
            yield f"{len(nodes)} operators share the weights {name!r} ({_some(nodes)}); they get one grid"


def _zero_notes(graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto]) -> Iterator[str]:
    found = []
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in constants:
            weights = _array(constants[node.input[1]])
            empty = int((~weights.reshape(len(weights), -1).any(axis=1)).sum())
            found += [f"{empty} of {len(weights)} in {node_id(node)}"] if empty else []
    if found:
        yield f"output channels whose weights are all zero: {_some(found)}; pruning would save their time"


def _computed_notes(graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto]) -> Iterator[str]:
    convolutions = [node for node in graph.node if node.op_type in {"Conv", "ConvTranspose"}]
    computed = [node_id(node) for node in convolutions if node.input[1] not in constants]
    if computed:
        yield f"weights computed at run time get one grid for all pictures: {_some(computed)}"


def _array(tensor: onnx.TensorProto) -> NDArray[np.float32]:
    import onnx

    return np.asarray(onnx.numpy_helper.to_array(tensor), np.float32)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
