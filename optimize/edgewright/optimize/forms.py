"""The forms of a model that compete for the bundle, and their first figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.bundle.errors import EdgewrightError
from edgewright.bundle.manifest import Format, Precision
from edgewright.bundle.reader import open_bundle
from edgewright.optimize.chain.effort import FORMS
from edgewright.optimize.chain.goal import agreement_of
from edgewright.optimize.chain.mixed import OUT_OF_TIME
from edgewright.optimize.errors import OptimizeError, SpecError
from edgewright.optimize.evaluate.quality import FLOAT, INT8
from edgewright.optimize.quantization.writer import QuantizedGraph
from edgewright.optimize.selection import improves
from edgewright.optimize.selection.compare import MIN_EVIDENCE
from edgewright.optimize.shipping import FormFigures
from edgewright.optimize.speed import measure_speed, speedup_of
from edgewright.optimize.variants.dynamic import dynamic_form
from edgewright.optimize.variants.float16 import float16_form
from edgewright.optimize.variants.form import ModelForm
from edgewright.optimize.variants.uint8_input import uint8_input_form
from edgewright.optimize.variants.weight_only import weight_only_form
from edgewright.runtime.bench import MIN_PAIRS, BenchSettings
from edgewright.runtime.session import open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from edgewright.bundle.reader import Bundle
    from edgewright.optimize.candidate import Candidate
    from edgewright.optimize.chain.effort import Chain
    from edgewright.optimize.chain.run import State
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.roles import Roles
    from edgewright.optimize.sources import FloatModel

__all__ = ["check_wanted", "compare_forms", "float_form", "make_forms", "refuse_unmade"]

_ONNX_ONLY = frozenset({"weight-only"})
_BRIEF_BLOCKS = MIN_PAIRS + 4


def float_form(prepared: bytes) -> ModelForm:
    """The prepared float graph, the baseline of every comparison."""
    return ModelForm(FLOAT, prepared, Precision.FLOAT32)


def make_forms(
    best: State, chain: Chain, bench: Workbench, source: FloatModel, wanted: str | None = None
) -> tuple[tuple[ModelForm, ...], tuple[str, ...]]:
    """The static INT8 form and the further ones that a chain asks for.

    Args:
        best: What the chain came to.
        chain: Its ``forms`` are made.
        bench: What steps work with.
        source: The float model.
        wanted: The form to ship, which is made however late it is; None chooses.

    Returns:
        The forms, static INT8 first, and notes on those that cannot be made of this model, or not in time.
    """
    static = ModelForm(INT8, best.graph.model, Precision.INT8, best.graph.engine, best.graph.notes)
    makers: dict[str, Callable[[], ModelForm]] = {
        "uint8-input": lambda: uint8_input_form(best.graph, source.spec.preprocess),
        "dynamic": lambda: dynamic_form(best.in_float.model),
        "weight-only": lambda: weight_only_form(best.model, best.graph),
        "float16": lambda: float16_form(best.in_float.model, best.in_float.ranges),
    }
    forms, notes = [static], list[str]()
    for name in chain.forms:
        if bench.deadline.passed and not chain.forced and name != wanted:
            notes.append(f"{_no_form(name)}{OUT_OF_TIME}")
            continue
        with bench.progress.stage(f"make the {name} form"):
            made = _made(makers[name])
        if isinstance(made, ModelForm):
            forms.append(made)
        else:
            notes.append(f"{_no_form(name)}{made}")
    return tuple(forms), tuple(notes)


def check_wanted(wanted: str | None, made: tuple[str, ...], formats: Sequence[Format] = (Format.ONNX,)) -> None:
    """Refuses a form that no pass will make, before any work.

    Args:
        wanted: Name of the form to ship; None chooses.
        made: Further forms that the chain makes.
        formats: File formats asked for.

    Raises:
        SpecError: The form is not among them, or none of the formats has it.
    """
    if wanted in _ONNX_ONLY and Format.ONNX not in formats:
        msg = f"--ship {wanted}: there is no such form in TFLite; add onnx to --formats, or ship another form"
        raise SpecError(msg)
    if wanted is None or wanted in (INT8, *made):
        return
    if wanted not in FORMS:
        msg = f"there is no form {wanted!r} to ship; it may be {', '.join((INT8, *FORMS))}"
        raise SpecError(msg)
    names = ", ".join((INT8, *made))
    msg = f"--ship {wanted}: this chain makes {names} only; name {wanted} in --passes as well"
    raise SpecError(msg)


def refuse_unmade(wanted: str | None, notes: tuple[str, ...]) -> None:
    """Says why the wanted form could not be made.

    Args:
        wanted: Name of the form to ship; None chooses.
        notes: Of ``make_forms``.

    Raises:
        SpecError: There is no such form of this model.
    """
    reason = next((note for note in notes if wanted is not None and note.startswith(_no_form(wanted))), None)
    if reason is not None:
        msg = f"--ship {wanted}: {reason}"
        raise SpecError(msg)


def _no_form(name: str) -> str:
    return f"no {name} form: "


def _made(maker: Callable[[], ModelForm]) -> ModelForm | str:
    """The form, or why there is none."""
    try:
        return maker()
    except OptimizeError as error:
        return str(error)


def compare_forms(
    draft: Path, candidate: Candidate, bench: Workbench, roles: Roles, threads: int
) -> Mapping[Format, tuple[FormFigures, ...]]:
    """First figures of all forms but the float ones: fidelity on the selection pictures, and a brief timing.

    Args:
        draft: Bundle with all forms.
        candidate: The forms; of each format the float one first, then the static INT8 one.
        bench: What steps work with.
        roles: The pictures.
        threads: For the engine.

    Returns:
        Rows by format; speed is against the float form of the same format.

    Raises:
        JudgeError: A float form cannot be timed.
    """
    kinds = dict.fromkeys(form.format for form in candidate.forms)
    groups = {kind: [form for form in candidate.forms if form.format is kind] for kind in kinds}
    # A float form alone is there to be compared with.
    return {kind: _compared(draft, forms, bench, roles, threads) for kind, forms in groups.items() if len(forms) > 1}


def _compared(
    draft: Path, forms: Sequence[ModelForm], bench: Workbench, roles: Roles, threads: int
) -> tuple[FormFigures, ...]:
    able, problems = _able(draft, forms)
    frames = [sample.image for sample in roles.some_selection()]
    settings = BenchSettings(threads=threads, blocks=_BRIEF_BLOCKS)
    title = f"time {len(able)} {forms[0].format.value} forms briefly"
    with bench.progress.stage(title, settings.blocks) as advance:
        times = measure_speed(draft, able, frames, settings, advance)
    rows = []
    reference: NDArray[np.float64] | None = None
    for form in forms[1:]:
        size, precision = len(form.model), form.precision.value
        if form.name in problems:
            rows.append(FormFigures(form.name, precision, size, problem=problems[form.name]))
            continue
        graph = QuantizedGraph(form.model, form.engine)
        feeds = None if form.inputs is None else roles.selection_for(form.inputs[0])
        losses = bench.losses(graph, feeds, form.format)
        reference = losses if reference is None else reference
        rows.append(
            FormFigures(
                name=form.name,
                precision=precision,
                bytes=size,
                loss=float(losses.mean()),
                agreement=agreement_of(bench.describe(graph, feeds, form.format)),
                speedup=speedup_of(times, form.name),
                worse=_is_worse(losses, reference, bench.selection.block),
            )
        )
    return tuple(rows)


def _able(draft: Path, forms: Sequence[ModelForm]) -> tuple[list[str], dict[str, str]]:
    """Forms that this machine's engine loads, and what it says of the others."""
    with open_bundle(draft) as bundle:
        problems = {form.name: _problem(bundle, form.name) for form in forms}
    able = [name for name, problem in problems.items() if not problem]
    return able, {name: problem for name, problem in problems.items() if problem}


def _problem(bundle: Bundle, name: str) -> str:
    try:
        open_session(bundle, name)
    except EdgewrightError as error:
        return str(error)
    return ""


def _is_worse(losses: NDArray[np.float64], reference: NDArray[np.float64], block: int) -> bool:
    """Whether a form is less faithful than the static one; with too few pictures to tell, its mean loss decides."""
    comparison = improves(losses, reference, block)
    if comparison.groups < MIN_EVIDENCE:
        return bool(losses.mean() > reference.mean())
    return comparison.accepted
