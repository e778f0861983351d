"""Fixes the shapes of a graph: one picture, a known size, outputs that do not depend on what is in the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.bundle.manifest import Layout, TensorSpec
from edgewright.optimize.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

__all__ = ["fix_input", "input_tensor", "keep_outputs", "output_tensors", "write_output_shapes"]

_RANK = 4
_CHANNELS = 3
_MAX_SIDE = 16384  # as in the manifest


def input_tensor(model: onnx.ModelProto, where: str) -> tuple[str, list[int | None]]:
    """The one picture input: its name and sizes, None where a size is open.

    Raises:
        ModelError: There is not exactly one input, or it is not a float32 tensor of four axes.
    """
    import onnx

    inputs = list(model.graph.input)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        msg = f"{where} has {len(inputs)} inputs ({names}); a model with one picture input is needed"
        raise ModelError(msg)
    value = inputs[0]
    if not value.type.HasField("tensor_type"):
        msg = f"{where}: input {value.name!r} is not a tensor"
        raise ModelError(msg)
    tensor = value.type.tensor_type
    dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        msg = (
            f"{where}: input {value.name!r} is {dtype}; only float32 pictures are supported. Export the float32 model "
            "without the casts in front of it"
        )
        raise ModelError(msg)
    dims: list[int | None] = [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim
    ]
    if not tensor.HasField("shape") or len(dims) != _RANK:
        shown = _shown(dims) if tensor.HasField("shape") else "of unknown rank"
        msg = f"{where}: input {value.name!r} is {shown}; a picture of four axes (N, 3, H, W) or (N, H, W, 3) is needed"
        raise ModelError(msg)
    return value.name, dims


def fix_input(
    model: onnx.ModelProto, size: tuple[int, int] | None, wanted: tuple[int, ...] | None, where: str
) -> tuple[tuple[int, int, int, int], tuple[str, ...]]:
    """Gives the input a fixed shape, in place.

    Args:
        model: Changed: the input's sizes are written, shapes of values behind it are forgotten where they were open.
        size: (width, height) the user wants, or None.
        wanted: The whole shape if the spec says it, or None.
        where: The model in words, for messages.

    Returns:
        The shape, and notes on what was fixed.

    Raises:
        ModelError: A size is open and nothing says what it should be, or what was said contradicts the file.
    """
    name, dims = input_tensor(model, where)
    layout = _layout(name, dims, wanted, where)
    first = 2 if layout is Layout.NCHW else 1
    if dims[0] not in (None, 1):
        msg = f"{where}: input {name!r} takes a batch of {dims[0]} pictures; export it for one picture at a time"
        raise ModelError(msg)
    wish = (size[1], size[0]) if size else (wanted[first], wanted[first + 1]) if wanted else (None, None)
    sides: list[int] = []
    for index, asked in enumerate(wish):
        word, found = ("height", "width")[index], dims[first + index]
        if found is None and asked is None:
            msg = (
                f"{where}: the {word} of input {name!r} is open (axis {first + index} of {_shown(dims)}); "
                "say which size to fix with --size WIDTHxHEIGHT, or give a spec with [preprocess] width and height"
            )
            raise ModelError(msg)
        if found is not None and asked is not None and found != asked:
            msg = (
                f"{where}: the {word} of input {name!r} is fixed at {found} in the file, but {asked} was asked for; "
                "drop --size (or correct the spec), or export the model for the other size"
            )
            raise ModelError(msg)
        side = found if found is not None else asked or 0
        if not 1 <= side <= _MAX_SIDE:
            msg = f"{where}: the {word} of input {name!r} is {side}; it must be within 1..{_MAX_SIDE} pixels"
            raise ModelError(msg)
        sides.append(side)
    height, width = sides
    shape = (1, _CHANNELS, height, width) if layout is Layout.NCHW else (1, height, width, _CHANNELS)
    if all(dim == fixed for dim, fixed in zip(dims, shape, strict=True)):
        return shape, ()
    for dim, fixed in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.Clear()
        dim.dim_value = fixed
    del model.graph.value_info[:]  # may still speak of the open sizes
    return shape, (f"input {name!r} fixed from {_shown(dims)} to {list(shape)}",)


def keep_outputs(model: onnx.ModelProto, wanted: Sequence[str], where: str) -> tuple[str, ...]:
    """Takes outputs that nobody reads off the graph, in place, so that they cost nothing on the device.

    Returns:
        Notes on what was dropped.

    Raises:
        ModelError: A wanted output does not exist.
    """
    present = [value.name for value in model.graph.output]
    missing = [name for name in wanted if name not in present]
    if missing:
        msg = (
            f"{where} has no output {', '.join(map(repr, missing))}; it has {', '.join(map(repr, present))}. "
            "Correct the names under [decode] in the spec"
        )
        raise ModelError(msg)
    dropped = [name for name in present if name not in wanted]
    if not dropped:
        return ()
    kept = [value for value in model.graph.output if value.name in wanted]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return (f"outputs nobody reads were dropped: {', '.join(dropped)}",)


def write_output_shapes(model: onnx.ModelProto, shapes: Sequence[tuple[int, ...]]) -> None:
    """Writes the observed output shapes into the graph, in place."""
    for value, shape in zip(model.graph.output, shapes, strict=True):
        tensor = value.type.tensor_type
        tensor.ClearField("shape")
        for fixed in shape:
            tensor.shape.dim.add().dim_value = fixed
        if not shape:
            tensor.shape.SetInParent()


def output_tensors(model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """The outputs as the manifest describes them; all shapes must be fixed."""
    import onnx

    specs: list[TensorSpec] = []
    for value in model.graph.output:
        tensor = value.type.tensor_type
        shape = tuple(dim.dim_value for dim in tensor.shape.dim)
        specs.append(TensorSpec(value.name, shape, str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))))
    return tuple(specs)


def _layout(name: str, dims: Sequence[int | None], wanted: tuple[int, ...] | None, where: str) -> Layout:
    first, last = dims[1] == _CHANNELS, dims[3] == _CHANNELS
    if first != last:
        return Layout.NCHW if first else Layout.NHWC
    if wanted is not None and all(dim in (None, want) for dim, want in zip(dims[1:], wanted[1:], strict=True)):
        return Layout.NCHW if wanted[1] == _CHANNELS else Layout.NHWC
    if not first and dims[1] is None and dims[3] is None:
        msg = (
            f"{where}: input {name!r} is {_shown(dims)}, which of its axes holds the colours is open; "
            'give a spec with layout = "NCHW" or "NHWC" under [model]'
        )
        raise ModelError(msg)
    msg = (
        f"{where}: input {name!r} is {_shown(dims)}; a colour picture (N, 3, H, W) or (N, H, W, 3) is needed, "
        "with 3 channels in axis 1 or axis 3"
    )
    raise ModelError(msg)


def _shown(dims: Sequence[int | None]) -> str:
    return "(" + ", ".join("?" if dim is None else str(dim) for dim in dims) + ")"
