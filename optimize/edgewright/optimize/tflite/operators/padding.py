"""Pad, and the zeros before a convolution that the words SAME and VALID cannot say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.tflite.flatbuffer import Options
from edgewright.optimize.tflite.scope import Made
from edgewright.optimize.tflite.source import Node, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.optimize.tflite.scope import Scope
    from edgewright.optimize.tflite.values import Value

__all__ = ["pad", "pad_image"]

_ONNX_UINT8 = 2
_REFLECT = 0
_LOWEST = float(np.finfo(np.float32).min)


def pad_image(scope: Scope, value: Value, pads: Sequence[tuple[int, int]], *, lowest: bool = False) -> Value:
    """Pads height and width of a picture that is kept as NHWC.

    Args:
        scope: The file in the making.
        value: The picture.
        pads: Before and behind, of height and width.
        lowest: Fill with what no maximum takes instead of 0.0.
    """
    rows = [(0, 0), (0, 0), *pads]
    scope.counts["padded"] += 1
    return _padded(scope, value, rows, f"{scope.flat.name(value.tensor)}/padded", fill=_LOWEST if lowest else None)


def pad(scope: Scope, node: Node) -> None:
    """Writes a Pad as PAD, PADV2 or MIRROR_PAD.

    Raises:
        ConversionError: Pads are not constant, negative, or of a mode that TFLite lacks.
    """
    value = scope.value(node)
    rank = len(value.shape)
    sides = scope.array(node, 1) if len(node.inputs) > 1 else np.array(node.attributes.get("pads", ()))
    if sides is None or (sides < 0).any():
        raise refuse(node, "pads must be constant and not negative")
    chosen = scope.array(node, 3)
    axes = range(rank) if chosen is None else [int(axis) % rank for axis in chosen.reshape(-1)]
    rows = [(0, 0)] * rank
    half = len(sides) // 2
    for place, axis in enumerate(axes):
        rows[axis] = (int(sides[place]), int(sides[half + place]))
    target = scope.target(node)
    mode = node.attributes.get("mode", "constant")
    if mode == "reflect":
        scope.finish(node, target, _mirrored(scope, value, rows, target.name))
        return
    if mode != "constant":
        raise refuse(node, f"TFLite has no padding of mode {mode!r}")
    fill = scope.array(node, 2)
    number = None if fill is None else fill.reshape(-1)[0]
    if number is None and float(node.attributes.get("value", 0.0)):
        number = np.float32(node.attributes["value"])
    scope.finish(node, target, _padded(scope, value, rows, target.name, fill=number))


def _padded(scope: Scope, value: Value, rows: Sequence[tuple[int, int]], name: str, *, fill: Any) -> Value:
    shape = tuple(size + before + after for size, (before, after) in zip(value.shape, rows, strict=True))
    made = Made(name, shape, value.axes, value.grid)
    table = scope.numbers(f"{name}/pads", [rows[axis] for axis in value.axes])
    version = 1 if value.grid is None else 2
    if fill is None or (fill == 0 and not isinstance(fill, np.uint8)):
        return scope.emit("PAD", [value.tensor, table], made, Options("PadOptions"), version)
    if value.grid is None:
        constant = scope.constant(f"{name}/fill", np.array([fill], np.float32))
    else:
        # A camera's picture is padded with a pixel, which is a code; everything else with a real number.
        code = (
            np.array([int(fill) - 128], np.int8) if isinstance(fill, np.uint8) else value.grid.codes(np.array([fill]))
        )
        constant = scope.constant(f"{name}/fill", code, value.grid)
    return scope.emit("PADV2", [value.tensor, table, constant], made, Options("PadV2Options"), version)


def _mirrored(scope: Scope, value: Value, rows: Sequence[tuple[int, int]], name: str) -> Value:
    shape = tuple(size + before + after for size, (before, after) in zip(value.shape, rows, strict=True))
    table = scope.numbers(f"{name}/pads", [rows[axis] for axis in value.axes])
    made = Made(name, shape, value.axes, value.grid)
    options = Options("MirrorPadOptions", {"mode": _REFLECT})
    return scope.emit("MIRROR_PAD", [value.tensor, table], made, options, 1 if value.grid is None else 2)
