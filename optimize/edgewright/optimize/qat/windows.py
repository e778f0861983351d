"""Operators with weights or windows (convolution, pooling, matrix product), as ONNX defines them, on PyTorch tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - this module is PyTorch functions, imported only where something is trained
from torch.nn import functional  # noqa: TID253

from edgewright.optimize.qat.node import NodeView, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgewright.optimize.qat.node import Builder

__all__ = ["WINDOWS"]

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_MAXIMA = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_MEANS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


class _Frame:
    """Where the windows of a node lie: sizes, steps, and how much is padded."""

    def __init__(self, node: NodeView, kernel: Sequence[int]) -> None:
        self.kernel, rank = tuple(int(size) for size in kernel), len(kernel)
        self.strides = node.integers("strides", (1,) * rank)
        self.dilations = node.integers("dilations", (1,) * rank)
        self.pads = node.integers("pads", (0,) * 2 * rank)
        self.auto = node.text("auto_pad", "NOTSET")

    def padding(self, x: torch.Tensor) -> list[tuple[int, int]]:
        """Values added before and after on every axis."""
        rank = len(self.kernel)
        if self.auto == "VALID":
            return [(0, 0)] * rank
        if self.auto == "NOTSET":
            return [(self.pads[k], self.pads[k + rank]) for k in range(rank)]
        pairs = []
        for k, size in enumerate(x.shape[2:]):
            outputs = -(-size // self.strides[k])
            need = max(0, (outputs - 1) * self.strides[k] + (self.kernel[k] - 1) * self.dilations[k] + 1 - size)
            small, large = need // 2, need - need // 2
            pairs.append((small, large) if self.auto == "SAME_UPPER" else (large, small))
        return pairs

    def padded(self, x: torch.Tensor, value: float) -> tuple[torch.Tensor, tuple[int, ...]]:
        """The input, padded itself where PyTorch's operator cannot, and what is left for the operator to pad."""
        pairs = self.padding(x)
        if all(before == after for before, after in pairs):
            return x, tuple(before for before, _ in pairs)
        flat = [size for pair in reversed(pairs) for size in pair]
        return functional.pad(x, flat, value=value), (0,) * len(pairs)


def _conv(node: NodeView) -> Operation:
    kernel = node.integers("kernel_shape", ()) or node.constant(1, "weights").shape[2:]
    frame, groups = _Frame(node, kernel), node.integer("group", 1)
    convolve = _CONVOLUTIONS.get(len(frame.kernel))
    if convolve is None:
        raise node.refusal(f"it works on {len(frame.kernel)} dimensions")

    def call(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        x, pads = frame.padded(x, 0.0)
        return convolve(x, weight, bias, frame.strides, pads, frame.dilations, groups)

    return Operation(call, (0, 1, 2) if node.given(2) else (0, 1))


def _conv_transpose(node: NodeView) -> Operation:
    kernel = node.integers("kernel_shape", ()) or node.constant(1, "weights").shape[2:]
    frame, groups = _Frame(node, kernel), node.integer("group", 1)
    extra = node.integers("output_padding", (0,) * len(frame.kernel))
    convolve = _TRANSPOSED.get(len(frame.kernel))
    if convolve is None or frame.auto not in {"NOTSET", "VALID"} or "output_shape" in node.attributes:
        raise node.refusal("its padding is not given in numbers")

    def call(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        pairs = frame.padding(x)
        whole = convolve(x, weight, bias, frame.strides, 0, extra, groups, frame.dilations)
        for k, (before, after) in enumerate(pairs):
            whole = whole.narrow(k + 2, before, whole.shape[k + 2] - before - after)
        return whole

    return Operation(call, (0, 1, 2) if node.given(2) else (0, 1))


def _gemm(node: NodeView) -> Operation:
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    first, second = bool(node.integer("transA", 0)), bool(node.integer("transB", 0))

    def call(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        y = (x.T if first else x) @ (weight.T if second else weight)
        y = y if alpha == 1 else alpha * y
        return y if bias is None else y + (bias if beta == 1 else beta * bias)

    return Operation(call, (0, 1, 2) if node.given(2) else (0, 1))


def _matmul(_node: NodeView) -> Operation:
    return Operation(torch.matmul, (0, 1))


def _max_pool(node: NodeView) -> Operation:
    frame, ceil = _Frame(node, node.integers("kernel_shape", ())), bool(node.integer("ceil_mode", 0))
    pool = _pool(node, _MAXIMA, frame)
    if node.outputs > 1:
        raise node.refusal("its indices are used")

    def call(x: torch.Tensor) -> torch.Tensor:
        x, pads = frame.padded(x, -float("inf"))
        y: torch.Tensor = pool(x, frame.kernel, frame.strides, pads, frame.dilations, ceil)
        return y

    return Operation(call, moves=True)


def _average_pool(node: NodeView) -> Operation:
    frame, ceil = _Frame(node, node.integers("kernel_shape", ())), bool(node.integer("ceil_mode", 0))
    pool, count = _pool(node, _MEANS, frame), bool(node.integer("count_include_pad", 0))
    if any(size != 1 for size in frame.dilations):
        raise node.refusal("its window is dilated")

    def call(x: torch.Tensor) -> torch.Tensor:
        y, pads = frame.padded(x, 0.0)
        answer: torch.Tensor = pool(y, frame.kernel, frame.strides, pads, ceil, count)
        if y is x or count:
            return answer
        ones, _ = frame.padded(torch.ones_like(x[:1, :1]), 0.0)
        share: torch.Tensor = pool(ones, frame.kernel, frame.strides, 0, ceil, True)
        return answer / share

    return Operation(call)


def _pool(node: NodeView, table: Mapping[int, Callable[..., Any]], frame: _Frame) -> Callable[..., Any]:
    pool = table.get(len(frame.kernel))
    if pool is None:
        raise node.refusal(f"it works on {len(frame.kernel)} dimensions")
    return pool


def _global_mean(_node: NodeView) -> Operation:
    return Operation(lambda x: x.mean(tuple(range(2, x.ndim)), keepdim=True))


def _global_max(_node: NodeView) -> Operation:
    return Operation(lambda x: x.amax(tuple(range(2, x.ndim)), keepdim=True), moves=True)


WINDOWS: Mapping[str, Builder] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_mean,
    "GlobalMaxPool": _global_max,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
}
"""Builders by operator."""
