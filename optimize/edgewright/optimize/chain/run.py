"""Runs a chain: one pass after the other, each kept only when the selection pictures say that it helps.

    plain min-max -> heads -> scale passes -> range methods, rounding of weights -> biases -> regions in float

The plain candidate comes first, so that everything is held against what a plain tool would have given. A chain named by
hand (``Chain.forced``) applies every pass without asking, but measures all the same.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from edgewright.optimize.chain.effort import MEND_HEADS, MIXED_PRECISION
from edgewright.optimize.chain.goal import standing_of
from edgewright.optimize.chain.mixed import OUT_OF_TIME, search_regions
from edgewright.optimize.chain.trial import Trial
from edgewright.optimize.errors import JudgeError, PassError
from edgewright.optimize.feeds import evenly
from edgewright.optimize.heads.channels import head_channel_ranges
from edgewright.optimize.heads.mend import mend_heads
from edgewright.optimize.quantization.transplant import transplant_rounding
from edgewright.optimize.selection import improves

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from edgewright.optimize.chain.effort import Chain
    from edgewright.optimize.chain.workbench import Calibrated, Workbench
    from edgewright.optimize.contract import Contract
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.types import Ranges

__all__ = ["ChainResult", "State", "run_chain"]

_CHANNEL_PICTURES = 16
_PROVED_ON = 2  # pictures on which a graph taken apart is proved to compute the same
_BIAS = "correct-bias"
_SWEEPS = 2


@dataclass(frozen=True, eq=False)
class State:
    """A candidate on its way through the chain.

    Attributes:
        model: The float graph it was quantized from; scale passes change it.
        method: The range method.
        ranges: Of every float tensor of ``model``, by that method.
        keep_float: Nodes left in float.
        graph: The INT8 file.
        losses: On the selection pictures, picture by picture.
        passes: What went into it beside the range method, in order.
        uncorrected: ``graph`` as it was before biases were corrected; None where they were not.
        by_passes: Whether the passes alone make it again; not so where scales came from another tool.
        untrained: The candidate before its weights were trained to be integers; None where nothing was trained. Forms
            that keep float weights are made of it.
    """

    model: bytes
    method: str
    ranges: Ranges
    keep_float: frozenset[str]
    graph: QuantizedGraph
    losses: NDArray[np.float64]
    passes: tuple[str, ...] = ()
    uncorrected: QuantizedGraph | None = None
    by_passes: bool = True
    untrained: State | None = None

    @property
    def in_float(self) -> State:
        """What forms that keep float weights, such as float16, are made of."""
        return self.untrained or self

    @property
    def names(self) -> tuple[str, ...]:
        """As a recipe writes it."""
        return (self.method, *self.passes)


@dataclass(frozen=True, eq=False)
class ChainResult:
    """What a chain came to.

    Attributes:
        best: The candidate that won.
        plain: The plain one that all was held against.
        trials: What was tried, in order.
        stability: How far scales move between halves of the calibration pictures.
        details: Tables of single passes for the report, JSON values by name.
        notes: What the user should know.
    """

    best: State
    plain: State
    trials: tuple[Trial, ...]
    stability: Mapping[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def run_chain(
    bench: Workbench, chain: Chain, contract: Contract, keep_float: frozenset[str] = frozenset()
) -> ChainResult:
    """Runs a chain from the plain candidate on.

    Args:
        bench: What steps work with.
        chain: What to try.
        contract: What the search for regions in float must meet.
        keep_float: Nodes that stay in float whatever is tried.

    Raises:
        JudgeError: The graph cannot be quantized or measured.
    """
    return _Run(bench, chain, contract, keep_float).run()


class _Run:
    def __init__(self, bench: Workbench, chain: Chain, contract: Contract, keep_float: frozenset[str]) -> None:
        self._bench, self._chain = bench, chain
        self._contract, self._keep_float = contract, keep_float
        self._trials: list[Trial] = []
        self._details: dict[str, Any] = {}
        self._notes: list[str] = []

    def run(self) -> ChainResult:
        bench, chain = self._bench, self._chain
        calibrated = bench.calibrate(bench.float_model, chain.ranges)
        plain = best = self._plain(calibrated)
        if chain.mend_heads:
            best = self._mended(best)
        for name in chain.scaling:
            best = self._attempt(best, name, partial(self._scaled, name))
        best = self._settled(best)
        if _BIAS in chain.rounding:
            best = self._attempt(best, _BIAS, partial(self._rounded, _BIAS))
        if chain.mixed_precision or self._short_of(best):
            best = self._mixed(best)
        return ChainResult(
            best,
            plain,
            tuple(self._trials),
            calibrated.stability[best.method],
            self._details,
            tuple(dict.fromkeys(self._notes)),
        )

    def _settled(self, best: State) -> State:
        """Ranges and the rounding of weights, until nothing is left that is worth trying again.

        The larger of two errors hides what mending the smaller one brings, and which is larger differs from network to
        network. So what was dropped gets a second chance once something else was kept after it.
        """
        steps = {method: partial(self._with_method, method) for method in self._chain.ranges[1:]}
        steps |= {name: partial(self._rounded, name) for name in self._chain.rounding if name != _BIAS}
        waiting = list(steps)
        for _ in range(_SWEEPS):
            dropped: list[str] = []
            again: list[str] = []
            for name in waiting:
                new = self._attempt(best, name, steps[name])
                if new is best:
                    dropped.append(name)
                else:
                    best, again, dropped = new, [*again, *dropped], []
            waiting = again
        return best

    def _plain(self, calibrated: Calibrated) -> State:
        model, method = self._bench.float_model, self._chain.ranges[0]
        started = time.monotonic()
        with self._bench.progress.stage("quantize and measure the plain candidate"):
            graph = self._bench.quantize(model, calibrated.ranges[method], self._keep_float)
            losses = self._bench.losses(graph)
        state = State(model, method, calibrated.ranges[method], self._keep_float, graph, losses)
        self._trials.append(
            Trial(
                method,
                kept=True,
                why="the plain candidate that all else is held against",
                loss=float(losses.mean()),
                seconds=time.monotonic() - started,
                bytes=len(graph.model),
            )
        )
        return state

    def _attempt(self, now: State, name: str, make: Callable[[State], State | None]) -> State:
        """One pass: made, measured, kept or dropped."""
        started = time.monotonic()
        if self._bench.deadline.passed and not self._chain.forced:
            self._skip(name)
            return now
        try:
            made = make(now)
            if made is None:
                return now
            new = dataclasses.replace(made, losses=self._bench.losses(made.graph))
        except (JudgeError, PassError) as error:
            # One pass that cannot deal with a network is no reason to give up the others.
            if self._chain.forced:
                raise
            self._trials.append(Trial(name, kept=False, why=f"failed: {error}", seconds=time.monotonic() - started))
            return now
        comparison = improves(now.losses, new.losses, self._bench.selection.block)
        kept = comparison.accepted or self._chain.forced
        why = comparison.sentence + (", applied as the chain was named by hand" if self._chain.forced else "")
        self._trials.append(
            Trial(
                name,
                kept=kept,
                why=why,
                loss=comparison.new,
                before=comparison.old,
                seconds=time.monotonic() - started,
                bytes=len(new.graph.model),
            )
        )
        return new if kept else now

    def _with_method(self, method: str, now: State) -> State:
        """Other ranges, with the weights as they were rounded: their grids do not depend on activations."""
        ranges = self._bench.calibrate(now.model, self._chain.ranges).ranges[method]
        graph = transplant_rounding(now.graph, self._bench.quantize(now.model, ranges, now.keep_float))
        return dataclasses.replace(now, method=method, ranges=ranges, graph=graph)

    def _scaled(self, name: str, now: State) -> State | None:
        scaled, notes = self._bench.scale(name, now.model)
        if scaled == now.model:
            self._trials.append(Trial(name, kept=False, why="; ".join(notes) or "nothing to scale in this network"))
            return None
        ranges = self._bench.calibrate(scaled, (now.method,)).ranges[now.method]
        graph = self._bench.quantize(scaled, ranges, now.keep_float)
        return dataclasses.replace(now, model=scaled, ranges=ranges, graph=graph, passes=(*now.passes, name))

    def _rounded(self, name: str, now: State) -> State:
        graph = self._bench.round(name, now.graph, now.model)
        before = now.graph if name == _BIAS else now.uncorrected
        return dataclasses.replace(now, graph=graph, passes=(*now.passes, name), uncorrected=before)

    def _mended(self, now: State) -> State:
        """Boxes and scores that share a grid are parted, where that helps."""
        if self._bench.deadline.passed and not self._chain.forced:
            self._skip(MEND_HEADS)
            return now
        pictures = self._bench.calibration
        few = list(itertools.islice(pictures.feeds(), _PROVED_ON))
        quantize = self._bench.quantize
        with self._bench.progress.stage("look for boxes and scores that share a grid"):
            channels = head_channel_ranges(now.model, evenly(pictures.feeds, pictures.count, _CHANNEL_PICTURES))
            found = mend_heads(now.model, now.ranges, quantize, self._bench.losses, few, channels=channels)
        self._details["heads"] = [dict(row) for row in found.rows]
        self._notes += found.notes
        if found.remedy == "none":
            return now
        keep = now.keep_float | set(found.keep_float)
        ranges = now.ranges
        if found.model != now.model:
            ranges = self._bench.calibrate(found.model, self._chain.ranges).ranges[now.method]
        graph = quantize(found.model, ranges, keep)
        mended = dataclasses.replace(now, model=found.model, ranges=ranges, keep_float=keep, graph=graph)
        return self._attempt(
            now, MEND_HEADS, lambda _now: dataclasses.replace(mended, passes=(*now.passes, MEND_HEADS))
        )

    def _short_of(self, best: State) -> bool:
        """Whether the contract asks for more than the selection pictures show, and may be given it."""
        if self._chain.forced or not self._chain.rescue or self._bench.deadline.passed:
            return False
        standing = standing_of(self._contract, self._bench, best.graph)
        if standing is None or standing.met:
            return False
        self._notes.append(f"{MIXED_PRECISION}: regions in float were looked for, for {standing.sentence}")
        return True

    def _mixed(self, now: State) -> State:
        """Regions that are worth it stay in float."""
        started, place = time.monotonic(), len(self._trials)
        if self._bench.deadline.passed:
            self._skip(MIXED_PRECISION)
            return now
        found = search_regions(self._bench, now, self._contract)
        self._details["sensitivity"] = found.table
        if not found.keep_float:
            why = f"{found.status}, no region is worth its bytes in float"
            self._trials.append(Trial(MIXED_PRECISION, kept=False, why=why, seconds=time.monotonic() - started))
            return now
        before = standing_of(self._contract, self._bench, now.graph)
        regions, mixed = found.regions, self._rebuilt(now, found.keep_float)
        standing = standing_of(self._contract, self._bench, mixed.graph)
        # The search moved the biases of the integer network along; made again, some have changed.
        for more in found.wider:
            if standing is None or standing.met or self._bench.deadline.passed:
                break
            self._notes.append(
                f"{MIXED_PRECISION}: with {', '.join(regions)} in float and biases corrected anew only "
                f"{standing.sentence}; {', '.join(more.regions)} added"
            )
            regions, mixed = (*regions, *more.regions), self._rebuilt(now, now.keep_float | more.keep_float)
            standing = standing_of(self._contract, self._bench, mixed.graph)
        comparison = improves(now.losses, mixed.losses, self._bench.selection.block)
        nearer = standing is not None and before is not None and standing.short < before.short
        kept = nearer or comparison.accepted or self._chain.forced
        told = f"; {standing.sentence}" if standing is not None else ""
        why = f"{found.status}: {', '.join(regions)} in float; {comparison.sentence.rpartition(':')[0]}{told}"
        seconds = time.monotonic() - started
        trial = Trial(MIXED_PRECISION, kept, why, comparison.new, comparison.old, seconds, len(mixed.graph.model))
        self._trials.insert(place, trial)  # before the correction of biases that is part of it
        return mixed if kept else now

    def _skip(self, name: str) -> None:
        self._trials.append(Trial(name, kept=False, why=f"not tried: {OUT_OF_TIME}"))

    def _rebuilt(self, now: State, keep: frozenset[str]) -> State:
        """The candidate with more nodes in float, just as its recipe would make it.

        Means moved with what went back to float, so biases are corrected anew. That is one more pass and must help as
        any other: beyond noise, against the same graph without it.
        """
        fresh = self._bench.quantize(now.model, now.ranges, now.keep_float | keep)
        graph = transplant_rounding(now.uncorrected or now.graph, fresh)
        passes = tuple(name for name in now.passes if name != _BIAS)
        mixed = dataclasses.replace(
            now,
            graph=graph,
            keep_float=now.keep_float | keep,
            losses=self._bench.losses(graph),
            passes=passes,
            uncorrected=None,
        )
        return self._attempt(mixed, _BIAS, partial(self._rounded, _BIAS)) if _BIAS in now.passes else mixed
