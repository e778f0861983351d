"""What a quantized graph will answer on a board, predicted on the workstation.

Example:
    >>> prediction = predict(int8, feeds, load_profile("generic-x86-avx2"), losses)  # doctest: +SKIP
    >>> prediction.added_loss                                                # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import DataError
from edgewright.optimize.targets.saturation import LayerSaturation, SaturationEmulator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.device_profiles.profile import DeviceProfile
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.types import FeedSource

__all__ = ["Losses", "TargetPrediction", "predict"]

Losses = Callable[[Sequence[Mapping[str, "NDArray[Any]"]]], "NDArray[np.float64]"]
"""From the raw outputs for every picture, in order, to a loss for every picture."""


@dataclass(frozen=True, eq=False)
class TargetPrediction:
    """What a board's integer units make of a graph.

    Attributes:
        profile: The board.
        saturates: Whether its sums can saturate on this graph at all.
        capable: Share of pairs of weights that can overflow.
        layers: What happened layer by layer; empty where nothing can overflow.
        pictures: How many were run.
        exact_losses: Loss of each picture with exact sums; None when no losses were asked for.
        target_losses: Loss of each picture on the board.
        output_snr_db: Exact outputs against what the board adds to them, by name; infinite where nothing is added.
    """

    profile: str
    saturates: bool
    capable: float
    layers: tuple[LayerSaturation, ...]
    pictures: int
    exact_losses: NDArray[np.float64] | None
    target_losses: NDArray[np.float64] | None
    output_snr_db: Mapping[str, float]

    @property
    def saturated(self) -> float:
        """Share of saturated values, averaged over the layers that can overflow."""
        return float(np.mean([layer.saturated for layer in self.layers])) if self.layers else 0.0

    @property
    def added_loss(self) -> float | None:
        """Mean loss on the board less mean loss with exact sums."""
        if self.exact_losses is None or self.target_losses is None:
            return None
        return float(self.target_losses.mean() - self.exact_losses.mean())

    @property
    def sentence(self) -> str:
        """One sentence for the report."""
        if not self.saturates:
            return f"on {self.profile}, sums of products are exact for this file: no loss is predicted"
        worst = min((layer for layer in self.layers if layer.snr_db is not None), key=_snr, default=None)
        where = f"; worst in {worst.node} ({_snr(worst):.1f} dB)" if worst is not None else ""
        loss = "" if self.added_loss is None else f", which adds {self.added_loss:.4g} to the mean loss"
        return (
            f"on {self.profile}, {self.capable:.1%} of the pairs of weights can overflow and {self.saturated:.1%} of "
            f"the values in their {len(self.layers)} layers do{loss}{where}"
        )


def predict(
    graph: QuantizedGraph, feeds: FeedSource, profile: DeviceProfile, losses: Losses | None = None, threads: int = 1
) -> TargetPrediction:
    """Runs the pictures as the board would.

    Args:
        graph: As ``quantize_graph`` writes it.
        feeds: The pictures; at least one. Their outputs are kept in memory.
        profile: The board. Unknown integer units count as exact.
        losses: What the outputs are worth; None asks for no losses.
        threads: For the engine.

    Raises:
        DataError: There are no pictures.
        JudgeError: The graph cannot be emulated.
    """
    emulator = SaturationEmulator(graph, threads)
    saturates = profile.saturates and emulator.capable_share > 0
    exact: list[dict[str, NDArray[Any]]] = []
    target: list[dict[str, NDArray[Any]]] = []
    for feed in feeds():
        exact.append(emulator.run(feed, saturate=False))
        target.append(emulator.run(feed) if saturates else exact[-1])
    if not exact:
        msg = "there is no picture to predict a board's answers on"
        raise DataError(msg)
    exact_losses = None if losses is None else losses(exact)
    return TargetPrediction(
        profile=profile.name,
        saturates=saturates,
        capable=emulator.capable_share,
        layers=emulator.layers if saturates else (),
        pictures=len(exact),
        exact_losses=exact_losses,
        target_losses=losses(target) if losses is not None and saturates else exact_losses,
        output_snr_db={name: _ratio_db(exact, target, name) for name in exact[0]},
    )


def _ratio_db(exact: Sequence[Mapping[str, Any]], target: Sequence[Mapping[str, Any]], name: str) -> float:
    signal = sum(float(np.square(outputs[name], dtype=np.float64).sum()) for outputs in exact)
    noise = sum(
        float(np.square(seen[name].astype(np.float64) - outputs[name]).sum())
        for outputs, seen in zip(exact, target, strict=True)
    )
    return 10 * float(np.log10(signal / noise)) if noise and signal else float("inf")


def _snr(layer: LayerSaturation) -> float:
    return float("inf") if layer.snr_db is None else layer.snr_db
