"""Depthwise convolutions rounded exactly: the best filter a channel, judged by the second moment of its input.

Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", states rounding as a quadratic binary
problem and relaxes it; a 3x3 channel has 512 combinations only, so it is solved here. A search that may also leave the
two neighbours of a weight then competes with it, and rounds the larger kernels (see ``lattice``).

Depthwise filters are where plain rounding does most harm to small networks: taps that cancel each other, fed with
values that are all positive and nearly equal, so that nine small errors add up to an offset that follows brightness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.rounding.jobs import WeightJob, gain_note, weight_jobs
from edgewright.optimize.rounding.lattice import (
    EXACT_TAPS,
    moment_error,
    round_by_search,
    round_exactly,
    round_plainly,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.rounding.base import RoundingInput
    from edgewright.optimize.types import OnStep

__all__ = ["RoundDepthwise"]


@dataclass(frozen=True)
class RoundDepthwise:
    """The pass.

    Attributes:
        beam: Width of the search, see ``lattice.round_by_search``.
    """

    beam: int = 64

    @property
    def name(self) -> str:
        """See ``RoundingPass``."""
        return "round-depthwise"

    @property
    def paper(self) -> str:
        """See ``RoundingPass``."""
        return "Nagel et al. 2020, AdaRound (arXiv:2004.10568): its rounding problem, solved without relaxation"

    def run(self, graph: QuantizedGraph, given: RoundingInput, on_step: OnStep | None = None) -> QuantizedGraph:
        """See ``RoundingPass``."""
        integers = IntegerGraph(graph.model)
        jobs, notes = weight_jobs(integers, given, lambda geometry: geometry.depthwise)
        ratios = []
        for done, job in enumerate(jobs, start=1):
            codes, ratio = self._round(job)
            integers.set_codes(job.layer.node, job.stored(codes))
            ratios.append(ratio)
            if on_step is not None:
                on_step(done, len(jobs))
        told = gain_note("depthwise layers", ratios)
        return replace(graph, model=integers.to_bytes(), notes=(*graph.notes, f"{self.name}: {told}", *notes))

    def _round(self, job: WeightJob) -> tuple[NDArray[np.float64], float]:
        """The best codes found and the expected error they leave, as a share of that before."""
        reals = job.reals.reshape(-1, job.geometry.taps)
        moment = np.repeat(job.moment, job.geometry.rows, axis=0)
        tried = [job.codes.reshape(reals.shape), round_plainly(reals, job.limits)]
        if job.geometry.taps <= EXACT_TAPS:
            tried.append(round_exactly(reals, moment, job.limits))
        tried.append(round_by_search(reals, moment, job.limits, self.beam))
        errors = np.stack([moment_error(codes[:, None], reals[:, None], moment)[:, 0] for codes in tried])
        best = np.argmin(errors, axis=0)
        channels = np.arange(len(reals))
        weights = job.step.reshape(-1) ** 2
        before, after = float(errors[0] @ weights), float(errors[best, channels] @ weights)
        return np.stack(tried)[best, channels].reshape(job.reals.shape), after / before if before > 0 else 1.0
