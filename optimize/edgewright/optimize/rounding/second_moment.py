"""Dense layers rounded input by input, each error made good by the inputs that are still to come.

Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers" (its order by
falling diagonal included), after Frantar and Alistarh 2022, "Optimal Brain Compression". The moment is that of the float
network's activations. A row of weights takes the new codes only where they are better under the moment than the old
ones, so the expected error never grows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.rounding.jobs import WeightJob, gain_note, weight_jobs
from edgewright.optimize.rounding.lattice import descend, moment_error, round_by_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.rounding.base import RoundingInput
    from edgewright.optimize.types import OnStep

__all__ = ["RoundSecondMoment"]


@dataclass(frozen=True)
class RoundSecondMoment:
    """The pass, for Gemm, MatMul and all convolutions that are not depthwise.

    Attributes:
        damping: Share of the moment's mean diagonal that is added to its diagonal. Pictures are few: what the moment
            says of directions that they hardly show is not to be trusted.
        steps: Single steps of one code that may follow, a row of weights.
    """

    damping: float = 0.01
    steps: int = 0

    @property
    def name(self) -> str:
        """See ``RoundingPass``."""
        return "round-second-moment"

    @property
    def paper(self) -> str:
        """See ``RoundingPass``."""
        return "Frantar et al. 2022, GPTQ (arXiv:2210.17323)"

    def run(self, graph: QuantizedGraph, given: RoundingInput, on_step: OnStep | None = None) -> QuantizedGraph:
        """See ``RoundingPass``."""
        integers = IntegerGraph(graph.model)
        jobs, notes = weight_jobs(integers, given, lambda geometry: not geometry.depthwise)
        ratios = []
        for done, job in enumerate(jobs, start=1):
            codes, ratio = self._round(job)
            integers.set_codes(job.layer.node, job.stored(codes))
            ratios.append(ratio)
            if on_step is not None:
                on_step(done, len(jobs))
        told = gain_note("dense layers", ratios)
        return replace(graph, model=integers.to_bytes(), notes=(*graph.notes, f"{self.name}: {told}", *notes))

    def _round(self, job: WeightJob) -> tuple[NDArray[np.float64], float]:
        """The codes and the expected error they leave, as a share of that before."""
        size = np.einsum("gtt->g", job.moment)[:, None] / job.geometry.taps
        damped = job.moment + np.eye(job.geometry.taps) * (self.damping * size)[..., None]
        made = [round_by_columns(reals, moment, job.limits) for reals, moment in zip(job.reals, damped, strict=True)]
        if self.steps:
            made = [
                descend(codes, reals, moment, job.limits, self.steps)
                for codes, reals, moment in zip(made, job.reals, damped, strict=True)
            ]
        old, new = job.codes, np.stack(made)
        before, after = moment_error(old, job.reals, job.moment), moment_error(new, job.reals, job.moment)
        better = after < before
        weights = job.step**2
        total = float((before * weights).sum())
        left = float((np.where(better, after, before) * weights).sum())
        return np.where(better[..., None], new, old), left / total if total > 0 else 1.0
