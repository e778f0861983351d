"""Small detectors whose heads put boxes and scores on one grid, as real ones do: weights are random, sizes lifelike.

Every network reads ``image`` (1, 3, 64, 64) in 0..1 and answers ``out``, boxes in pixels beside probabilities (or, for
``mixed``, distances beside logits). ``PARTS`` says which entries of the last axis are boxes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgewright.optimize.calibration.choice import RangeMethod
from edgewright.optimize.calibration.collect import RangeCollector
from edgewright.optimize.passes import prepare_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SIDE = 64
IMAGE = 640.0  # pixels that boxes speak of
CLASSES = 5


@dataclass
class Net:
    """Writes a graph operator by operator."""

    seed: int
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(values, dtype)
        return name

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        name = out or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"n_{name}", **attributes))
        return name

    def split(self, tensor: str, sizes: list[int], axis: int) -> list[str]:
        outputs = [f"split_{len(self.nodes)}_{k}" for k in range(len(sizes))]
        node = helper.make_node(
            "Split", [tensor, self.constant(sizes, np.int64)], outputs, name=f"n_{outputs[0]}", axis=axis
        )
        self.nodes.append(node)
        return outputs

    def conv(
        self, x: str, into: int, outof: int, size: int = 3, stride: int = 1, gain: Any = 1.0, bias: Any = 0.0
    ) -> str:
        scale = np.sqrt(2 / (into * size * size)) * np.broadcast_to(gain, outof)
        weights = self.random.normal(0, 1, (outof, into, size, size)) * scale.reshape(-1, 1, 1, 1)
        offset = np.broadcast_to(np.asarray(bias, np.float32), outof)
        return self.op(
            "Conv",
            x,
            self.constant(weights),
            self.constant(offset),
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
        )

    def unit(self, x: str, into: int, outof: int, stride: int = 1) -> str:
        return self.op("Relu", self.conv(x, into, outof, stride=stride, bias=0.1))

    def linear(self, x: str, into: int, outof: int, gain: float = 1.0, bias: float = 0.0) -> str:
        weights = self.random.normal(0, gain / np.sqrt(into), (into, outof))
        return self.op("Add", self.op("MatMul", x, self.constant(weights)), self.constant(np.full(outof, bias)))

    def pyramid(self) -> list[tuple[str, int, float]]:
        """Two levels: feature map of 16 channels, its side, its stride in pixels of the picture."""
        x = self.unit(self.unit("image", 3, 8, 2), 8, 16, 2)
        fine = self.unit(x, 16, 16, 2)
        return [(fine, 8, IMAGE / 8), (self.unit(fine, 16, 16, 2), 4, IMAGE / 4)]

    def model(self, shape: list[int]) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            "head",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def _cells(side: int) -> NDArray[np.float32]:
    """Column and row of each cell, (2, side * side)."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack([columns.ravel(), rows.ravel()]).astype(np.float32)


def anchor_free() -> bytes:
    """YOLO as of its 8th version: distances to the sides, boxes and class sigmoids in one output (1, cells, 4 + 5)."""
    net = Net(1)
    boxes, scores, centres, strides = [], [], [], []
    for feature, side, stride in net.pyramid():
        count = net.constant([1, 4, side * side], np.int64)
        distances = net.op("Relu", net.conv(net.unit(feature, 16, 16), 16, 4, 1, gain=0.5, bias=1.0))
        logits = net.conv(net.unit(feature, 16, 16), 16, CLASSES, 1, gain=1.5, bias=-2.0)
        boxes.append(net.op("Reshape", distances, count))
        scores.append(net.op("Reshape", logits, net.constant([1, CLASSES, side * side], np.int64)))
        centres.append(_cells(side) + 0.5)
        strides.append(np.full(side * side, stride))
    near, far = net.split(net.op("Concat", *boxes, axis=2), [2, 2], 1)
    centre = net.constant(np.concatenate(centres, axis=1)[None])
    corners = net.op("Concat", net.op("Sub", centre, near), net.op("Add", centre, far), axis=1)
    pixels = net.op("Mul", corners, net.constant(np.concatenate(strides)[None, None]))
    sure = net.op("Sigmoid", net.op("Concat", *scores, axis=2))
    net.op("Transpose", net.op("Concat", pixels, sure, axis=1), out="out", perm=[0, 2, 1])
    return net.model([1, 80, 4 + CLASSES])


def anchored() -> bytes:
    """YOLO as of its 5th version: one convolution a level, sigmoid, grid arithmetic in the graph, (1, boxes, 5 + 5)."""
    net = Net(2)
    levels = []
    each, anchors = 5 + CLASSES, 2
    for feature, side, stride in net.pyramid():
        raw = net.conv(feature, 16, anchors * each, 1, gain=1.2, bias=-0.5)
        apart = net.op("Reshape", raw, net.constant([1, anchors, each, side, side], np.int64))
        sure = net.op("Sigmoid", net.op("Transpose", apart, perm=[0, 1, 3, 4, 2]))
        xy, wh, scores = net.split(sure, [2, 2, each - 4], 4)
        grid = net.constant(_cells(side).T.reshape(1, 1, side, side, 2) - 0.5)
        two, pixels = net.constant([2.0]), net.constant([stride])
        centre = net.op("Mul", net.op("Add", net.op("Mul", xy, two), grid), pixels)
        size = net.op("Mul", net.op("Pow", net.op("Mul", wh, two), two), net.constant([stride / 2]))
        joined = net.op("Concat", centre, size, scores, axis=4)
        levels.append(net.op("Reshape", joined, net.constant([1, anchors * side * side, each], np.int64)))
    net.op("Concat", *levels, out="out", axis=1)
    return net.model([1, 160, each])


def transformer() -> bytes:
    """DETR-like: queries attend to the features, boxes by a sigmoid MLP, the best queries gathered, (1, 8, 4 + 5)."""
    net, width, queries = Net(3), 16, 12
    feature, side, _ = net.pyramid()[0]
    flat = net.op("Reshape", feature, net.constant([1, width, side * side], np.int64))
    memory = net.op("Transpose", flat, perm=[0, 2, 1])
    asked = net.linear(net.constant(net.random.normal(0, 1, (1, queries, width))), width, width)
    keys = net.op("Transpose", net.linear(memory, width, width), perm=[0, 2, 1])
    looks = net.op("Softmax", net.op("MatMul", asked, keys), axis=-1)
    seen = net.op("MatMul", looks, net.linear(memory, width, width))
    ones, zeros = net.constant(np.ones(width)), net.constant(np.zeros(width))
    state = net.op("LayerNormalization", net.op("Add", net.linear(seen, width, width), asked), ones, zeros, axis=-1)
    logits = net.linear(state, width, CLASSES, gain=1.5, bias=-1.0)
    boxes = net.op("Sigmoid", net.linear(net.op("Relu", net.linear(state, width, width)), width, 4))
    pixels = net.op("Mul", boxes, net.constant([IMAGE]))
    answer = net.op("Concat", pixels, net.op("Sigmoid", logits), axis=2)
    chosen = net.constant([0, 2, 3, 5, 7, 8, 10, 11], np.int64)
    net.op("Gather", answer, chosen, out="out", axis=1)
    return net.model([1, 8, 4 + CLASSES])


def mixed() -> bytes:
    """One convolution a level for distances in pixels and class logits; nobody ever splits them, (1, cells, 4 + 5)."""
    net = Net(4)
    levels = []
    gain = np.array([60.0] * 4 + [0.5] * CLASSES)
    bias = np.array([150.0] * 4 + [-0.5] * CLASSES)
    for feature, side, _ in net.pyramid():
        raw = net.conv(net.unit(feature, 16, 256), 256, 4 + CLASSES, 1, gain=gain, bias=bias)
        flat = net.op("Reshape", raw, net.constant([1, 4 + CLASSES, side * side], np.int64))
        levels.append(net.op("Transpose", flat, perm=[0, 2, 1]))
    net.op("Concat", *levels, out="out", axis=1)
    return net.model([1, 80, 4 + CLASSES])


def parted_late() -> bytes:
    """YOLO as it is exported: joined level by level, levels joined, split into boxes and scores, joined again."""
    net = Net(6)
    levels = []
    for feature, side, _ in net.pyramid():
        distances = net.op("Relu", net.conv(net.unit(feature, 16, 16), 16, 4, 1, gain=240.0, bias=600.0))
        logits = net.conv(net.unit(feature, 16, 16), 16, CLASSES, 1, gain=1.5, bias=-1.0)
        joined = net.op("Concat", distances, logits, axis=1)
        levels.append(net.op("Reshape", joined, net.constant([1, 4 + CLASSES, side * side], np.int64)))
    boxes, scores = net.split(net.op("Concat", *levels, axis=2), [4, CLASSES], 1)
    net.op("Concat", net.op("Sqrt", boxes), net.op("Sigmoid", scores), out="raw", axis=1)
    net.op("Transpose", "raw", out="out", perm=[0, 2, 1])
    return net.model([1, 80, 4 + CLASSES])


def residual_classifier() -> bytes:
    """Stem, two residual stages, global pooling, five logits (1, 5); every kind of region is in it but a box head."""
    net = Net(5)
    x = net.unit("image", 3, 8, 2)
    x = net.unit(x, 8, 8)
    for into, outof in ((8, 8), (8, 16)):
        x = net.unit(x, into, outof, 2)
        for _ in range(2):
            x = net.op("Add", x, net.conv(net.unit(x, outof, outof), outof, outof, 1, gain=0.5))
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x))
    weights = net.constant(net.random.normal(0, 1, (16, 5)))
    net.op("Gemm", pooled, weights, out="out")
    return net.model([1, 5])


HEADS: dict[str, Callable[[], bytes]] = {
    "anchor-free": anchor_free,
    "anchored": anchored,
    "transformer": transformer,
    "mixed": mixed,
    "parted-late": parted_late,
}


def pictures(count: int, start: int = 0) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Soft patches of light with some noise."""
    for number in range(start, start + count):
        random = np.random.default_rng(number)
        coarse = random.uniform(0, 1, (1, 3, 8, 8)).repeat(8, axis=2).repeat(8, axis=3)
        noisy = np.clip(coarse + random.normal(0, 0.03, coarse.shape), 0, 1)
        yield {"image": noisy.astype(np.float32)}


def prepared(model: bytes) -> tuple[bytes, dict[str, tuple[float, float]]]:
    """The prepared graph and its ranges over some pictures."""
    ready = prepare_graph(model, list(pictures(2))).model
    collector = RangeCollector(ready)
    for feeds in pictures(12):
        collector.observe(feeds)
    return ready, collector.ranges(RangeMethod.MINMAX)
