"""``edgewright optimize``: a float model goes in, a judged bundle and its report come out.

    load -> prepare the graph -> chain of passes -> forms of the model -> choose one -> judge it -> bundle -> report

Pictures serve one purpose each: calibration pictures set integers, selection pictures choose among candidates, and what
is reported was measured on pictures that neither of them saw. The bundle is written whatever the verdict, and carries
it: on FAIL and INCONCLUSIVE the best candidate is there to be looked at, labelled so. Nothing is written before
everything is measured.

Example:
    >>> request = OptimizeRequest(                                       # doctest: +SKIP
    ...     model="person.onnx", output=Path("person.edge"), data=DataChoice(calibrate="clip.avi#1::8"))
    >>> result = run_optimize(request)                                   # doctest: +SKIP
    >>> result.verdict.status.exit_code                                  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.errors import MissingExtraError
from edgewright.bundle.manifest import Format, Precision
from edgewright.bundle.writer import write_bundle
from edgewright.optimize.candidate import Candidate
from edgewright.optimize.chain.effort import chain_for
from edgewright.optimize.chain.neural import run_neural_compressor
from edgewright.optimize.chain.nodes import check_nodes
from edgewright.optimize.chain.planning import Outlook, plan_run
from edgewright.optimize.chain.run import run_chain
from edgewright.optimize.chain.workbench import Workbench
from edgewright.optimize.compression.journey import Journey
from edgewright.optimize.data.plan import check_sources
from edgewright.optimize.delivery import deliver
from edgewright.optimize.durations import format_seconds
from edgewright.optimize.errors import ConversionError
from edgewright.optimize.finish import Outcome, finish, provenance_of
from edgewright.optimize.forms import check_wanted, compare_forms, float_form, make_forms, refuse_unmade
from edgewright.optimize.judge import check_contract
from edgewright.optimize.loading import Loaded, load_model, open_pictures
from edgewright.optimize.outputs import check_outputs, room_for_temporary_files
from edgewright.optimize.progress import Progress, SilentProgress
from edgewright.optimize.request import Engine, OptimizeRequest, OptimizeResult
from edgewright.optimize.steps import Deadline, Plan, StepCache, probe_model
from edgewright.optimize.target import (
    EMULATED_PICTURES,
    choose_target,
    emulated_boards,
    likely_scheme,
    schemes_to_emulate,
)
from edgewright.optimize.telling import Found, Teller, reproduced, says_nothing_of_boards
from edgewright.optimize.tflite_forms import compact_tflite_form, make_tflite_forms
from edgewright.optimize.variants.form import COMPACT, ModelForm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.optimize.chain.effort import Chain
    from edgewright.optimize.chain.run import ChainResult
    from edgewright.optimize.roles import Roles

__all__ = ["OptimizeRequest", "OptimizeResult", "plan_optimize", "run_optimize"]

_SCALES_ITSELF = (
    "the model scales pixels itself, which the bundle's preprocessing does in its place, and a borrowed converter starts "
    "from the model: save it without that scaling (Keras: Rescaling, Normalization) and say it by --scale, --mean and "
    "--std or in the spec, or use --formats onnx"
)


def run_optimize(request: OptimizeRequest, progress: Progress | None = None) -> OptimizeResult:
    """Does all of it.

    Args:
        request: What is to be done.
        progress: Where stages are announced; nothing is said when None.

    Raises:
        ModelError: The model cannot be used.
        SpecError: Its description does not fit, or the contract means nothing.
        DataError: Pictures or labels cannot be used.
        JudgeError: No candidate can be measured.
        OutputError: The result cannot be written; nothing is.
    """
    told = progress or SilentProgress()
    check_outputs(request.output, request.report_folder)
    check_contract(request.contract, labelled=request.data.labels is not None)
    with room_for_temporary_files(), _step_folder(request) as folder:
        return _Optimization(request, told, folder).run()


def plan_optimize(request: OptimizeRequest, progress: Progress | None = None) -> Plan:
    """Says what ``run_optimize`` would do, for how long and in how much memory; runs the float model a few times.

    Args:
        request: What would be done.
        progress: Where stages are announced; nothing is said when None.

    Raises:
        As ``run_optimize``, as far as it can be known beforehand.
    """
    check_outputs(request.output, request.report_folder)
    check_contract(request.contract, labelled=request.data.labels is not None)
    with room_for_temporary_files(), _step_folder(request) as folder:
        return _Optimization(request, progress or SilentProgress(), folder).plan()


@contextlib.contextmanager
def _step_folder(request: OptimizeRequest) -> Iterator[Path]:
    """Where finished steps lie; without a cache a folder for this run, so that no step runs twice in it."""
    if request.search.cache is not None:
        yield request.search.cache
        return
    with tempfile.TemporaryDirectory(prefix="edgewright-steps-") as folder:
        yield Path(folder)


@dataclass(frozen=True, eq=False)
class _Further:
    """What is to be known of the forms: notes, who wrote the TFLite files, how their tensors lie."""

    notes: tuple[str, ...]
    route: str | None = None
    axes: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)


class _Optimization:
    """One run; the order of its methods is the order of the work."""

    def __init__(self, request: OptimizeRequest, progress: Progress, steps: Path) -> None:
        self._request, self._progress = request, progress
        self._search = request.search
        self._deadline = Deadline(request.contract.time_budget)
        self._cache = StepCache(steps, on_note=progress.note)
        self._journey = Journey(request, progress)

    @property
    def _chain(self) -> Chain:
        return self._search.chain or chain_for(self._search.effort)

    def plan(self) -> Plan:
        self._check()
        loaded = self._load()
        roles = open_pictures(self._request, loaded.source, self._progress)
        bench = self._workbench(loaded, roles)
        quantizing = self._planned(bench, loaded, roles)
        if self._request.compression is None:
            return quantizing
        probe = probe_model(loaded.prepared, next(roles.calibration.feeds()), self._request.timing.threads)
        return Plan((*self._journey.planned(probe), *quantizing.steps))

    def run(self) -> OptimizeResult:
        request, progress = self._request, self._progress
        self._check()
        loaded = self._load()
        roles = open_pictures(self._request, loaded.source, self._progress)
        small = self._compressed(loaded, roles)
        bench = self._workbench(small, roles)
        bench.promised = loaded.prepared if small.steps else None
        self._announce(bench, small, roles)
        target = choose_target(self._search.profile, bench, self._chain, self._search.keep_float)
        bench.scheme, bench.foreign = target.scheme, target.foreign
        chained = self._journey.aware(self._run_engine(bench, small), bench, roles)
        forms, further = self._forms(bench, loaded, small, chained)
        teller = Teller(request, self._chain, bench)
        name = request.name or loaded.source.spec.name
        candidate = Candidate(loaded.source, forms, name, request.version)
        with tempfile.TemporaryDirectory(prefix="edgewright-optimize-") as folder:
            draft = Path(folder) / "draft"
            provenance = provenance_of(request, loaded.source, "UNJUDGED")
            write_bundle(draft, candidate.manifest(candidate.variants(), provenance), candidate.payload())
            rows = compare_forms(draft, candidate, bench, roles, request.timing.threads)
            delivered = deliver(draft, rows, roles, request, progress, foreign=target.foreign)
            first = delivered[0].choice
            parity = teller.parity(draft, loaded, small, further.axes)
            path = self._journey.rows(loaded.source, loaded.prepared, small.steps, delivered, roles)
            outcome = Outcome(
                candidate=candidate,
                delivered=delivered,
                story=teller.story(Found(chained, target, rows, first, parity, path, small.steps), roles),
                roles=roles,
                method=chained.best.method,
                recipe=reproduced(request.typed, chained.best, first),
                notes=(
                    *(*small.notes, *roles.plan.notes, *roles.notes, *chained.notes, *further.notes),
                    *(one.choice.why for one in delivered),
                ),
                foreign=target.foreign,
                route=further.route,
            )
            result = finish(request, draft, outcome, progress)
        return dataclasses.replace(result, explanations=self._cache.finish(str(request.output.absolute())))

    def _compressed(self, loaded: Loaded, roles: Roles) -> Loaded:
        """The network after the training steps of the recipe; the same where there are none."""
        steps = self._journey.run(loaded.source, loaded.prepared, roles)
        if not steps:
            return loaded
        # The budget is the search's; training is as long as its epochs.
        self._deadline = Deadline(self._request.contract.time_budget)
        last = steps[-1]
        self._check_left_alone(last.prepared)
        told = (f"{step.label}: {note}" for step in steps for note in (step.sentence, *step.notes, *step.failures))
        return Loaded(last.source, last.prepared, (*loaded.notes, *told), steps)

    def _forms(
        self, bench: Workbench, loaded: Loaded, small: Loaded, chained: ChainResult
    ) -> tuple[tuple[ModelForm, ...], _Further]:
        """All forms of the formats asked for, the float ones first of each, and what there is to say of them."""
        request, chain, best = self._request, self._chain, chained.best
        forms, notes = [float_form(loaded.prepared)], list[str]()
        if Format.ONNX in request.formats:
            made, notes_ = make_forms(best, chain, bench, loaded.source, self._search.ship)
            refuse_unmade(self._search.ship, notes_)
            forms += made
            notes += notes_
            forms += [ModelForm(COMPACT, small.prepared, Precision.FLOAT32)] if small.steps else []
        if Format.TFLITE not in request.formats:
            return tuple(forms), _Further(tuple(notes))
        try:
            tflite = make_tflite_forms(best, loaded.prepared, chain.forms, bench, loaded.source, model=request.model)
        except ConversionError as error:
            if not loaded.source.scaling_moved:
                raise
            msg = f"{error}; {_SCALES_ITSELF}"
            raise ConversionError(msg) from error
        compact = compact_tflite_form(small.prepared, tflite.route) if small.steps else ()
        return (*forms, *tflite.forms, *compact), _Further((*notes, *tflite.notes), tflite.route, tflite.axes)

    def _check(self) -> None:
        """What can be refused before the model is loaded, which may take a while."""
        forms = (*self._chain.forms, COMPACT) if self._journey.has_steps else self._chain.forms
        check_wanted(self._search.ship, forms, self._request.formats)
        likely_scheme(self._search.profile)
        if Format.TFLITE in self._request.formats and find_spec("ai_edge_litert") is None:
            what = "writing and judging TFLite files needs ai_edge_litert, which is not installed"
            raise MissingExtraError(what, "optimize,tflite")
        check_sources(self._request.data)
        self._journey.check()

    def _run_engine(self, bench: Workbench, loaded: Loaded) -> ChainResult:
        if self._search.engine is Engine.NEURAL_COMPRESSOR:
            return run_neural_compressor(bench, self._chain, self._request, loaded.source)
        return run_chain(bench, self._chain, self._request.contract, self._search.keep_float)

    def _workbench(self, loaded: Loaded, roles: Roles) -> Workbench:
        return Workbench(
            spec=loaded.source.spec,
            float_model=loaded.prepared,
            calibration=roles.calibration,
            selection=roles.selection,
            scheme=likely_scheme(self._search.profile),
            threads=self._request.timing.threads,
            cache=self._cache,
            deadline=self._deadline,
            progress=self._progress,
        )

    def _planned(self, bench: Workbench, loaded: Loaded, roles: Roles) -> Plan:
        feeds = next(roles.calibration.feeds())
        probe = probe_model(loaded.prepared, feeds, self._request.timing.threads)
        self._cache.unit_seconds = probe.inference_seconds
        contract, profile = self._request.contract, self._search.profile
        outlook = Outlook(
            chain=self._chain,
            promises=contract.min_agreement is not None or contract.max_drop is not None,
            tuner=self._search.engine is Engine.NEURAL_COMPRESSOR,
            torch_flow=loaded.source.module is not None,
            schemes=schemes_to_emulate(profile),
            boards=0 if says_nothing_of_boards(self._chain, profile) else len(emulated_boards(profile)),
            emulated=min(EMULATED_PICTURES, roles.selection.count),
            judged=roles.plan.judged,
            timing=self._request.timing,
        )
        return plan_run(bench, outlook, probe)

    def _announce(self, bench: Workbench, loaded: Loaded, roles: Roles) -> None:
        plan = self._planned(bench, loaded, roles)
        effort = "the passes named by hand" if self._search.chain is not None else f"effort {self._search.effort.value}"
        self._progress.note(f"{effort}: {len(plan.steps)} steps, about {format_seconds(plan.seconds)} here")

    def _load(self) -> Loaded:
        loaded = load_model(self._request, self._journey, self._progress)
        if not self._journey.has_steps:
            self._check_left_alone(loaded.prepared)
        return loaded

    def _check_left_alone(self, prepared: bytes) -> None:
        """Refuses nodes to be left in float that the network to be quantized has not."""
        # A remedy for heads may have made nodes that its recipe names.
        if not (self._chain.mend_heads and self._chain.forced):
            check_nodes(prepared, self._search.keep_float)
