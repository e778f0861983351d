"""Reads an ONNX file that somebody else made, and refuses what the optimizer cannot use, saying what to do.

Order of the checks: is it a file of bearable size; is it ONNX; is it whole (no weights in a file beside it); is it
still float; is it valid. ``drop_weight_inputs`` and ``convert_opset`` then bring old files up to date.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgewright.bundle.digest import sha256_hex
from edgewright.optimize.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import onnx

__all__ = ["MAX_MODEL_BYTES", "WANTED_OPSET", "convert_opset", "drop_weight_inputs", "read_onnx"]

MAX_MODEL_BYTES = 2 << 30
"""Protobuf itself ends at 2 GiB."""

WANTED_OPSET = 17
"""Older files are converted up to this operator set of the ONNX standard; per-channel quantization needs 13 at least."""

_WEIGHTS_NEED_NOT_BE_INPUTS = 4  # since this version of the file format

_INTEGER_OPERATORS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}
)


def read_onnx(path: Path) -> tuple[onnx.ModelProto, str]:
    """Reads and checks a file.

    Args:
        path: The ``.onnx`` file.

    Returns:
        The model as it is in the file, and the file's SHA-256.

    Raises:
        ModelError: The file is missing, too large, no ONNX, incomplete, already quantized, or invalid.
    """
    data = _read_bounded(path)
    model = _parse(data, path)
    _refuse_external_data(model, path)
    _refuse_quantized(model, path)
    _check(model, path)
    return model, sha256_hex(data)


def drop_weight_inputs(model: onnx.ModelProto) -> tuple[str, ...]:
    """Takes weights off the graph's input list, in place; old exporters put them there.

    Returns:
        Notes on what was done.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    true_inputs = [value for value in model.graph.input if value.name not in weights]
    if len(true_inputs) == len(model.graph.input):
        return ()
    del model.graph.input[:]
    model.graph.input.extend(true_inputs)
    model.ir_version = max(model.ir_version, _WEIGHTS_NEED_NOT_BE_INPUTS)
    return ("weights listed as inputs (an old habit of exporters) were taken off the input list",)


def convert_opset(model: onnx.ModelProto, where: str) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Brings an old operator set up to ``WANTED_OPSET``.

    Args:
        model: A valid model; not changed.
        where: The model in words, for messages.

    Returns:
        The model, converted where that was needed, and notes.

    Raises:
        ModelError: It cannot be converted.
    """
    import onnx

    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset >= WANTED_OPSET:
        return model, ()
    try:
        converted = onnx.version_converter.convert_version(model, WANTED_OPSET)
        onnx.checker.check_model(converted)
    except Exception as error:
        # The converter is C++ behind a binding and raises RuntimeError, ConvertError, IndexError and others.
        reason = " ".join(str(error).split())[:300]
        msg = (
            f"{where} uses operator set {opset} and cannot be converted to {WANTED_OPSET} ({reason}); "
            f"export it again with opset_version={WANTED_OPSET} or newer"
        )
        raise ModelError(msg) from error
    return converted, (f"operator set converted from {opset} to {WANTED_OPSET}",)


def _read_bounded(path: Path) -> bytes:
    try:
        if not path.exists():
            msg = f"{path} does not exist; give the path of an .onnx file, or package.module:factory with --weights"
            raise ModelError(msg)
        if not path.is_file():
            msg = f"{path} is not a file, nor a SavedModel (it holds no saved_model.pb); give the path of an .onnx file"
            raise ModelError(msg)
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            data = stream.read(MAX_MODEL_BYTES) if size <= MAX_MODEL_BYTES else b""
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise ModelError(msg) from error
    if size > MAX_MODEL_BYTES:
        msg = f"{path} has {size} bytes; one ONNX file can hold at most {MAX_MODEL_BYTES}, and edge models are far smaller"
        raise ModelError(msg)
    if not data:
        msg = f"{path} is empty (0 bytes); it was probably not written to the end"
        raise ModelError(msg)
    return data


def _parse(data: bytes, path: Path) -> onnx.ModelProto:
    import onnx

    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        # protobuf's DecodeError, or whatever else its parser makes of bytes that are no message at all.
        msg = f"{path} is not an ONNX file, or is cut short ({len(data)} bytes, starting {data[:8]!r})"
        raise ModelError(msg) from error
    if not model.graph.node or not model.graph.output or not model.opset_import:
        msg = f"{path} is not an ONNX model: it holds no graph ({len(data)} bytes, starting {data[:8]!r})"
        raise ModelError(msg)
    return model


def _refuse_external_data(model: onnx.ModelProto, path: Path) -> None:
    import onnx

    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            beside = next((entry.value for entry in tensor.external_data if entry.key == "location"), "another file")
            msg = (
                f"{path} keeps weight {tensor.name!r} in a file beside it ({beside!r}); make one file of it with "
                "onnx.save(onnx.load('MODEL.onnx'), 'ONE.onnx', save_as_external_data=False), or export with "
                "external_data=False"
            )
            raise ModelError(msg)


def _refuse_quantized(model: onnx.ModelProto, path: Path) -> None:
    found = [node for node in model.graph.node if node.op_type in _INTEGER_OPERATORS]
    if found:
        kinds = ", ".join(sorted({node.op_type for node in found}))
        first = found[0].name or found[0].output[0]
        msg = (
            f"{path} is quantized already: node {first!r} is {found[0].op_type} (it holds {kinds}); "
            "give the float model it was made from"
        )
        raise ModelError(msg)


def _check(model: onnx.ModelProto, path: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        msg = f"{path} is not valid ONNX: {' '.join(str(error).split())[:400]}; export it again"
        raise ModelError(msg) from error


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every constant of a graph and of the graphs inside its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _tensors(inner)
