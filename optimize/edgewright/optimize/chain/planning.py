"""What a run would do, a row a step, before anything runs; in inferences of the float model, see ``steps.plan``.

A step that is certain to come and whose inputs are known beforehand carries its key, so that the plan can tell whether
it is done already. What comes later in a chain depends on what was kept before; such steps are listed as if none was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.optimize.chain.effort import MEND_HEADS, MIXED_PRECISION, RANGES
from edgewright.optimize.steps import Workload, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.optimize.chain.effort import Chain
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.steps import Plan, Probe
    from edgewright.runtime.bench import BenchSettings

__all__ = ["Outlook", "plan_run"]

# In float inferences a picture; from runs over the person detector and MobileNetV2.
_EXTREMES, _HISTOGRAMS, _MOMENTS, _MAXIMA = 3.0, 7.0, 14.0, 3.0
_ROUNDING = {"round-depthwise": 2.0, "round-second-moment": 5.0, "correct-bias": 16.0}
_INT8, _PAIR, _EMULATION = 0.6, 1.6, 40.0
_TENSORS, _INFLUENCE = 75.0, 90.0
_HEAD_PICTURES, _SENSITIVITY_PICTURES = 16, 6
_OPERATORS_SECONDS, _WRITE_SECONDS = 6.0, 0.4
_SEARCHES = 24
_BRIEF_TURNS = 60


@dataclass(frozen=True)
class Outlook:
    """What decides which steps a run takes.

    Attributes:
        chain: What is tried.
        promises: Whether the contract says something of accuracy, so that regions in float may be looked for.
        tuner: The engine is neural-compressor.
        torch_flow: The source is a PyTorch factory, so that the tuner's torch flow can run.
        schemes: Integer schemes to be emulated for the board; 0 where none need be.
        boards: Boards whose answers are emulated for the report.
        emulated: Pictures that emulation looks at.
        judged: Labelled and agreement pictures.
        timing: How long the final timing is.
    """

    chain: Chain
    promises: bool
    tuner: bool
    torch_flow: bool
    schemes: int
    boards: int
    emulated: int
    judged: int
    timing: BenchSettings


def plan_run(bench: Workbench, outlook: Outlook, probe: Probe) -> Plan:
    """Predicts a run.

    Args:
        bench: The pictures, the model, and the cache that knows what is done already and what earlier runs took.
        outlook: What is asked for.
        probe: What one float inference costs here.
    """
    return make_plan(tuple(_Rows(bench, outlook).all()), probe, bench.cache)


class _Rows:
    def __init__(self, bench: Workbench, outlook: Outlook) -> None:
        self._bench, self._outlook, self._chain = bench, outlook, outlook.chain
        self._pictures, self._selected = bench.calibration.count, bench.selection.count
        histograms = any(name.partition(":")[0] in RANGES[2:] for name in self._chain.ranges)
        self._observing = _HISTOGRAMS if histograms else _EXTREMES

    def all(self) -> Iterator[Workload]:
        outlook, chain = self._outlook, self._chain
        bench, model = self._bench, self._bench.float_model
        title = "observe the range of every activation"
        key = bench.calibration_key(model, chain.ranges)
        yield Workload("calibrate", title, self._pictures, self._observing, key=key)
        if chain.rounding:
            title, key = "observe what the weights of each layer meet", bench.moments_key(model)
            yield Workload("moments", title, self._pictures, _MOMENTS, activations=2.0, key=key)
        if outlook.schemes:
            yield from self._target()
        yield Workload("reference", "run the float model on the selection pictures", self._selected)
        yield from self._tuner() if outlook.tuner else self._own()
        yield from self._end()

    def _target(self) -> Iterator[Workload]:
        """Every scheme is quantized with all rounding passes, then emulated with exact and with saturating sums."""
        schemes = self._outlook.schemes
        yield from self._rounding(schemes, "for the schemes that may suit the board")
        title = f"emulate the board's sums for up to {schemes} schemes"
        yield Workload("target", title, schemes * self._outlook.emulated, _EMULATION)

    def _own(self) -> Iterator[Workload]:
        chain, bench = self._chain, self._bench
        if chain.mend_heads:
            title = "look for boxes and scores that share a grid"
            yield Workload(MEND_HEADS, title, min(_HEAD_PICTURES, self._pictures), 1.2)
        for number, name in enumerate(chain.scaling):
            # The first one meets the graph as it was prepared, unless heads were mended.
            key = bench.scaling_key(name, bench.float_model) if number == 0 else None
            cost = _MAXIMA + _EXTREMES
            yield Workload(name, "move range between tensors, calibrate again", self._pictures, cost, key=key)
        yield from self._rounding(1, "")
        tried = len(chain.ranges) + len(chain.scaling) + len(chain.rounding)
        yield self._losses(tried, f"hold {tried} candidates against float")
        if chain.mixed_precision or (chain.rescue and self._outlook.promises):
            yield from self._search()

    def _rounding(self, times: int, whose: str) -> Iterator[Workload]:
        for name in self._chain.rounding:
            title = f"find better integers {whose}".rstrip()
            yield Workload(name, title, times * self._pictures, _ROUNDING[name])

    def _losses(self, candidates: int, title: str) -> Workload:
        return Workload("losses", title, candidates * self._selected, _INT8, candidates * _WRITE_SECONDS)

    def _search(self) -> Iterator[Workload]:
        needed = "" if self._chain.mixed_precision else ", if the promise is missed"
        yield self._sqnr(needed)
        title = f"measure what each layer does to the answers{needed}"
        yield Workload("influence", title, min(_SENSITIVITY_PICTURES, self._selected), _INFLUENCE, activations=2.0)
        title = f"time each operator in float and in INT8{needed}"
        yield Workload("operators", title, fixed_seconds=_OPERATORS_SECONDS)
        # The loss, and the answers as people count them.
        runs = 2 if self._outlook.promises else 1
        title = f"try up to {_SEARCHES} sets of regions in float{needed}"
        count = _SEARCHES * runs * self._selected
        yield Workload(MIXED_PRECISION, title, count, _INT8, _SEARCHES * _WRITE_SECONDS, models=3.0)
        if "correct-bias" in self._chain.rounding:
            title = f"correct biases again with regions in float{needed}"
            yield Workload("correct-bias", title, self._pictures, _ROUNDING["correct-bias"])

    def _sqnr(self, needed: str) -> Workload:
        title = f"measure the error of every tensor{needed}"
        return Workload("sqnr", title, min(_SENSITIVITY_PICTURES, self._selected), _TENSORS, activations=2.0)

    def _tuner(self) -> Iterator[Workload]:
        """Every range method with every beginning of the chain of rounding passes, heads in INT8 or in float."""
        chain = self._chain
        yield from self._rounding(2 * len(chain.ranges), "for neural-compressor's configurations")
        count = 2 * len(chain.ranges) * (len(chain.rounding) + 1)
        title = f"judge up to {count} configurations that neural-compressor proposes"
        yield Workload("tune", title, 2 * count * self._selected, _INT8, count * _WRITE_SECONDS)
        if self._outlook.torch_flow:
            # Its own tracing, in PyTorch, for which nobody knows the price in our inferences.
            yield Workload("torch-flow", "run neural-compressor's torch flow", self._pictures, 10.0, 20.0, models=6.0)

    def _end(self) -> Iterator[Workload]:
        outlook, chain = self._outlook, self._chain
        forms = len(chain.forms) + 1
        title = f"make, compare and time {'one form' if forms == 1 else f'{forms} forms'}"
        count = forms * 2 * self._selected + (forms + 1) * _BRIEF_TURNS
        yield Workload("forms", title, count, _INT8, 1.5 * (forms + 1), models=2.0 + forms)
        yield Workload("judge", "judge the chosen form on pictures of its own", outlook.judged, _PAIR)
        runs = outlook.timing.blocks * outlook.timing.frames_per_block
        yield Workload("time", "time float and the chosen form, processes taking turns", runs, _PAIR, fixed_seconds=2.0)
        searched = not outlook.tuner and (chain.mixed_precision or (chain.rescue and outlook.promises))
        if not chain.brief and not searched:
            yield self._sqnr(", for the report")
        if outlook.boards:
            whose = "one board that computes" if outlook.boards == 1 else f"{outlook.boards} boards that compute"
            title = f"predict the answers of {whose} other sums"
            yield Workload("boards", title, outlook.boards * outlook.emulated, _EMULATION)
