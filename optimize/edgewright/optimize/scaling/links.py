"""Places in a float graph where a factor can move from one operator's output channels into its readers' weights.

A link leads from a producer, whose parameters scale its output channels one by one, through operators that a positive
factor passes through, to readers with weights. A ``Clip`` is passed only while its upper bound is not reached, so the
link names the bound and the tensor to be watched.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

__all__ = ["Link", "LinkedGraph"]

_PASSED = frozenset({"AveragePool", "GlobalAveragePool", "Identity", "LeakyRelu", "MaxPool", "Relu"})
_CHANNELS_SECOND = frozenset({"BatchNormalization", "Conv"})
_CHANNELS_LAST = frozenset({"Gemm", "LayerNormalization", "MatMul"})
_READERS = frozenset({"Conv", "Gemm", "MatMul"})


@dataclass(frozen=True, eq=False)
class Link:
    """One such place.

    Attributes:
        producer: Its node.
        readers: Nodes with weights that read the result.
        channels: How many factors there are.
        tensor: What the readers read.
        clipped: Output of the last ``Clip`` on the way, None without one.
        bound: Smallest upper bound on the way, infinity without one.
        passed: Types of the operators on the way.
    """

    producer: onnx.NodeProto
    readers: tuple[onnx.NodeProto, ...]
    channels: int
    tensor: str
    clipped: str | None
    bound: float
    passed: tuple[str, ...] = ()


class LinkedGraph:
    """A float graph, its links, and the parameters that factors go into."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Finds the links; ``model`` is edited by ``scale``."""
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes = list(model.graph.node)
        self._uses = Counter(name for node in self._nodes for name in node.input)
        self._uses.update(output.name for output in model.graph.output)
        self._outputs = {output.name for output in model.graph.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self._nodes:
            for name in set(node.input):
                self._readers.setdefault(name, []).append(node)
        self.links = tuple(link for node in self._nodes if (link := self._link(node)) is not None)

    def array(self, name: str) -> NDArray[Any]:
        """A constant."""
        from onnx import numpy_helper

        return np.asarray(numpy_helper.to_array(self._constants[name]))

    def is_own_constant(self, name: str) -> bool:
        """Whether it is a constant that one node reads."""
        return name in self._constants and self._uses[name] == 1

    def row_sizes(self, link: Link) -> NDArray[np.float64]:
        """(channels,) largest weight of each output channel of a producer with weights."""
        weight = np.abs(self.array(link.producer.input[1]))
        axis = 0 if link.producer.op_type == "Conv" or _transposed(link.producer) else 1
        return np.asarray(np.moveaxis(weight, axis, 0).reshape(link.channels, -1).max(axis=1), np.float64)

    def column_sizes(self, link: Link) -> NDArray[np.float64]:
        """(channels,) largest weight that meets each channel, over all readers."""
        sizes = [_columns(np.abs(self.array(node.input[1])), node).max(axis=1) for node in link.readers]
        return np.asarray(np.max(sizes, axis=0), np.float64)

    def scale(self, link: Link, factors: NDArray[np.float64]) -> None:
        """Divides the producer's channels by ``factors`` (channels,) and multiplies the readers' weights by them."""
        node = link.producer
        first = self.array(node.input[1])
        axis = 1 if node.op_type == "MatMul" or (node.op_type == "Gemm" and not _transposed(node)) else 0
        shape = [1] * first.ndim
        shape[axis] = -1
        self.set_array(node.input[1], first / factors.reshape(shape))
        if len(node.input) > 2 and node.input[2]:
            self.set_array(node.input[2], self.array(node.input[2]) / factors)
        for reader in link.readers:
            weight = self.array(reader.input[1])
            columns = _columns(weight, reader) * factors[:, None]
            self.set_array(reader.input[1], _from_columns(columns, weight.shape, reader))

    def set_array(self, name: str, values: NDArray[Any]) -> None:
        """Replaces a constant; float32."""
        from onnx import numpy_helper

        tensor = self._constants[name]
        kept = np.ascontiguousarray(values, np.float32)
        tensor.CopyFrom(numpy_helper.from_array(kept, name))

    def _link(self, producer: onnx.NodeProto) -> Link | None:
        channels = self._scalable_channels(producer)
        if channels is None:
            return None
        tensor, clipped, bound = producer.output[0], None, np.inf
        passed: list[str] = []
        while True:
            if tensor in self._outputs:
                return None
            readers = self._readers.get(tensor, [])
            if len(readers) == 1 and readers[0].op_type in _PASSED | {"Clip"} and readers[0].input[0] == tensor:
                if readers[0].op_type == "Clip":
                    limit = self._upper_bound(readers[0])
                    if limit is None:
                        return None
                    clipped, bound = readers[0].output[0], min(bound, limit)
                passed.append(readers[0].op_type)
                tensor = readers[0].output[0]
                continue
            break
        if not readers or not all(self._can_take(node, tensor, channels, producer) for node in readers):
            return None
        return Link(producer, tuple(readers), channels, tensor, clipped, float(bound), tuple(passed))

    def _scalable_channels(self, node: onnx.NodeProto) -> int | None:
        if node.op_type not in _CHANNELS_SECOND | _CHANNELS_LAST or len(node.output) > 1 or len(node.input) < 2:
            return None
        names = [name for name in node.input[1:3] if name]
        # A parameter that somebody else reads cannot be scaled for one.
        if not all(name in self._constants and self._uses[name] == 1 for name in names):
            return None
        weight = self.array(node.input[1])
        expected = {"Conv": None, "Gemm": 2, "MatMul": 2}.get(node.op_type, 1)
        if expected is not None and weight.ndim != expected:
            return None
        channels = weight.shape[1] if node.op_type == "MatMul" else weight.shape[0]
        if node.op_type == "Gemm" and not _transposed(node):
            channels = weight.shape[1]
        if len(names) > 1 and self.array(names[1]).shape != (channels,):
            return None
        return int(channels)

    def _can_take(self, node: onnx.NodeProto, tensor: str, channels: int, producer: onnx.NodeProto) -> bool:
        if node.op_type not in _READERS or list(node.input).count(tensor) != 1 or node.input[0] != tensor:
            return False
        if (node.op_type == "Conv") != (producer.op_type in _CHANNELS_SECOND):
            return False
        weight = node.input[1]
        if weight not in self._constants or self._uses[weight] != 1 or _attribute(node, "transA", 0):
            return False
        values = self.array(weight)
        if node.op_type == "Conv":
            return bool(values.shape[1] * int(_attribute(node, "group", 1)) == channels)
        return values.ndim == 2 and bool(values.shape[1 if _transposed(node) else 0] == channels)

    def _upper_bound(self, node: onnx.NodeProto) -> float | None:
        """The bound of a Clip that is zero below; None for another one."""
        names = [name for name in node.input[1:] if name]
        if len(node.input) < 2 or not node.input[1] or not all(name in self._constants for name in names):
            return None
        if float(self.array(node.input[1]).reshape(())) != 0.0:
            return None
        has_upper = len(node.input) > 2 and bool(node.input[2])
        return float(self.array(node.input[2]).reshape(())) if has_upper else np.inf


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(item.i) for item in node.attribute if item.name == name), default)


def _transposed(node: onnx.NodeProto) -> bool:
    return node.op_type == "Gemm" and bool(_attribute(node, "transB", 0))


def _columns(weight: NDArray[Any], node: onnx.NodeProto) -> NDArray[Any]:
    """Weights as (input channels, everything that meets the channel)."""
    if node.op_type == "Conv":
        groups = _attribute(node, "group", 1)
        split = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
        return np.moveaxis(split, 2, 1).reshape(groups * weight.shape[1], -1)
    return weight.T if _transposed(node) else weight


def _from_columns(columns: NDArray[Any], shape: tuple[int, ...], node: onnx.NodeProto) -> NDArray[Any]:
    if node.op_type == "Conv":
        groups = _attribute(node, "group", 1)
        split = columns.reshape(groups, shape[1], shape[0] // groups, -1)
        return np.moveaxis(split, 1, 2).reshape(shape)
    return columns.T if _transposed(node) else columns
