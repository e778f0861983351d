"""Resize and Upsample: written only where TFLite reads the very pixels that ONNX reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.tflite.flatbuffer import Options
from edgewright.optimize.tflite.scope import Made
from edgewright.optimize.tflite.source import Node, refuse
from edgewright.optimize.tflite.values import NCHW_AS_NHWC, Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.tflite.scope import Scope

__all__ = ["resize"]

_IMAGE = 4
_KINDS = ((False, False), (False, True), (True, False))  # align_corners, half_pixel_centers


def resize(scope: Scope, node: Node) -> None:
    """Writes a Resize of height and width.

    Raises:
        ConversionError: Other axes, cubic, antialiased, or with coordinates that TFLite does not have.
    """
    value = scope.value(node)
    shape = scope.shape(node.outputs[0])
    if len(shape) != _IMAGE or shape[:2] != value.shape[:2]:
        raise refuse(node, "only height and width of a picture can be resized")
    if node.attributes.get("antialias", 0) or node.attributes.get("exclude_outside", 0):
        raise refuse(node, "antialias and exclude_outside are not supported")
    value = scope.as_axes(value, NCHW_AS_NHWC)
    mode = node.attributes.get("mode", "nearest")
    wanted = [_coordinates(scope, node, axis, value.shape[axis], shape[axis]) for axis in (2, 3)]
    if mode == "nearest":
        _nearest(scope, node, value, [_rounded(node, places) for places in wanted])
        return
    if mode != "linear":
        raise refuse(node, f"TFLite has no resizing of mode {mode!r}")
    kind = _matching(value, shape, wanted)
    if kind is None:
        raise refuse(node, f"its coordinates ({_rule(node)}) are not among those that TFLite has")
    _write(scope, node, value, "RESIZE_BILINEAR", kind)


def _nearest(scope: Scope, node: Node, value: Value, rows: list[NDArray[np.int64]]) -> None:
    shape = scope.shape(node.outputs[0])
    tables = [np.clip(row, 0, value.shape[axis] - 1) for row, axis in zip(rows, (2, 3), strict=True)]
    for kind in _KINDS:
        found = [_tflite_nearest(value.shape[axis], shape[axis], kind) for axis in (2, 3)]
        if all((one == other).all() for one, other in zip(found, tables, strict=True)):
            _write(scope, node, value, "RESIZE_NEAREST_NEIGHBOR", kind)
            return
    # Any other choice of pixels is a choice of rows, then of columns.
    for place, (axis, table) in enumerate(zip((2, 3), tables, strict=True), start=1):
        made_shape = tuple(shape[k] if k in (2, 3)[:place] else size for k, size in enumerate(value.shape))
        name = node.outputs[0] if axis == _IMAGE - 1 else f"{node.outputs[0]}/rows"
        made = Made(name, made_shape, NCHW_AS_NHWC, value.grid)
        inputs = [value.tensor, scope.numbers(f"{name}/places", table)]
        version = 1 if value.grid is None else 2
        value = scope.emit("GATHER", inputs, made, Options("GatherOptions", {"axis": axis - 1}), version)
    scope.set(node.outputs[0], value)


def _write(scope: Scope, node: Node, value: Value, code: str, kind: tuple[bool, bool]) -> None:
    shape = scope.shape(node.outputs[0])
    fields = {"alignCorners": kind[0], "halfPixelCenters": kind[1]}
    options = "ResizeBilinearOptions" if code == "RESIZE_BILINEAR" else "ResizeNearestNeighborOptions"
    made = Made(node.outputs[0], shape, NCHW_AS_NHWC, value.grid)
    size = scope.numbers(f"{node.name}/size", shape[2:])
    version = 3 if any(kind) else 1 if value.grid is None else 2
    result = scope.emit(code, [value.tensor, size], made, Options(options, fields), version)
    scope.set(node.outputs[0], result)


def _rule(node: Node) -> str:
    older = "asymmetric" if node.kind == "Upsample" else "half_pixel"
    return str(node.attributes.get("coordinate_transformation_mode", older))


def _coordinates(scope: Scope, node: Node, axis: int, size: int, out: int) -> NDArray[np.float64]:
    """Where each pixel of the result lies in the input, as ONNX defines it."""
    given = scope.array(node, 1 if node.kind == "Upsample" else 2)
    scale = float(given.reshape(-1)[axis]) if given is not None and given.size == _IMAGE else out / size
    if given is not None and given.size not in (0, _IMAGE):
        raise refuse(node, "it resizes some axes only; name all four")
    places = np.arange(out, dtype=np.float64)
    rule = _rule(node)
    if rule == "asymmetric":
        return places / scale
    if rule == "align_corners":
        return places * ((size - 1) / (out - 1)) if out > 1 else places * 0
    if rule == "half_pixel" or (rule == "pytorch_half_pixel" and out > 1):
        return (places + 0.5) / scale - 0.5
    if rule == "pytorch_half_pixel":
        return places * 0
    raise refuse(node, f"coordinates of the kind {rule!r} are not supported")


def _rounded(node: Node, places: NDArray[np.float64]) -> NDArray[np.int64]:
    older = "floor" if node.kind == "Upsample" else "round_prefer_floor"
    how = node.attributes.get("nearest_mode", older)
    rounders: dict[str, Any] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda x: np.ceil(x - 0.5),
        "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    }
    return np.asarray(rounders[how](places), np.int64)


def _tflite_nearest(size: int, out: int, kind: tuple[bool, bool]) -> NDArray[np.int64]:
    """The pixels that RESIZE_NEAREST_NEIGHBOR reads, in its own float32."""
    corners, half = kind
    scale = np.float32((size - 1) / (out - 1)) if corners and out > 1 else np.float32(size / out)
    places = (np.arange(out, dtype=np.float32) + np.float32(0.5 if half else 0)) * scale
    rounded = np.floor(places + np.float32(0.5)) if corners else np.floor(places)
    return np.asarray(np.clip(rounded, 0, size - 1), np.int64)


def _matching(value: Value, shape: tuple[int, ...], wanted: list[NDArray[np.float64]]) -> tuple[bool, bool] | None:
    """The setting of RESIZE_BILINEAR whose coordinates are ONNX's."""
    for corners, half in _KINDS:
        for axis, places in zip((2, 3), wanted, strict=True):
            size, out = value.shape[axis], shape[axis]
            scale = (size - 1) / (out - 1) if corners and out > 1 else size / out
            own = np.arange(out) * scale if not half else (np.arange(out) + 0.5) * scale - 0.5
            if not np.allclose(np.clip(own, 0, size - 1), np.clip(places, 0, size - 1), atol=1e-4):
                break
        else:
            return corners, half
    return None
