"""Cross-layer equalization: consecutive layers share their weights' spread.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1. For layers in
sequence, depthwise ones among them, output channel ``i`` of the first is divided by ``s_i = sqrt(r1_i / r2_i)`` and the
same input of the second multiplied by it, where ``r`` are the channels' largest weights; pairs are visited until nothing
moves. It matters most where all channels share one weight scale; with a scale a channel only activations and the columns
of the second layer can gain.

The paper replaces ReLU6 by ReLU, which changes the function. Here a channel behind a ``Clip`` is scaled only where no
calibration picture came near the bound, before or after.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.passes.base import PassResult
from edgewright.optimize.scaling.links import LinkedGraph
from edgewright.optimize.scaling.maxima import Maxima, bounded_factors

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

__all__ = ["Equalize"]

_WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Equalize:
    """The pass.

    Attributes:
        maxima: Of the channels on calibration pictures (``ChannelMaxima``); without them nothing behind a Clip moves.
        rounds: How often all pairs are visited at most.
        enough: A round whose factors all stay this near to 1 is the last.
    """

    maxima: Maxima = field(default_factory=dict)
    rounds: int = 20
    enough: float = 0.01

    @property
    def name(self) -> str:
        """See ``Pass``."""
        return "equalize"

    @property
    def paper(self) -> str:
        """Where the method comes from."""
        return "Nagel et al. 2019, Data-Free Quantization (arXiv:1906.04721), section 4.1"

    def run(self, model: onnx.ModelProto) -> PassResult:
        """See ``Pass``."""
        graph = LinkedGraph(model)
        links = [link for link in graph.links if link.producer.op_type in _WEIGHTED]
        total: list[NDArray[np.float64]] = [np.ones(link.channels) for link in links]
        for _ in range(self.rounds):
            largest = 0.0
            for number, link in enumerate(links):
                rows, columns = graph.row_sizes(link), graph.column_sizes(link)
                alive = (rows > _TINY) & (columns > _TINY)
                factors = np.where(alive, np.sqrt(rows / np.maximum(columns, _TINY)), 1.0)
                factors = bounded_factors(link, total[number] * factors, self.maxima) / total[number]
                if np.abs(factors - 1).max() > self.enough:
                    graph.scale(link, factors)
                    total[number] = total[number] * factors
                    largest = max(largest, float(np.abs(factors - 1).max()))
            if largest <= self.enough:
                break
        moved = [bool(np.any(factors != 1)) for factors in total]
        if not any(moved):
            return PassResult(model, changed=False)
        still = sum(int((factors == 1).sum()) for factors in total)
        note = f"{sum(moved)} of {len(links)} pairs of layers equalized"
        note += f"; {still} of {sum(link.channels for link in links)} channels left alone" if still else ""
        return PassResult(model, changed=True, notes=(note,))
