"""Outliers of activations moved into the weights that read them.

Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models". Channel
``j`` of an activation is divided by ``max|x_j|^alpha / max|w_j|^(1 - alpha)`` and the weights that read it are multiplied
by the same, so that one large channel no longer sets the step of all. The division is folded into what makes the
activation: a convolution, Gemm, MatMul, batch or layer normalisation. Channels behind a ``Clip`` move only where no
calibration picture came near its bound.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.errors import SpecError
from edgewright.optimize.passes.base import PassResult
from edgewright.optimize.scaling.links import LinkedGraph
from edgewright.optimize.scaling.maxima import Maxima, bounded_factors

if TYPE_CHECKING:
    import onnx

__all__ = ["Smooth"]

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Smooth:
    """The pass.

    Attributes:
        maxima: Of the channels on calibration pictures (``ChannelMaxima``).
        alpha: How much of the spread moves from activations into weights, from 0 (none) to 1 (all).
    """

    maxima: Maxima = field(default_factory=dict)
    alpha: float = 0.5

    def __post_init__(self) -> None:
        """Refuses a share that is none.

        Raises:
            SpecError: ``alpha`` is not within 0 and 1.
        """
        if not 0 <= self.alpha <= 1:
            msg = f"alpha is the share that moves into the weights, from 0 to 1, not {self.alpha:g}"
            raise SpecError(msg)

    @property
    def name(self) -> str:
        """See ``Pass``."""
        return "smooth"

    @property
    def paper(self) -> str:
        """Where the method comes from."""
        return "Xiao et al. 2022, SmoothQuant (arXiv:2211.10438)"

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        graph = LinkedGraph(model)
        moved = 0
        for link in graph.links:
            largest = self.maxima.get(link.tensor)
            if largest is None:
                continue
            columns = graph.column_sizes(link)
            alive = (largest > _TINY) & (columns > _TINY)
            ratio = np.maximum(largest, _TINY) ** self.alpha / np.maximum(columns, _TINY) ** (1 - self.alpha)
            # Only ratios between channels matter; keeping their mean at 1 keeps weights and activations in size.
            centre = np.exp(np.log(ratio[alive]).mean()) if alive.any() else 1.0
            factors = bounded_factors(link, np.where(alive, ratio / centre, 1.0), self.maxima)
            if np.any(factors != 1):
                graph.scale(link, factors)
                moved += 1
        if not moved:
            return PassResult(model, changed=False)
        return PassResult(model, changed=True, notes=(f"{moved} of {len(graph.links)} activations smoothed",))
