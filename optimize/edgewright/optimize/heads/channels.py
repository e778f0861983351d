"""The parts of a tensor that later operators take out of it, or whose channels are of different size."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.graph.engine import open_engine, run_engine
from edgewright.optimize.sensitivity.structure import GraphView

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.types import FeedSource, Ranges

__all__ = [
    "Part",
    "axis_of",
    "channel_ranges",
    "head_channel_ranges",
    "last_weights",
    "moved_axis",
    "parts_of",
    "sliced_part",
]

_FACTOR = 16.0  # between neighbours' sizes, for channels to count as different things
_AXIS = 1
_PLACES = 3  # dimensions of a tensor with channels and places; a row of logits is one thing, however its members differ
_SLICE_NAMES = 3  # starts, ends, axes
_MOST_PARTS = 8  # a head has few kinds of channels; more changes than that are chance


@dataclass(frozen=True)
class Part:
    """Channels ``start`` to ``stop`` of a tensor, and their range."""

    start: int
    stop: int
    low: float
    high: float

    @property
    def size(self) -> float:
        """Width of its grid, which always holds zero."""
        return max(self.high, 0.0) - min(self.low, 0.0)


def last_weights(view: GraphView) -> tuple[str, ...]:
    """Outputs of weighted nodes that no further weights follow."""
    return tuple(
        node.output[0]
        for node in view.weighted_nodes
        if all((reader.name or reader.output[0]) in view.tail for reader in view.readers.get(node.output[0], []))
    )


def head_channel_ranges(model: bytes, feeds: FeedSource) -> dict[str, NDArray[np.float64]]:
    """``channel_ranges`` of the outputs of all ``last_weights``.

    Args:
        model: The float graph.
        feeds: Some calibration pictures; at least one.

    Raises:
        JudgeError: There was no picture.
    """
    import onnx

    return channel_ranges(model, last_weights(GraphView(onnx.load_model_from_string(model))), feeds)


def channel_ranges(model: bytes, tensors: Collection[str], feeds: FeedSource) -> dict[str, NDArray[np.float64]]:
    """Low and high of every channel (axis 1) over pictures; extremes only are kept.

    Args:
        model: The float graph.
        tensors: Such as ``last_weights``; those without places (a row of logits) are left out.
        feeds: The calibration pictures; at least one.

    Returns:
        Tensor to (channels, 2).

    Raises:
        JudgeError: There was no picture.
    """
    import onnx

    graph = onnx.load_model_from_string(model)
    have = {output.name for output in graph.graph.output}
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(set(tensors) - have))
    session = open_engine(graph.SerializeToString(), {})
    found: dict[str, NDArray[np.float64]] = {}
    pictures = 0
    for feed in feeds():
        pictures += 1
        for name, value in run_engine(session, tuple(tensors), feed).items():
            if value.ndim >= _PLACES:
                rows = np.moveaxis(value, _AXIS, 0).reshape(value.shape[_AXIS], -1).astype(np.float64)
                seen = np.stack([rows.min(axis=1), rows.max(axis=1)], axis=1)
                old = found.get(name, seen)
                found[name] = np.stack([np.minimum(old[:, 0], seen[:, 0]), np.maximum(old[:, 1], seen[:, 1])], axis=1)
    if not pictures:
        msg = "no picture to take channel ranges from; give at least one"
        raise JudgeError(msg)
    return found


def parts_of(view: GraphView, tensor: str, ranges: Ranges, channels: NDArray[Any] | None = None) -> list[Part]:
    """Consecutive channels that belong together.

    Args:
        view: The float graph.
        tensor: A feature map (n, channels, ...).
        ranges: Of the graph's tensors, for the pieces that the graph itself takes out of it.
        channels: (channels, 2) low and high of each channel; decides alone where it is given.

    Returns:
        Parts in order that cover all channels; one or none where nothing parts them.
    """
    if channels is not None:
        return _by_size(channels)
    shape = view.shape(tensor)
    if len(shape) < _PLACES:
        return []
    pieces = sorted(_taken(view, tensor, _AXIS, ranges), key=lambda part: part.start)
    covers = pieces and pieces[0].start == 0 and pieces[-1].stop == shape[_AXIS]
    joined = all(before.stop == after.start for before, after in itertools.pairwise(pieces))
    return pieces if covers and joined else []


def _by_size(channels: NDArray[Any]) -> list[Part]:
    """Joins neighbours of similar size; a single odd channel between two alike is its own part."""
    sizes = np.maximum(channels[:, 1], 0) - np.minimum(channels[:, 0], 0)
    parts: list[Part] = []
    for number, size in enumerate(sizes):
        low, high = float(channels[number, 0]), float(channels[number, 1])
        last = parts[-1] if parts else None
        if last is not None and max(last.size, size) <= _FACTOR * max(min(last.size, size), 1e-30):
            parts[-1] = Part(last.start, number + 1, min(last.low, low), max(last.high, high))
        else:
            parts.append(Part(number, number + 1, low, high))
    return parts if len(parts) <= _MOST_PARTS else []


def _taken(view: GraphView, tensor: str, axis: int, ranges: Ranges) -> Iterator[Part]:
    """Pieces along ``axis`` that Split and Slice cut, through operators that move the axis about."""
    shape = view.shape(tensor)
    for node in view.readers.get(tensor, []):
        if node.op_type == "Split" and axis_of(node, len(shape)) == axis:
            start = 0
            for piece in node.output:
                stop = start + view.shape(piece)[axis]
                if piece in ranges:
                    yield Part(start, stop, *ranges[piece])
                start = stop
        elif node.op_type == "Slice":
            yield from _sliced(view, node, axis, ranges)
        elif (moved := moved_axis(view, node, axis)) is not None:
            yield from _taken(view, node.output[0], moved, ranges)


def _sliced(view: GraphView, node: onnx.NodeProto, axis: int, ranges: Ranges) -> Iterator[Part]:
    part = sliced_part(view, node)
    if part is not None and part[0] == axis and node.output[0] in ranges:
        yield Part(part[1], part[2], *ranges[node.output[0]])


def sliced_part(view: GraphView, node: onnx.NodeProto) -> tuple[int, int, int] | None:
    """Axis, start and stop of a Slice along one axis with step 1 and constant bounds; None for any other."""
    from onnx import numpy_helper

    names = [name for name in node.input[1:] if name]
    shape = view.shape(node.input[0])
    if len(names) < _SLICE_NAMES or not shape or any(name not in view.constants for name in names):
        return None
    starts, ends, axes, *rest = (numpy_helper.to_array(view.constants[name]).tolist() for name in names)
    if len(axes) != 1 or (rest and rest[0] != [1]):
        return None
    axis = axes[0] % len(shape)
    start, stop, _ = slice(starts[0], ends[0]).indices(shape[axis])
    return axis, start, stop


def moved_axis(view: GraphView, node: onnx.NodeProto, axis: int) -> int | None:
    """Where ``axis`` lies behind a node that only moves values; None where it is not kept whole."""
    before, after = view.shape(node.input[0]), view.shape(node.output[0])
    if node.op_type == "Transpose":
        perm = next((list(item.ints) for item in node.attribute if item.name == "perm"), None)
        return (perm or list(range(len(before)))[::-1]).index(axis)
    if node.op_type == "Concat":
        return None if axis_of(node, len(after)) == axis else axis
    if node.op_type in {"Reshape", "Flatten", "Squeeze", "Unsqueeze"} and after:
        ahead = math.prod(before[:axis])
        return next(
            (place for place, size in enumerate(after) if size == before[axis] and math.prod(after[:place]) == ahead),
            None,
        )
    return axis if node.op_type == "Identity" else None


def axis_of(node: onnx.NodeProto, rank: int) -> int:
    """The attribute ``axis``, counted from the front."""
    axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
    return int(axis % rank) if rank else 0
