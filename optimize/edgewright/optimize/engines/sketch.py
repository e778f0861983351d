"""Tensors known by their values: the same tensor in two graphs that call it by different names.

A sketch holds evenly spread samples of a tensor in memory order, with its extremes, over a few pictures. Two tensors
of two exports of one network are the same if their sketches agree within what float arithmetic may differ. A tensor
and its reshaped self have one sketch, and rightly so: they have one range, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.graph.engine import open_engine, run_engine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.types import Feeds

__all__ = ["Sketch", "onnx_sketches", "same_values", "sketch"]

_SAMPLES = 512
_TOLERANCE = 2e-3  # of the largest value; folding batch norms in another order moves deep values by 1e-4


@dataclass(frozen=True, eq=False)
class Sketch:
    """A tensor over some pictures.

    Attributes:
        count: Its elements.
        values: Samples, then minimum, maximum and mean, for each picture in turn, (pictures * (samples + 3),) float64.
    """

    count: int
    values: NDArray[np.float64]

    def joined(self, other: Sketch) -> Sketch:
        """This one over its pictures and those of ``other``."""
        return Sketch(self.count, np.concatenate([self.values, other.values]))


def sketch(tensor: NDArray[Any]) -> Sketch:
    """The sketch of one tensor for one picture."""
    flat = np.asarray(tensor, np.float64).reshape(-1)
    if not flat.size:
        return Sketch(0, np.zeros(0))
    places = np.linspace(0, flat.size - 1, min(flat.size, _SAMPLES)).astype(np.int64)
    return Sketch(flat.size, np.concatenate([flat[places], [flat.min(), flat.max(), flat.mean()]]))


def same_values(one: Sketch, other: Sketch) -> bool:
    """Whether two sketches may be of the same tensor."""
    if one.count != other.count or one.values.shape != other.values.shape:
        return False
    scale = max(float(np.abs(one.values).max(initial=0.0)), float(np.abs(other.values).max(initial=0.0)))
    return float(np.abs(one.values - other.values).max(initial=0.0)) <= _TOLERANCE * scale


def onnx_sketches(model: bytes, feeds: Sequence[Feeds], threads: int = 1) -> dict[str, Sketch]:
    """Runs a graph and sketches every float tensor of it.

    Args:
        model: A float ONNX file with fixed shapes, every intermediate shape known.
        feeds: A few pictures; the values of one at a time are in memory.
        threads: For the engine.

    Returns:
        Tensor name to sketch, inputs included.

    Raises:
        JudgeError: The engine refuses the graph.
    """
    import onnx

    source = onnx.load_model_from_string(model)
    constants = {tensor.name for tensor in source.graph.initializer}
    known = {value.name for value in source.graph.output}
    for value in source.graph.value_info:
        kind = value.type.tensor_type.elem_type
        if kind == onnx.TensorProto.FLOAT and value.name not in constants | known:
            source.graph.output.append(value)
    session = open_engine(source.SerializeToString(), threads=threads, what="the model with all its values shown")
    names = [value.name for value in session.get_outputs() if value.type == "tensor(float)"]
    found: dict[str, Sketch] = {}
    for feed in feeds:
        values: Mapping[str, NDArray[Any]] = {**feed, **run_engine(session, names, feed)}
        for name, value in values.items():
            made = sketch(value)
            found[name] = found[name].joined(made) if name in found else made
    return found
