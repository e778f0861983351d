"""Biases that give every channel the mean it has in the float network.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2 and its
appendix on empirical correction. Rounded weights see inputs that are not centred, so their errors move the mean of a
channel; the bias takes that back. Three things differ from the paper. The mean is matched behind the activation, where the
quantized output has its clip: that is what later layers read. Layers are settled one after the other on inputs that are
corrected already, in one walk through the integer graph (see ``frontier``). And of each channel's mean error only the
part is taken back that chance does not explain (shrinkage after Efron and Morris 1973, "Stein's Estimation Rule and Its
Competitors"; see ``certain_part``): with few pictures, most of what is measured in the last layers is chance.

The means are those of the pictures given. Where these are not like the device's own, the correction is wrong for the
device, and the chain must find that out on pictures of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.calibration.walk import walk
from edgewright.optimize.errors import DataError
from edgewright.optimize.evaluate.intervals import groups_of
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.rounding.frontier import Frontier, FrontierPiece

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray

    from edgewright.optimize.quantization.integer_graph import IntegerLayer, TensorGrid
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.rounding.base import RoundingInput
    from edgewright.optimize.types import Feeds, FeedSource, OnStep

__all__ = ["ChannelMeans", "CorrectBias", "certain_part", "shift_for_mean"]

_SAMPLE = 2048  # values a channel that tell how a clipped mean follows its bias
_KEPT_BYTES = 64 << 20  # of one layer's outputs over all pictures; above that the layer runs twice
_ROUNDS = 4
_HALVINGS = 32
_BATCHES = 8  # of neighbouring pictures, from which chance is judged
_FARTHEST_DRAWN = 2.0  # standard errors
_INT32 = 2**30
_TINY = 1e-12


@dataclass(frozen=True)
class CorrectBias:
    """The pass.

    Attributes:
        pictures: At most so many are used, evenly spread over those given; the integer activations between two layers
            are kept for all of them.
        memory_limit: Bytes that those may take; where more would be needed, fewer pictures are used.
    """

    pictures: int = 48
    memory_limit: int = 512 << 20

    @property
    def name(self) -> str:
        """See ``RoundingPass``."""
        return "correct-bias"

    @property
    def paper(self) -> str:
        """See ``RoundingPass``."""
        return "Nagel et al. 2019, Data-Free Quantization (arXiv:1906.04721), section 4.2"

    def run(self, graph: QuantizedGraph, given: RoundingInput, on_step: OnStep | None = None) -> QuantizedGraph:
        """See ``RoundingPass``.

        Raises:
            DataError: There are no pictures.
        """
        integers = IntegerGraph(graph.model)
        float_names = _tensor_names(given.float_model)
        named = {layer.node: _float_name(layer.output, float_names) for layer in integers.layers}
        layers = [layer for layer in integers.layers if layer.bias is not None and named[layer.node] is not None]
        taken = {layer.node for layer in layers}
        skipped = [name for name in named if name not in taken]
        frontier = Frontier(graph.model, [layer.output for layer in layers])
        room = self.memory_limit // max(frontier.bytes_per_picture, 1)
        pictures = _Spread(given.feeds, max(1, min(self.pictures, room)))
        means = ChannelMeans({str(named[layer.node]): _channel_axis(layer) for layer in layers})
        walk(given.float_model, pictures, [means], threads=given.threads)
        frontier.begin(pictures())
        for done, (layer, piece) in enumerate(zip(layers, frontier.pieces, strict=True), start=1):
            target = means.means(str(named[layer.node]))
            outputs = _Outputs(frontier, piece, given.threads, graph.engine, _channel_axis(layer))
            bias = self._corrected(layer, outputs, target)
            integers.set_bias(layer.node, bias)
            change = bias.astype(np.float64) - np.asarray(layer.bias, np.float64)
            outputs.pass_on(layer, change * np.asarray(layer.bias_scale, np.float64))
            if on_step is not None:
                on_step(done, len(layers))
        notes = [f"{self.name}: {len(layers)} layers given the float network's means on {means.samples} pictures"]
        if skipped:
            some = ", ".join(skipped[:3]) + (f" and {len(skipped) - 3} more" if len(skipped) > 3 else "")
            notes.append(f"{self.name}: left as they were, having no integer bias: {some}")
        return replace(graph, model=integers.to_bytes(), notes=(*graph.notes, *notes))

    def _corrected(self, layer: IntegerLayer, outputs: _Outputs, target: NDArray[np.float64]) -> NDArray[np.int32]:
        """The new bias; ``target`` are the float means, (pictures, channels)."""
        seen, sample = outputs.measure(layer.grid)
        shift = shift_for_mean(sample, certain_part(target - seen), layer.grid)
        old = np.asarray(layer.bias, np.int64)
        codes = np.rint(shift / np.maximum(np.asarray(layer.bias_scale, np.float64), _TINY))
        codes = np.where(np.abs(codes + old) < _INT32, codes, 0)
        return (old + codes.astype(np.int64)).astype(np.int32)


class ChannelMeans:
    """An observer of the mean of every channel of some tensors."""

    def __init__(self, axes: Mapping[str, int]) -> None:
        """Names what to watch.

        Args:
            axes: Axis of the channels by tensor.
        """
        self._axes = dict(axes)
        self._means: dict[str, list[NDArray[np.float64]]] = {name: [] for name in axes}

    @property
    def tensors(self) -> Collection[str]:
        """See ``Observer``."""
        return self._axes

    @property
    def samples(self) -> int:
        """Pictures seen."""
        return max((len(means) for means in self._means.values()), default=0)

    def observe(self, values: Mapping[str, NDArray[Any]]) -> None:
        """See ``Observer``."""
        for name in values.keys() & self._axes.keys():
            self._means[name].append(_channels(values[name], self._axes[name]).mean(axis=1, dtype=np.float64))

    def means(self, name: str) -> NDArray[np.float64]:
        """(pictures, channels)."""
        return np.stack(self._means[name])


def certain_part(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean error of each channel, less what chance alone would give.

    Empirical Bayes: the true means of a layer's channels are taken to be spread around 0, and what is measured of each
    is drawn back to 0 by the share that chance has in it. The spread is learnt from all channels together; one
    channel's own square says little. A single channel far off among many good ones is drawn back by two standard errors
    at most (limited translation, Efron and Morris 1972). Neighbouring pictures are alike (frames of a film, crops of a
    photograph), so chance is judged from a few batches of neighbours and not from single pictures.

    Args:
        errors: (pictures, channels), pictures in their order.

    Returns:
        (channels,): the means, drawn back.
    """
    mean = errors.mean(axis=0)
    if len(errors) < 2:
        return np.asarray(mean)
    group = groups_of(len(errors), math.ceil(len(errors) / _BATCHES))
    batches = np.stack([errors[group == number].mean(axis=0) for number in range(int(group[-1]) + 1)])
    chance = batches.var(axis=0, ddof=1) / len(batches)
    spread = max(0.0, float((mean**2 - chance).mean()))
    drawn = mean * chance / np.maximum(spread + chance, _TINY**2)
    limit = _FARTHEST_DRAWN * np.sqrt(chance)
    return np.asarray(mean - np.clip(drawn, -limit, limit))


def shift_for_mean(
    sample: NDArray[np.float32], wanted: NDArray[np.float64], grid: TensorGrid | None
) -> NDArray[np.float64]:
    """What must be added to every channel for its mean behind rounding and clip to move as wanted.

    Args:
        sample: (channels, n) values before rounding.
        wanted: (channels,) by how much the mean is to move.
        grid: The output's integers; None where it stays float.

    Returns:
        (channels,); of the tried shifts the one that comes nearest.
    """
    if grid is None:
        return wanted
    low, high = grid.range
    start = _clipped(sample, grid).mean(axis=1)
    shift, best, miss = np.zeros_like(wanted), np.zeros_like(wanted), np.abs(wanted)
    left = wanted
    for _ in range(_ROUNDS):
        moved = sample + shift[:, None].astype(np.float32)
        # The share of values that follow the bias; a channel that is all clipped is not to be thrown far.
        follows = np.maximum(((moved > low) & (moved < high)).mean(axis=1), 0.05)
        shift = shift + left / follows
        left = wanted - (_clipped(sample + shift[:, None].astype(np.float32), grid).mean(axis=1) - start)
        best = np.where(np.abs(left) < miss, shift, best)
        miss = np.minimum(miss, np.abs(left))
    # Far outside the clip nothing follows, and only halving an interval finds the way back.
    lost = miss > np.maximum(grid.scale, 0.1 * np.abs(wanted))
    if lost.any():
        best[lost] = _bisected(sample[lost], start[lost] + wanted[lost], grid)
    return best


def _bisected(sample: NDArray[np.float32], target: NDArray[np.float64], grid: TensorGrid) -> NDArray[np.float64]:
    """Shifts at which the clipped mean, which never falls with the shift, reaches ``target``."""
    low, high = grid.range
    # Between these a channel goes from all at the lower end to all at the upper one.
    least = low - sample.max(axis=1).astype(np.float64)
    most = high - sample.min(axis=1).astype(np.float64)
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        short = _clipped(sample + middle[:, None].astype(np.float32), grid).mean(axis=1) < target
        least, most = np.where(short, middle, least), np.where(short, most, middle)
    return np.asarray((least + most) / 2)


class _Outputs:
    """One layer's outputs over all pictures, before rounding."""

    def __init__(
        self, frontier: Frontier, piece: FrontierPiece, threads: int, engine: Mapping[str, Any], axis: int
    ) -> None:
        self._frontier = frontier
        self._piece = piece
        self._threads = threads
        self._engine = engine
        self._axis = axis
        self._kept: list[NDArray[Any]] | None = []

    def measure(self, grid: TensorGrid | None) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Means (pictures, channels) behind rounding and clip, and a sample (channels, n) before them."""
        means, samples, size = [], [], 0
        for number, value in self._run():
            rows = _channels(value, self._axis)
            means.append((rows if grid is None else _clipped(rows, grid)).mean(axis=1, dtype=np.float64))
            # Which positions are taken moves from picture to picture.
            step = max(1, rows.shape[1] * self._frontier.pictures // _SAMPLE)
            samples.append(rows[:, number % step :: step].copy())
            size += value.nbytes
            if self._kept is not None:
                self._kept.append(value)
            if size > _KEPT_BYTES:
                self._kept = None
        return np.stack(means), np.concatenate(samples, axis=1)

    def pass_on(self, layer: IntegerLayer, shift: NDArray[np.float64]) -> None:
        """Hands the corrected outputs to the later pieces."""
        stretched = shift.astype(np.float32)
        for number, value in self._run():
            shape = [1] * value.ndim
            shape[self._axis] = -1
            moved = value + np.broadcast_to(stretched, (value.shape[self._axis],)).reshape(shape)
            values: dict[str, NDArray[Any]] = {self._piece.stop: moved}
            if layer.grid is not None:
                kind = np.uint8 if layer.grid.low == 0 else np.int8
                codes = _codes(moved, layer.grid).astype(kind)
                values |= dict.fromkeys(self._piece.codes, codes)
            self._frontier.put(number, values)
        self._frontier.leave(self._piece)

    def _run(self) -> Iterator[tuple[int, NDArray[Any]]]:
        if self._kept:
            return enumerate(self._kept)
        return self._frontier.run(self._piece, self._threads, self._engine)


class _Spread:
    """At most so many pictures of a source, evenly spread."""

    def __init__(self, feeds: FeedSource, most: int) -> None:
        total = sum(1 for _ in feeds())
        if not total:
            msg = "bias correction was given no pictures; name calibration samples"
            raise DataError(msg)
        self._feeds = feeds
        self._taken = frozenset(int(k * total / min(most, total)) for k in range(min(most, total)))

    def __call__(self) -> Iterator[Feeds]:
        for number, picture in zip(count(), self._feeds(), strict=False):
            if number in self._taken:
                yield {name: np.array(value) for name, value in picture.items()}


def _codes(values: NDArray[np.float32], grid: TensorGrid) -> NDArray[np.float32]:
    codes = np.rint(values / np.float32(grid.scale)) + np.float32(grid.zero_point)
    return np.asarray(np.clip(codes, grid.low, grid.high), np.float32)


def _clipped(values: NDArray[np.float32], grid: TensorGrid) -> NDArray[np.float32]:
    """What the integers stand for."""
    return np.asarray((_codes(values, grid) - np.float32(grid.zero_point)) * np.float32(grid.scale), np.float32)


def _channels(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """(channels, n)."""
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _channel_axis(layer: IntegerLayer) -> int:
    return 1 if layer.op_type in {"Conv", "ConvTranspose"} else -1


def _tensor_names(model: bytes) -> frozenset[str]:
    import onnx

    return frozenset(name for node in onnx.load_model_from_string(model).graph.node for name in node.output)


def _float_name(output: str, known: frozenset[str]) -> str | None:
    """The float tensor that an output of the INT8 graph stands for; the writer renames those that are graph outputs."""
    return next((name for name in (output, output.removesuffix("_QuantizeLinear_Input")) if name in known), None)
