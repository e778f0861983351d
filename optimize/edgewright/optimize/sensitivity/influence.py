"""What each integer layer alone does to the network's outputs: a first-order estimate for ranking, without requantizing.

The layer's integer answer to float inputs takes the place of the float value, and the rest of the float network runs
on. To first order the noises of several layers add up in power, so a region's share is the sum of its layers'. Costs
about one float run a layer and picture; a handful of pictures is enough to rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgewright.optimize.errors import JudgeError
from edgewright.optimize.graph.segments import Segments, node_id
from edgewright.optimize.sensitivity.structure import WEIGHTED
from edgewright.optimize.sensitivity.taps import TappedPair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.sensitivity.taps import Tap
    from edgewright.optimize.types import Feeds, FeedSource, OnStep

__all__ = ["Influence", "OutputLoss", "measure_influence"]

OutputLoss = Callable[[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]], float]
"""Distance between two answers of one network, output name to values."""

_COMPUTING = WEIGHTED | {"Add", "Mul"}


@dataclass(frozen=True)
class Influence:
    """One layer's noise at the outputs.

    Attributes:
        node: The layer in the INT8 graph (``node_id``).
        tensor: What it makes.
        shares: Graph output to noise power over the output's variance, all pictures together.
        loss: Mean loss of the network with this error alone; None without a loss to measure by.
    """

    node: str
    tensor: str
    shares: Mapping[str, float]
    loss: float | None = None

    @property
    def total(self) -> float:
        """What to rank by: the loss where there is one, else the sum of the shares."""
        return float(sum(self.shares.values())) if self.loss is None else self.loss


def measure_influence(
    float_model: bytes,
    int8: QuantizedGraph,
    feeds: FeedSource,
    loss: OutputLoss | None = None,
    on_step: OnStep | None = None,
) -> tuple[Influence, ...]:
    """Runs the float network once for each integer layer and picture, with that layer's error in it.

    Args:
        float_model: The prepared float graph.
        int8: What was made of it.
        feeds: A few pictures; at least one.
        loss: Distance of two answers of the network (float's first), such as ``selection.losses.loss_for`` gives; it
            knows that an error in a detector's background matters less than one near the threshold.
        on_step: Told after each picture.

    Returns:
        One entry for each layer with weights or arithmetic, in the graph's order.

    Raises:
        JudgeError: There is no picture, or the engine refuses a graph.
    """
    pair = TappedPair(float_model, int8)
    taps = [tap for tap in pair.taps if tap.op_type in _COMPUTING]
    pieces = _Continued(float_model, taps)
    noise: dict[str, dict[str, float]] = {tap.tensor: {} for tap in taps}
    lost = dict.fromkeys(noise, 0.0)
    spread = _Spread()
    pictures = 0
    for feed in feeds():
        alone = {seen.tap.tensor: seen.own for seen in pair.run(feed) if seen.own is not None}
        expected = pieces.run(feed)
        spread.add(expected)
        for name, value in alone.items():
            if name in noise:
                changed = pieces.run(feed, name, value)
                _add_noise(noise[name], expected, changed)
                lost[name] += 0.0 if loss is None else loss(expected, changed)
        pictures += 1
        if on_step is not None:
            on_step(pictures, None)
    if not pictures:
        msg = "no picture to measure influences on; give at least one"
        raise JudgeError(msg)
    energy = spread.energy()
    return tuple(
        Influence(
            tap.node,
            tap.tensor,
            {name: value / energy[name] for name, value in noise[tap.tensor].items()},
            None if loss is None else lost[tap.tensor] / pictures,
        )
        for tap in taps
    )


class _Continued:
    """The float graph in pieces, one of whose values can be replaced."""

    def __init__(self, model: bytes, taps: Sequence[Tap]) -> None:
        import onnx

        graph = onnx.load_model_from_string(model).graph
        wanted = {tap.tensor for tap in taps}
        self._pieces = Segments(model, [node_id(node) for node in graph.node if node.output[0] in wanted])

    def run(self, feeds: Feeds, tensor: str = "", value: NDArray[Any] | None = None) -> dict[str, NDArray[Any]]:
        return self._pieces.run(feeds, lambda name, _value: value if name == tensor else None)


class _Spread:
    """Energy of the outputs around their mean, picture after picture."""

    def __init__(self) -> None:
        self._sums: dict[str, NDArray[np.float64]] = {}

    def add(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        for name, value in outputs.items():
            x = value.ravel().astype(np.float64)
            self._sums[name] = self._sums.get(name, np.zeros(3)) + np.array([x @ x, x.sum(), x.size])

    def energy(self) -> dict[str, float]:
        return {
            name: max(float(square - total**2 / count), 1e-12) for name, (square, total, count) in self._sums.items()
        }


def _add_noise(
    noise: dict[str, float], expected: Mapping[str, NDArray[Any]], changed: Mapping[str, NDArray[Any]]
) -> None:
    for name, value in expected.items():
        difference = changed[name].ravel().astype(np.float64) - value.ravel()
        noise[name] = noise.get(name, 0.0) + float(difference @ difference)
