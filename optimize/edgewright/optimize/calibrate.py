"""The range of every activation, from real pictures, in memory that does not grow with their number.

Each picture runs through the float graph once, with a minimum and a maximum taken inside the engine after every
operator; only running extremes and sums are kept. Two ways to turn them into ranges come out of the same pass:

- ``MINMAX``: the smallest and the largest value ever seen.
- ``MEAN_MINMAX``: the mean of each picture's smallest and largest value; one odd picture then does not coarsen the
  grid for all others.

What feeds a graph output always gets the full range, for a clipped logit is a lost answer.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import JudgeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx
    from numpy.typing import NDArray

__all__ = ["RangeCollector", "RangeMethod", "output_tensors"]

# Operators that hand values on without computing new ones, or squash them so that clipping before would matter.
_TRANSPARENT = frozenset(
    {
        "Concat",
        "Flatten",
        "Identity",
        "Reshape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)


class RangeMethod(str, Enum):
    """How observed extremes become a range."""

    MINMAX = "minmax"
    MEAN_MINMAX = "mean-minmax"


class RangeCollector:
    """Watches the activations of a float graph."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Adds the observers and loads the graph.

        Args:
            model: A float ONNX file with fixed shapes, every intermediate shape known.
            threads: For the engine.
        """
        import onnx

        graph = onnx.load_model_from_string(model)
        self.tensors = tuple(_float_tensors(graph))
        self._full_range = output_tensors(graph)
        self._names = _observe(graph, self.tensors)
        self._session = _load(graph.SerializeToString(), threads)
        count = len(self.tensors)
        self._low, self._high = np.full(count, np.inf), np.full(count, -np.inf)
        self._sums = np.zeros((2, count))
        self.samples = 0

    def observe(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Takes in one picture.

        Args:
            feeds: The graph's inputs by name.

        Raises:
            JudgeError: The float model answered NaN or infinity somewhere.
        """
        values = np.array(self._session.run(self._names, dict(feeds)), np.float64).reshape(2, -1)
        if not np.isfinite(values).all():
            bad = self.tensors[int(np.flatnonzero(~np.isfinite(values).all(axis=0))[0])]
            msg = (
                f"the float model gives NaN or infinity in tensor {bad!r}; it cannot be quantized before that is mended"
            )
            raise JudgeError(msg)
        self._low, self._high = np.minimum(self._low, values[0]), np.maximum(self._high, values[1])
        self._sums += values
        self.samples += 1

    def ranges(self, method: RangeMethod) -> dict[str, tuple[float, float]]:
        """The range of every float tensor.

        Args:
            method: How extremes become ranges.

        Returns:
            Tensor name to (low, high).

        Raises:
            JudgeError: Nothing was observed.
        """
        if not self.samples:
            msg = "no calibration picture was observed"
            raise JudgeError(msg)
        means = self._sums / self.samples
        ranges = {}
        for index, name in enumerate(self.tensors):
            full = method is RangeMethod.MINMAX or name in self._full_range
            low, high = (self._low[index], self._high[index]) if full else means[:, index]
            ranges[name] = (float(low), float(high))
        return ranges


def output_tensors(model: onnx.ModelProto) -> frozenset[str]:
    """The graph's outputs, and what reaches them through operators that only move or squash values.

    Args:
        model: The float graph.

    Returns:
        Tensor names.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()
    waiting = [output.name for output in model.graph.output]
    while waiting:
        name = waiting.pop()
        if name in found or name not in producers:
            continue
        found.add(name)
        if producers[name].op_type in _TRANSPARENT:
            waiting.extend(producers[name].input)
    return frozenset(found)


def _float_tensors(model: onnx.ModelProto) -> Iterable[str]:
    import onnx

    constants = {tensor.name for tensor in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name not in constants:
            yield value.name


def _observe(model: onnx.ModelProto, tensors: Iterable[str]) -> list[str]:
    """Adds ReduceMin and ReduceMax over all axes; returns the names of all minima, then of all maxima."""
    import onnx

    names: dict[str, list[str]] = {"ReduceMin": [], "ReduceMax": []}
    for tensor in tensors:
        for operator, outputs in names.items():
            output = f"{tensor}/edgewright.{operator}"
            model.graph.node.append(onnx.helper.make_node(operator, [tensor], [output], keepdims=0))
            model.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, []))
            outputs.append(output)
    return names["ReduceMin"] + names["ReduceMax"]


def _load(model: bytes, threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
