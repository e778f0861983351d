"""One form for all that TensorFlow reads, and what in it cannot become a picture model. Runs in the child process.

TensorFlow is imported inside functions only, here and in the modules beside.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from edgewright.optimize.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

__all__ = ["OPSET", "Frozen", "by_tf2onnx", "check_nodes", "fixed_shape", "refuse_foreign_nodes", "to_onnx"]

OPSET = 17
"""Of the ONNX standard; see ``onnx_file.WANTED_OPSET``."""

_NO_COPIES = "TF2ONNX_CATCH_ERRORS"
_CHANNELS = 3
_RANK = 4
_MAX_SIDE = 16384  # as in the manifest
_CONTROL_FLOW = frozenset(
    {"If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase", "For"}
    | {"Switch", "Merge", "Enter", "RefEnter", "Exit", "RefExit", "NextIteration", "LoopCond", "RefSwitch", "RefMerge"}
)
_LISTS = ("TensorList", "TensorArray")
#: They leave the graph: for Python, or for files of this machine.
_OUTSIDE = frozenset(
    {"PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles", "Save", "SaveSlices"}
    | {"WholeFileReader", "WholeFileReaderV2", "TextLineReader", "TextLineReaderV2", "FixedLengthRecordReader"}
    | {"PrintV2", "DebugIdentityV2", "DebugIdentityV3", "RemoteCall", "CollectiveReduce", "XlaLaunch"}
)


@dataclass(frozen=True, eq=False)
class Frozen:
    """A graph without variables.

    Attributes:
        graph: A ``GraphDef``.
        input: Tensor that takes the picture, as ``node:0``.
        outputs: Tensors to read, as ``node:0``.
        input_name: What to call the input.
        output_names: What to call the outputs.
        shape: Of the input, batch of 1.
        run: The model as TensorFlow runs it, from an array of ``shape`` to the outputs.
    """

    graph: Any
    input: str
    outputs: tuple[str, ...]
    input_name: str
    output_names: tuple[str, ...]
    shape: tuple[int, ...]
    run: Callable[[NDArray[Any]], list[NDArray[Any]]]


def fixed_shape(
    name: str, dims: Sequence[int | None], dtype: str, size: tuple[int, int] | None, where: str
) -> tuple[int, ...]:
    """The input's shape for one picture.

    Args:
        name: Of the input.
        dims: Its sizes, None where open.
        dtype: Its type as TensorFlow names it.
        size: (width, height) the user asks for.
        where: The model in words.

    Raises:
        ModelError: It is no float picture, its size is open, or it contradicts ``size``.
    """
    shown = "(" + ", ".join("?" if dim is None else str(dim) for dim in dims) + ")"
    if dtype != "float32":
        msg = (
            f"{where}: input {name!r} is {dtype}; only float32 pictures are supported. Give the part behind the "
            "conversion to float (--graph-inputs for a frozen graph), or export a model that takes float32"
        )
        raise ModelError(msg)
    if len(dims) != _RANK:
        msg = f"{where}: input {name!r} is {shown}; a picture of four axes (N, H, W, 3) or (N, 3, H, W) is needed"
        raise ModelError(msg)
    last, first = dims[3] == _CHANNELS, dims[1] == _CHANNELS
    if not (last or first):
        msg = f"{where}: input {name!r} is {shown}; a colour picture with 3 channels in its last axis is needed"
        raise ModelError(msg)
    if dims[0] not in (None, 1):
        msg = f"{where}: input {name!r} takes a batch of {dims[0]} pictures; export it for one picture at a time"
        raise ModelError(msg)
    axis = 1 if last else 2
    sides = list(dims[axis : axis + 2])
    wanted = (size[1], size[0]) if size else (None, None)
    for index, (found, asked) in enumerate(zip(sides, wanted, strict=True)):
        word = ("height", "width")[index]
        if found is None and asked is None:
            msg = (
                f"{where}: the {word} of input {name!r} is open (axis {axis + index} of {shown}); "
                "say which size to fix with --size WIDTHxHEIGHT, or give a spec with [preprocess] width and height"
            )
            raise ModelError(msg)
        if found is not None and asked is not None and found != asked:
            msg = (
                f"{where}: the {word} of input {name!r} is fixed at {found} in the model, but {asked} was asked for; "
                "drop --size (or correct the spec), or export the model for the other size"
            )
            raise ModelError(msg)
        sides[index] = found if found is not None else asked
        if not 1 <= (sides[index] or 0) <= _MAX_SIDE:
            msg = f"{where}: the {word} of input {name!r} is {sides[index]}; it must be within 1..{_MAX_SIDE} pixels"
            raise ModelError(msg)
    height, width = (int(side or 0) for side in sides)
    return (1, height, width, _CHANNELS) if last else (1, _CHANNELS, height, width)


def check_nodes(nodes: Iterable[tuple[str, str]], where: str, remedy: str) -> None:
    """Refuses control flow and what reaches outside of the graph.

    Args:
        nodes: Name and operator.
        where: The model in words.
        remedy: What to do about control flow.

    Raises:
        ModelError: Naming the node.
    """
    for name, op in nodes:
        if op in _OUTSIDE:
            msg = (
                f"{where}: node {name!r} is {op}, which reaches outside of the graph; it is not run. Export without it"
            )
            raise ModelError(msg)
        if op in _CONTROL_FLOW or op.startswith(_LISTS):
            msg = f"{where}: node {name!r} is {op}, control flow, which no INT8 engine here runs; {remedy}"
            raise ModelError(msg)


def to_onnx(frozen: Frozen, where: str) -> onnx.ModelProto:
    """Converts by tf2onnx; a channels-last input becomes channels-first.

    Raises:
        ModelError: The converter fails, or knows no ONNX operator for one of TensorFlow's.
    """
    import tf2onnx

    nhwc = [frozen.input] if frozen.shape[1] != _CHANNELS else []

    def convert() -> onnx.ModelProto:
        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph,
            input_names=[frozen.input],
            output_names=list(frozen.outputs),
            opset=OPSET,
            inputs_as_nchw=nhwc,
        )
        return cast("onnx.ModelProto", model)

    model = by_tf2onnx(convert, where)
    refuse_foreign_nodes(model, where)
    names = dict(zip(frozen.outputs, frozen.output_names, strict=True)) | {frozen.input: frozen.input_name}
    rename_values(model, names)
    return model


def by_tf2onnx(convert: Callable[[], onnx.ModelProto], where: str) -> onnx.ModelProto:
    """Runs a conversion.

    Args:
        convert: Calls the converter.
        where: The model in words.

    Raises:
        ModelError: The converter fails.
    """
    # With this variable set, to whatever, the converter does not copy the graph before each of its simplifications in
    # order to survive one that fails. That takes a third of the time; a second try makes good for it.
    os.environ[_NO_COPIES] = "FALSE"
    try:
        return convert()
    except Exception:  # noqa: BLE001 - the converter raises whatever its handlers do on graphs they did not foresee
        del os.environ[_NO_COPIES]
    try:
        return convert()
    except Exception as error:
        # As above.
        msg = f"{where} cannot be converted to ONNX: {type(error).__name__}: {' '.join(str(error).split())[:400]}"
        raise ModelError(msg) from error
    finally:
        os.environ.pop(_NO_COPIES, None)


def refuse_foreign_nodes(model: onnx.ModelProto, where: str) -> None:
    """Refuses operators that the converter handed through because it knows none for them.

    Raises:
        ModelError: Naming the node and the operator.
    """
    import onnx

    for node in model.graph.node:
        if node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type, max_inclusive_version=OPSET):
            continue
        msg = (
            f"{where}: node {node.name or node.output[0]!r} is {node.op_type}, for which there is no ONNX operator; "
            "rewrite that layer with ordinary operators, or cut the model in front of it"
        )
        raise ModelError(msg)


def rename_values(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Gives values other names, in place; a value that has one of the new names already steps aside."""
    graph = model.graph
    taken = {value for node in graph.node for value in (*node.input, *node.output)} | {
        i.name for i in graph.initializer
    }
    aside = {
        name: f"{name}/inner" for old, name in names.items() if name in taken and name != old and name not in names
    }
    for node in graph.node:
        for values in (node.input, node.output):
            for index, value in enumerate(values):
                values[index] = names.get(value) or aside.get(value, value)
    for entry in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        entry.name = names.get(entry.name) or aside.get(entry.name, entry.name)
