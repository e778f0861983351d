"""A quantized layer as the integer matrix products that ONNX Runtime makes of it.

Checked bit by bit against ONNX Runtime 1.32 (``scripts/saturation``): a convolution runs over kernel positions first
and over the channels of its group last, whatever the layout of the file, and pads with the input's zero point;
a depthwise convolution has a kernel of its own that never saturates; unsigned weights never saturate. Signed activations
do like unsigned ones: on x86 the engine rewrites a graph of QuantizeLinear and DequantizeLinear to unsigned codes,
128 higher. (Operators that are given int8 at once, such as MatMulInteger, have an exact and slow kernel.) Whole graphs
with signed activations are emulated less well: which of their operators run in integers depends on more than is looked
at here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.graph.segments import node_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.quantization.integer_graph import IntegerLayer

__all__ = ["LayerProduct", "integer_layers", "layer_product"]


@dataclass(frozen=True, eq=False)
class LayerProduct:
    """One layer's product.

    Attributes:
        layer: The layer.
        weights: Signed codes of each group in the engine's order, (groups, k, outputs of a group).
    """

    layer: IntegerLayer
    weights: NDArray[np.int8]

    def columns(self, codes: NDArray[Any]) -> Iterator[tuple[Callable[[int], NDArray[Any]], int]]:
        """For each group, how activation codes are had, and how many positions there are.

        Args:
            codes: The input's unsigned codes in the graph's layout: (n, c, *space) for convolutions, else (..., k).
        """
        if self.layer.op_type != "Conv":
            flat = codes.reshape(-1, codes.shape[-1])
            yield lambda row: flat[:, row], len(flat)
            return
        padded, windows = _windows(self.layer, codes)
        wide = codes.shape[1] // len(self.weights)
        positions = padded[:, 0][(slice(None), *windows[0])].size
        for group in range(len(self.weights)):
            yield _picker(padded, windows, group * wide, wide), positions

    def exact(self, codes: NDArray[Any]) -> NDArray[np.int64]:
        """The exact product of a MatMul, (..., outputs): no engine's float kernels are needed, or asked."""
        grid = self.layer.input
        centred = codes.astype(np.float64) - (grid.zero_point - grid.low)
        return np.asarray(np.rint(centred @ self.weights[0].astype(np.float64)), np.int64)

    def arrange(self, sums: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Products (groups, positions, outputs of a group) in the shape of the layer's output."""
        if self.layer.op_type != "Conv":
            return np.asarray(sums[0].reshape(shape))
        groups, _, outputs = sums.shape
        batch, space = shape[0], shape[2:]
        maps = sums.transpose(0, 2, 1).reshape(groups * outputs, batch, *space)
        return np.moveaxis(maps, 1, 0)


def integer_layers(model: onnx.ModelProto, layers: tuple[IntegerLayer, ...]) -> tuple[IntegerLayer, ...]:
    """Those layers that the engine computes on x86 with unsigned activations and signed weights in integers.

    A convolution needs an output that is quantized at once and a bias that is too; matrix products do not.

    Args:
        model: The QDQ graph.
        layers: Its layers.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    nodes = {node_id(node): node for node in model.graph.node}
    producers = {name: node for node in model.graph.node for name in node.output}
    at_zero = _lowest_codes(model)
    found = []
    for layer in layers:
        source = producers.get(producers[layer.input_tensor].input[0])
        unsigned = layer.input.low == 0 or (source is not None and source.op_type == "QuantizeLinear")
        if unsigned and _runs_in_integers(layer, nodes[layer.node], readers, at_zero):
            found.append(layer)
    return tuple(found)


def _runs_in_integers(
    layer: IntegerLayer, node: onnx.NodeProto, readers: Mapping[str, list[onnx.NodeProto]], at_zero: frozenset[str]
) -> bool:
    if layer.codes.dtype != np.int8 or _own_kernel(layer) or layer.op_type == "ConvTranspose":
        return False
    if layer.op_type != "Conv":
        return True
    if len(node.input) > 2 and node.input[2] and layer.bias is None:
        return False
    output = layer.output
    followers = readers.get(output, [])
    behind_relu = len(followers) == 1 and followers[0].op_type == "Relu"
    if behind_relu:
        followers = readers.get(followers[0].output[0], [])
    if len(followers) != 1 or followers[0].op_type != "QuantizeLinear":
        return False
    # The engine drops a Relu where the grid begins at 0.0 anyway, and else leaves the convolution in float.
    return not behind_relu or followers[0].input[2] in at_zero


def _lowest_codes(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the zero points that are the smallest code of their type."""
    from onnx import numpy_helper

    small = {t.name: np.asarray(numpy_helper.to_array(t)) for t in model.graph.initializer if not t.dims}
    codes = {name: value for name, value in small.items() if value.dtype in (np.uint8, np.int8)}
    return frozenset(name for name, value in codes.items() if int(value) == np.iinfo(value.dtype).min)


def _own_kernel(layer: IntegerLayer) -> bool:
    """One channel in and one out of each group: a multiplier of two, say, goes the way of all products again."""
    return layer.depthwise and layer.channels == int(layer.attributes["group"])


def layer_product(layer: IntegerLayer) -> LayerProduct:
    """The weights of a layer, in the engine's order.

    Raises:
        JudgeError: The layer is a product of more than two axes of weights, or one that is scaled or transposed.
    """
    codes = layer.codes
    if layer.op_type == "Conv":
        groups = int(layer.attributes.get("group", 1))
        wide = codes.reshape(groups, codes.shape[0] // groups, codes.shape[1], -1)
        return LayerProduct(layer, wide.transpose(0, 3, 2, 1).reshape(groups, -1, codes.shape[0] // groups))
    scaled = any(layer.attributes.get(name, 1.0) != 1.0 for name in ("alpha", "beta"))
    if codes.ndim != 2 or scaled or layer.attributes.get("transA", 0):
        msg = f"layer {layer.node!r} is no plain matrix product; what saturation does to it cannot be said"
        raise JudgeError(msg)
    return LayerProduct(layer, (codes.T if layer.axis == 0 else codes)[None])


def _picker(
    padded: NDArray[Any], windows: list[tuple[slice, ...]], start: int, wide: int
) -> Callable[[int], NDArray[Any]]:
    def column(row: int) -> NDArray[Any]:
        return np.asarray(padded[:, start + row % wide][(slice(None), *windows[row // wide])]).ravel()

    return column


def _windows(layer: IntegerLayer, codes: NDArray[Any]) -> tuple[NDArray[Any], list[tuple[slice, ...]]]:
    """The padded input, and for each kernel position the pixels it meets."""
    kernel, space = layer.codes.shape[2:], codes.shape[2:]
    strides = layer.attributes.get("strides") or [1] * len(kernel)
    dilations = layer.attributes.get("dilations") or [1] * len(kernel)
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    before, after = _pads(layer, space, strides, reach)
    width = [(0, 0), (0, 0), *zip(before, after, strict=True)]
    padded = np.pad(codes, width, constant_values=layer.input.zero_point - layer.input.low)
    counts = [
        (size + low + high - far) // stride + 1
        for size, low, high, far, stride in zip(space, before, after, reach, strides, strict=True)
    ]
    windows = [
        tuple(
            slice(at * dilation, at * dilation + (count - 1) * stride + 1, stride)
            for at, dilation, count, stride in zip(place, dilations, counts, strides, strict=True)
        )
        for place in itertools.product(*(range(size) for size in kernel))
    ]
    return padded, windows


def _pads(
    layer: IntegerLayer, space: tuple[int, ...], strides: list[int], reach: list[int]
) -> tuple[list[int], list[int]]:
    automatic = layer.attributes.get("auto_pad", b"NOTSET").decode()
    if automatic in ("NOTSET", "VALID"):
        pads = list(layer.attributes.get("pads") or [0] * 2 * len(space)) if automatic == "NOTSET" else []
        pads = pads or [0] * 2 * len(space)
        return pads[: len(space)], pads[len(space) :]
    total = [
        max(0, (-(-size // stride) - 1) * stride + far - size)
        for size, stride, far in zip(space, strides, reach, strict=True)
    ]
    small, large = [value // 2 for value in total], [value - value // 2 for value in total]
    return (small, large) if automatic == "SAME_UPPER" else (large, small)
