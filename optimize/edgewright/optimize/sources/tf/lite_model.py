"""A float ``.tflite`` file, read by TensorFlow's interpreter and by tf2onnx. Runs in the child process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edgewright.optimize.errors import ModelError
from edgewright.optimize.sources.tf.frozen import OPSET, by_tf2onnx, fixed_shape, refuse_foreign_nodes, rename_values

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

__all__ = ["read_lite"]

_CONTROL_FLOW = frozenset({"IF", "WHILE", "CALL_ONCE", "CALL", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})
_CHANNELS = 3


def read_lite(
    path: Path, size: tuple[int, int] | None, where: str
) -> tuple[onnx.ModelProto, tuple[int, ...], Callable[[NDArray[Any]], list[NDArray[Any]]]]:
    """Checks and converts.

    Returns:
        The ONNX model, the input's shape in the file, and the model as the interpreter runs it.

    Raises:
        ModelError: The file is integer, of another precision, has control flow, or is no picture model.
    """
    interpreter = _open(path, where)
    _check_float(interpreter, where)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1:
        names = ", ".join(str(tensor["name"]) for tensor in inputs) or "none"
        msg = f"{where} has {len(inputs)} inputs ({names}); a model with one picture input is needed"
        raise ModelError(msg)
    shape = _shape(inputs[0], size, where)
    model = _convert(path, str(inputs[0]["name"]), shape, where)
    rename_values(model, _friendly(interpreter, inputs, outputs))

    def run(picture: NDArray[Any]) -> list[NDArray[Any]]:
        interpreter.set_tensor(inputs[0]["index"], picture)
        interpreter.invoke()
        return [np.array(interpreter.get_tensor(tensor["index"])) for tensor in outputs]

    return model, shape, run


def _open(path: Path, where: str) -> Any:
    import tensorflow as tf

    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        # That the flatbuffer is whole was checked before (``formats.check_file``): the interpreter does not.
        interpreter = tf.lite.Interpreter(str(path), experimental_op_resolver_type=plain, num_threads=1)
        _check_control_flow(path, where)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        msg = f"TensorFlow's interpreter refuses {where}: {reason}; convert the model again"
        raise ModelError(msg) from error
    return interpreter


def _check_control_flow(path: Path, where: str) -> None:
    from tensorflow.lite.python import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        name = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "unknown")
        if name in _CONTROL_FLOW:
            msg = (
                f"{where} uses {name}, control flow, which no INT8 engine here runs; convert the network alone: without "
                "loops, conditions, recurrent layers or non-maximum suppression"
            )
            raise ModelError(msg)


def _check_float(interpreter: Any, where: str) -> None:
    for tensor in interpreter.get_tensor_details():
        kind, scales = np.dtype(tensor["dtype"]), tensor["quantization_parameters"]["scales"]
        if kind.kind in "iu" and len(scales):
            msg = (
                f"{where} is quantized already: tensor {str(tensor['name'])!r} is {kind} with a scale of {scales[0]:.3g}; "
                "give the float model it was made from"
            )
            raise ModelError(msg)
        if kind == np.float16:
            msg = (
                f"{where} keeps weights as float16 (tensor {str(tensor['name'])!r}), rounded already; give the float32 "
                "model it was made from"
            )
            raise ModelError(msg)


def _shape(tensor: dict[str, Any], size: tuple[int, int] | None, where: str) -> tuple[int, ...]:
    signature = tensor.get("shape_signature")
    dims = [int(side) for side in (tensor["shape"] if signature is None or not len(signature) else signature)]
    if any(side < 0 for side in dims[1:]):
        shown = ", ".join("?" if side < 0 else str(side) for side in dims)
        msg = f"{where}: input {str(tensor['name'])!r} is ({shown}); its size is open, convert the model for one size"
        raise ModelError(msg)
    open_batch = [None if side < 0 else side for side in dims]
    return fixed_shape(str(tensor["name"]), open_batch, np.dtype(tensor["dtype"]).name, size, where)


def _convert(path: Path, name: str, shape: tuple[int, ...], where: str) -> onnx.ModelProto:
    import tf2onnx

    nhwc = [name] if shape[1] != _CHANNELS else None

    def convert() -> onnx.ModelProto:
        model, _ = tf2onnx.convert.from_tflite(str(path), opset=OPSET, inputs_as_nchw=nhwc)
        return cast("onnx.ModelProto", model)

    model = by_tf2onnx(convert, where)
    refuse_foreign_nodes(model, where)
    return model


def _friendly(interpreter: Any, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> dict[str, str]:
    """The signature's names where the file has one, else the tensors' own without their ``:0``."""
    names = {str(tensor["name"]): str(tensor["name"]).removesuffix(":0") for tensor in (*inputs, *outputs)}
    for key in list(interpreter.get_signature_list())[:1]:
        runner = interpreter.get_signature_runner(key)
        for details in (runner.get_input_details(), runner.get_output_details()):
            for friendly, tensor in details.items():
                if str(tensor["name"]) in names:
                    names[str(tensor["name"])] = str(friendly)
    return names if len(set(names.values())) == len(names) else {}
