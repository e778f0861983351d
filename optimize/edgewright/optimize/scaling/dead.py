"""Channels that never fire are taken out of the arithmetic behind them.

A network folded from branches with batch norm, or trained at a high rate, holds channels that are zero behind their ReLU
on every picture. Training leaves any weights behind such a channel, and the gain of a batch norm that saw no variance
makes them huge. In float nothing comes of it. In integers much does: a depthwise kernel on a dead channel gives its bias
and nothing else, a constant, and the weights that read this constant may be as huge, with a bias that takes it all back.
A constant ``v`` that is rounded by half a step ``s`` leaves ``s / 2`` times that weight, often more than the whole range
of the output; and no scale, per channel or not, mends it.

Here such weights that read a dead channel become zero, what is constant then goes into the bias of its readers, and the
channel itself becomes zero. On the pictures seen, the function stays what it was; elsewhere a channel that was never
seen to fire stays silent. Nagel et al. 2019 ("Data-Free Quantization", section 4.2) absorb high biases into the next
layer in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.passes.base import PassResult
from edgewright.optimize.scaling.links import Link, LinkedGraph

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from edgewright.optimize.scaling.maxima import Maxima

__all__ = ["FoldDeadChannels"]


@dataclass(frozen=True, eq=False)
class FoldDeadChannels:
    """The pass.

    Attributes:
        maxima: Of the channels on calibration pictures (``ChannelMaxima``); without them nothing is known to be dead.
        excess: A dead channel is silenced where the weights that read it are so many times larger than those that read
            the median channel. With ordinary weights it does no harm in integers, and other pictures might wake it.
    """

    maxima: Maxima = field(default_factory=dict)
    excess: float = 8.0

    @property
    def name(self) -> str:
        """See ``Pass``."""
        return "fold-dead-channels"

    @property
    def paper(self) -> str:
        """Where the method comes from."""
        return "Nagel et al. 2019, Data-Free Quantization (arXiv:1906.04721), section 4.2"

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        graph = LinkedGraph(model)
        dead = constant = 0
        for link in graph.links:  # in the graph's order: what becomes constant here is found there
            if not _plain(link):
                continue
            silent = self._silent(graph, link)
            fixed = _constants(graph, link) & ~silent
            fixed &= np.all([_takes_constants(graph, node) for node in link.readers])
            if not _any_weight(graph, link, silent | fixed):
                continue
            values = np.where(fixed, _level(graph, link), 0.0)
            for node in link.readers:
                _absorb(graph, node, values, silent | fixed)
            _silence(graph, link, silent | fixed)
            dead += int(silent.sum())
            constant += int(fixed.sum())
        if not dead + constant:
            return PassResult(model, changed=False)
        note = f"{dead} channels that no picture woke, and {constant} constant ones behind them, left to the biases"
        return PassResult(model, changed=True, notes=(note,))

    def _silent(self, graph: LinkedGraph, link: Link) -> NDArray[np.bool_]:
        """Channels that no picture woke and whose readers' weights are out of proportion."""
        sizes = graph.column_sizes(link)
        dead = self.maxima.get(link.tensor, np.ones(link.channels)) == 0
        return np.asarray(dead & (sizes > self.excess * np.median(sizes)))


def _plain(link: Link) -> bool:
    """Convolutions only, with a bias of their own at both ends."""
    nodes = (link.producer, *link.readers)
    return all(node.op_type == "Conv" for node in nodes) and len(link.producer.input) > 2


def _constants(graph: LinkedGraph, link: Link) -> NDArray[np.bool_]:
    """Channels that are the same on every picture: all their weights are zero."""
    if not set(link.passed) <= {"Clip", "Identity", "Relu"}:
        return np.zeros(link.channels, np.bool_)
    return np.asarray(graph.row_sizes(link) == 0)


def _level(graph: LinkedGraph, link: Link) -> NDArray[np.float64]:
    """What a channel without weights amounts to."""
    bias = graph.array(link.producer.input[2]).astype(np.float64)
    low = 0.0 if {"Clip", "Relu"} & set(link.passed) else -np.inf
    return np.asarray(np.clip(bias, low, link.bound))


def _takes_constants(graph: LinkedGraph, node: onnx.NodeProto) -> bool:
    """Whether a constant input adds the same everywhere: no zeros are padded beside it, and there is a bias."""
    padded = any(item.name == "pads" and any(item.ints) for item in node.attribute)
    automatic = any(item.name == "auto_pad" and item.s not in {b"", b"NOTSET", b"VALID"} for item in node.attribute)
    own = len(node.input) > 2 and graph.is_own_constant(node.input[2])
    return own and not padded and not automatic


def _any_weight(graph: LinkedGraph, link: Link, chosen: NDArray[np.bool_]) -> bool:
    """Whether anything is there to be taken out."""
    return bool(np.any(graph.column_sizes(link)[chosen] > 0))


def _absorb(graph: LinkedGraph, node: onnx.NodeProto, values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> None:
    """Adds what ``values`` (input channels,) give to the bias, and forgets the weights of the chosen ones."""
    weight = graph.array(node.input[1]).copy()
    outputs, inputs = weight.shape[:2]
    groups = len(chosen) // inputs
    # Input channels that each output channel reads, (outputs, inputs of its group).
    read = np.arange(outputs)[:, None] // (outputs // groups) * inputs + np.arange(inputs)
    if values.any():
        taps = weight.reshape(outputs, inputs, -1).sum(axis=2, dtype=np.float64)
        graph.set_array(node.input[2], graph.array(node.input[2]) + (taps * values[read]).sum(axis=1))
    weight[chosen[read]] = 0
    graph.set_array(node.input[1], weight)


def _silence(graph: LinkedGraph, link: Link, chosen: NDArray[np.bool_]) -> None:
    """Nobody reads these channels any more."""
    for name in link.producer.input[1:3]:
        values = graph.array(name).copy()
        values[chosen] = 0
        graph.set_array(name, values)
