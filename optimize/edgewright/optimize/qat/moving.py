"""Operators that move, pick or join values, as ONNX defines them, on PyTorch tensors.

Exported graphs have shapes with one picture written into them. For several pictures the first dimension grows as many
times; the executor is proved on pictures before it is trained, and runs them one by one where this is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # noqa: TID253 - this module is PyTorch functions, imported only where something is trained
from torch.nn import functional  # noqa: TID253

from edgewright.optimize.qat.node import NodeView, Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.optimize.qat.node import Builder

__all__ = ["MOVING"]


def _reshape(node: NodeView) -> Operation:
    wanted = [int(size) for size in node.constant(1, "shape").reshape(-1)]
    zeros, one = bool(node.integer("allowzero", 0)), node.shape

    def call(x: torch.Tensor) -> torch.Tensor:
        if one:
            return x.reshape(x.numel() // int(np.prod(one)) * one[0], *one[1:])
        return x.reshape([x.shape[k] if size == 0 and not zeros else size for k, size in enumerate(wanted)])

    return Operation(call, moves=True)


def _flatten(node: NodeView) -> Operation:
    axis = node.integer("axis", 1)

    def call(x: torch.Tensor) -> torch.Tensor:
        at = axis % x.ndim if axis < 0 else axis
        return x.reshape(int(np.prod(x.shape[:at])), -1)

    return Operation(call, moves=True)


def _transpose(node: NodeView) -> Operation:
    order = node.integers("perm", ())
    return Operation(lambda x: x.permute(order or tuple(reversed(range(x.ndim)))), moves=True)


def _squeeze(node: NodeView) -> Operation:
    axes = node.axes()
    if axes is None:
        raise node.refusal("it does not say which axes it takes away")
    return Operation(lambda x: torch.squeeze(x, axes), moves=True)


def _unsqueeze(node: NodeView) -> Operation:
    axes = node.axes() or ()

    def call(x: torch.Tensor) -> torch.Tensor:
        rank = x.ndim + len(axes)
        for axis in sorted(axis % rank for axis in axes):
            x = x.unsqueeze(axis)
        return x

    return Operation(call, moves=True)


def _concat(node: NodeView) -> Operation:
    axis = node.integer("axis", 0)

    def call(*parts: torch.Tensor) -> torch.Tensor:
        batch = max(part.shape[0] for part in parts)
        # A constant part was written for one picture.
        whole = [part if part.shape[0] == batch or axis == 0 else part.expand(batch, *part.shape[1:]) for part in parts]
        return torch.cat(whole, axis)

    return Operation(call, tuple(range(len(node.present))))


def _split(node: NodeView) -> Operation:
    axis, sizes = node.integer("axis", 0), node.attributes.get("split")
    if node.given(1):
        sizes = node.constant(1, "sizes").reshape(-1).tolist()
    count = node.outputs

    def call(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        whole = x.shape[axis]
        parts = [int(size) for size in sizes] if sizes is not None else _even(whole, count)
        return tuple(torch.split(x, parts, axis))

    return Operation(call, moves=True)


def _even(whole: int, count: int) -> list[int]:
    each = -(-whole // count)
    return [min(each, whole - start) for start in range(0, whole, each)]


def _slice(node: NodeView) -> Operation:
    if "starts" in node.attributes:
        starts, ends = node.integers("starts", ()), node.integers("ends", ())
        axes, steps = node.integers("axes", tuple(range(len(starts)))), (1,) * len(starts)
    else:
        starts, ends = (tuple(map(int, node.constant(k, "bounds").reshape(-1))) for k in (1, 2))
        given = [node.optional(k, "axes or steps") for k in (3, 4)]
        axes = tuple(range(len(starts))) if given[0] is None else tuple(map(int, given[0].reshape(-1)))
        steps = (1,) * len(starts) if given[1] is None else tuple(map(int, given[1].reshape(-1)))
    cuts = tuple(zip(axes, starts, ends, steps, strict=True))

    def call(x: torch.Tensor) -> torch.Tensor:
        for axis, start, end, step in cuts:
            taken = range(x.shape[axis])[start : None if end <= -(2**31) else end : step]
            if step == 1:
                x = x.narrow(axis, taken.start, len(taken))
            else:
                x = x.index_select(axis, torch.tensor(list(taken), device=x.device))
        return x

    return Operation(call, moves=True)


def _gather(node: NodeView) -> Operation:
    axis, places = node.integer("axis", 0), node.constant(1, "indices").astype(np.int64)
    shape, flat = places.shape, places.reshape(-1).tolist()

    def call(x: torch.Tensor) -> torch.Tensor:
        at = axis % x.ndim
        size = x.shape[at]
        index = torch.tensor([place % size for place in flat], device=x.device)
        return x.index_select(at, index).reshape(*x.shape[:at], *shape, *x.shape[at + 1 :])

    return Operation(call, moves=True)


def _pad(node: NodeView) -> Operation:
    mode = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}.get(node.text("mode", "constant"))
    if mode is None or node.given(3):
        raise node.refusal("only constant, edge and reflect padding of all axes are known")
    pads = node.integers("pads", ()) or tuple(map(int, node.constant(1, "pads").reshape(-1)))
    value = node.real("value", 0.0)
    if node.given(2):
        value = float(node.constant(2, "value").reshape(-1)[0])
    rank = len(pads) // 2
    pairs = [(pads[k], pads[k + rank]) for k in range(rank)]
    # PyTorch counts from the last axis, and knows no other modes for the first two.
    kept = pairs if mode == "constant" else pairs[2:]
    if mode != "constant" and any(any(pair) for pair in pairs[:2]):
        raise node.refusal(f"it pads batch or channels in mode {mode}")
    flat = [size for pair in reversed(kept) for size in pair]
    return Operation(lambda x: functional.pad(x, flat, mode, value if mode == "constant" else None))


def _expand(node: NodeView) -> Operation:
    shape = [int(size) for size in node.constant(1, "shape").reshape(-1)]

    def call(x: torch.Tensor) -> torch.Tensor:
        both = np.broadcast_shapes(tuple(x.shape), (x.shape[0] if shape[0] == 1 else shape[0], *shape[1:]))
        return x.expand(both)

    return Operation(call, moves=True)


def _depth_to_space(node: NodeView) -> Operation:
    block, mode = node.integer("blocksize", 1), node.text("mode", "DCR")

    def call(x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        if mode == "CRD":
            return functional.pixel_shuffle(x, block)
        parts = x.reshape(n, block, block, c // block**2, h, w)
        return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, c // block**2, h * block, w * block)

    return Operation(call, moves=True)


def _space_to_depth(node: NodeView) -> Operation:
    block = node.integer("blocksize", 1)

    def call(x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // block, block, w // block, block)
        return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, c * block**2, h // block, w // block)

    return Operation(call, moves=True)


def _resize(node: NodeView) -> Operation:
    mode, where = node.text("mode", "nearest"), node.text("coordinate_transformation_mode", "half_pixel")
    size = _sizes(node)
    corners = where == "align_corners"
    known = {"nearest": ("asymmetric", "half_pixel"), "linear": ("half_pixel", "pytorch_half_pixel", "align_corners")}
    if where not in known.get(mode, ()) or node.integer("antialias", 0):
        raise node.refusal(f"resizing {mode} with {where} is not known")

    def call(x: torch.Tensor) -> torch.Tensor:
        to = size(x)
        if mode == "nearest":
            return functional.interpolate(x, to, mode="nearest")
        name = {3: "linear", 4: "bilinear", 5: "trilinear"}[x.ndim]
        return functional.interpolate(x, to, mode=name, align_corners=corners)

    return Operation(call, moves=mode == "nearest")


def _sizes(node: NodeView) -> Any:
    """A function from the input to the sizes behind batch and channels."""
    factors, sizes = node.optional(2, "factors"), node.optional(3, "sizes")
    if sizes is not None and sizes.size:
        fixed = tuple(int(size) for size in sizes.reshape(-1)[2:])
        return lambda _x: fixed
    if factors is None or not factors.size:
        raise node.refusal("it has neither sizes nor factors")
    scale = [float(factor) for factor in factors.reshape(-1)[2:]]
    return lambda x: tuple(int(size * factor) for size, factor in zip(x.shape[2:], scale, strict=True))


MOVING: Mapping[str, Builder] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""Builders by operator."""
