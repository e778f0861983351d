"""Where training with simulated integers starts: every layer's mean output is the float network's.

One pass, layer by layer: what a layer is given, with all layers before it corrected already, tells the mean of its
inputs; its bias is moved until the mean of each output channel is that of the float network (bias correction, Nagel et
al. 2019, section 4.2). From here on the layer learns its bias for inputs without that mean, so weights matter by the
variance of what they read: weights out of proportion that read what hardly changes are cut (see ``layer``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - this module works on PyTorch modules, imported only where something is trained

if TYPE_CHECKING:
    from edgewright.optimize.qat.network import Network

__all__ = ["centre_layers"]


def centre_layers(simulated: Network, reference: Network, pictures: torch.Tensor) -> None:
    """Matches means.

    Args:
        simulated: Whose layers; changed in place.
        reference: The float network.
        pictures: All at once; a few dozen are enough for maps, a few hundred for matrices.
    """
    layers = simulated.layers
    means: dict[str, torch.Tensor] = {}
    spreads: dict[str, torch.Tensor] = {}

    def learn(node: str, _given: tuple[torch.Tensor, ...], answer: Any) -> None:
        if node in layers:
            values = _channels(answer)
            means[node], spreads[node] = values.mean(1), values.std(1, correction=0).float()

    def correct(node: str, given: tuple[torch.Tensor, ...]) -> None:
        layer = layers.get(node)
        if layer is None or node not in means:
            return
        values = _channels(given[0])
        layer.centre(values.mean(1).float(), values.var(1, correction=0).float(), spreads[node])
        if layer.has_bias:
            layer.shift(means[node] - _channels(layer(given[0])).mean(1))

    with torch.no_grad():
        reference.watch(pictures, after=learn)
        simulated.watch(pictures, before=correct)


def _channels(values: torch.Tensor) -> torch.Tensor:
    """(channels, all else); the channels of maps come second, those of matrices last."""
    axis = 1 if values.ndim > 2 else values.ndim - 1
    return values.movedim(axis, 0).flatten(1).double()
