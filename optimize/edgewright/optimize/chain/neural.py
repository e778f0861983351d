"""``--engine neural-compressor``: its tuner drives the search, its torch flow proposes scales, our writer and judge stay.

The tuner walks over our quantization configurations towards an accuracy goal; each is quantized by our own writer and
scored on the selection pictures. Where the source is a PyTorch factory, its torch flow (export, prepare, calibrate,
tune, convert) is run as well, and its scales and float fallbacks are one more candidate, written by the same writer.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from edgewright.optimize.chain.effort import MEND_HEADS, MIXED_PRECISION
from edgewright.optimize.chain.goal import agreement_of
from edgewright.optimize.chain.mixed import OUT_OF_TIME
from edgewright.optimize.chain.run import ChainResult, State
from edgewright.optimize.chain.trial import Trial
from edgewright.optimize.engines.neural_compressor import Configuration, SearchSpace, tune
from edgewright.optimize.engines.neural_compressor_torch import torch_scales
from edgewright.optimize.errors import OptimizeError
from edgewright.optimize.selection import improves
from edgewright.optimize.sensitivity.regions import RegionKind, find_regions

if TYPE_CHECKING:
    from edgewright.optimize.chain.effort import Chain
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.contract import Contract
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.request import OptimizeRequest
    from edgewright.optimize.sources import FloatModel
    from edgewright.optimize.spec import SourceModel

__all__ = ["run_neural_compressor"]

_HAIR = 1e-6
_GOAL = 99.0  # percent of float's answers, where the contract says nothing of them


def run_neural_compressor(bench: Workbench, chain: Chain, request: OptimizeRequest, source: FloatModel) -> ChainResult:
    """Searches with neural-compressor.

    Args:
        bench: What steps work with.
        chain: Its range methods and rounding passes span the space.
        request: For the contract and the source.
        source: The float model.

    Raises:
        MissingExtraError: neural-compressor is not installed.
        JudgeError: No configuration could be quantized or measured.
    """
    return _Search(bench, chain, request).run(source)


def _goal(contract: Contract) -> float:
    """Percent of float's answers to keep; of what may be lost, no more answers may change (see ``chain.goal``)."""
    limits = [contract.min_agreement, None if contract.max_drop is None else 100.0 - max(contract.max_drop, 0.0)]
    return max((limit for limit in limits if limit is not None), default=_GOAL)


class _Search:
    def __init__(self, bench: Workbench, chain: Chain, request: OptimizeRequest) -> None:
        self._bench, self._chain, self._request = bench, chain, request
        self._calibrated = bench.calibrate(bench.float_model, chain.ranges)
        self._trials: list[Trial] = []

    def run(self, source: FloatModel) -> ChainResult:
        chain = self._chain
        scheme, left = self._bench.scheme, self._request.search.keep_float
        plain_way = Configuration(chain.ranges[0], scheme.per_channel, scheme.weight_bits, keep_float=left)
        plain = self._state(plain_way)
        chains = tuple(chain.rounding[:count] for count in range(len(chain.rounding) + 1))
        space = SearchSpace(
            method=chain.ranges,
            chain=tuple(dict.fromkeys(chains)),
            per_channel=(self._bench.scheme.per_channel,),
            weight_bits=(self._bench.scheme.weight_bits,),
            keep_float=tuple(dict.fromkeys((plain_way.keep_float, plain_way.keep_float | self._heads()))),
        )
        tuned = tune(space, self._score, _goal(self._request.contract), deadline=self._bench.deadline)
        for trial in tuned.trials:
            names = ", ".join((trial.configuration.method, *trial.configuration.chain))
            told = trial.problem or f"score {trial.score:.2f}"
            kept = trial is tuned.best
            self._trials.append(Trial(names, kept=kept, why=told, seconds=trial.seconds))
        best = self._state(tuned.best.configuration)
        notes = [f"{tuned.tool}: {len(tuned.trials)} of {tuned.size} configurations tried, {tuned.stopped}"]
        left_out = [name for name in chain.names if name in {MEND_HEADS, MIXED_PRECISION, *chain.scaling}]
        if left_out:
            notes.append(f"the engine neural-compressor does not run {', '.join(left_out)}")
        if source.module is not None:
            best = self._torch(best, source.module, notes)
        return ChainResult(best, plain, tuple(self._trials), self._calibrated.stability[best.method], {}, tuple(notes))

    def _state(self, way: Configuration) -> State:
        graph = self._quantized(way)
        ranges = self._calibrated.ranges[way.method]
        model, losses = self._bench.float_model, self._bench.losses(graph)
        return State(model, way.method, ranges, way.keep_float, graph, losses, way.chain)

    def _quantized(self, way: Configuration) -> QuantizedGraph:
        bench = self._bench
        scheme = dataclasses.replace(bench.scheme, per_channel=way.per_channel, weight_bits=way.weight_bits)
        graph = bench.quantize(bench.float_model, self._calibrated.ranges[way.method], way.keep_float, scheme)
        for name in way.chain:
            graph = bench.round(name, graph, bench.float_model, scheme)
        return graph

    def _heads(self) -> frozenset[str]:
        """The last layers of all heads together: what is kept in float first where integers lose the answers."""
        regions = find_regions(self._bench.float_model)
        return frozenset(node for region in regions if region.kind is RegionKind.HEAD for node in region.nodes)

    def _score(self, way: Configuration) -> float:
        """Percent of float's answers kept; of those that keep the same, the one with less loss scores a hair more."""
        graph = self._quantized(way)
        kept = agreement_of(self._bench.describe(graph))
        loss = float(self._bench.losses(graph).mean())
        return (100.0 if kept is None else kept) - _HAIR * loss / (1.0 + loss)

    def _torch(self, best: State, module: SourceModel, notes: list[str]) -> State:
        """Its torch flow's scales as one more candidate, with the rounding passes of the best one."""
        started = time.monotonic()
        bench = self._bench
        if bench.deadline.passed:
            self._trials.append(Trial("torch flow", kept=False, why=f"not tried: {OUT_OF_TIME}"))
            return best
        try:
            with bench.progress.stage("run neural-compressor's torch flow"):
                found = torch_scales(
                    module, bench.float_model, bench.calibration.feeds, best.ranges, threads=bench.threads
                )
            keep = found.keep_float | self._request.search.keep_float
            graph = bench.quantize(bench.float_model, found.ranges, keep)
            for name in best.passes:
                graph = bench.round(name, graph, bench.float_model)
        except OptimizeError as error:
            notes.append(f"neural-compressor's torch flow gave nothing: {error}")
            return best
        notes += found.notes
        losses = bench.losses(graph)
        comparison = improves(best.losses, losses, bench.selection.block)
        self._trials.append(
            Trial(
                "torch flow",
                kept=comparison.accepted,
                why=comparison.sentence,
                loss=comparison.new,
                before=comparison.old,
                seconds=time.monotonic() - started,
                bytes=len(graph.model),
            )
        )
        if not comparison.accepted:
            return best
        return dataclasses.replace(
            best, ranges=found.ranges, keep_float=keep, graph=graph, losses=losses, by_passes=False
        )
