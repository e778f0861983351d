"""What is shipped in each format: one form chosen, judged against the float model, and held against the contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.manifest import Format
from edgewright.optimize.chain.effort import FORMS
from edgewright.optimize.evaluate.quality import FLOAT, INT8
from edgewright.optimize.judge import JudgeSettings, judge_candidate
from edgewright.optimize.shipping import choose_form, too_slow
from edgewright.optimize.variants.form import form_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgewright.optimize.judge import Judgement
    from edgewright.optimize.progress import Progress
    from edgewright.optimize.request import OptimizeRequest
    from edgewright.optimize.roles import Roles
    from edgewright.optimize.shipping import Choice, FormFigures

__all__ = ["Delivery", "deliver"]


@dataclass(frozen=True, eq=False)
class Delivery:
    """One format's part of the bundle.

    Attributes:
        kind: The format.
        rows: First figures of its forms.
        choice: The form that is shipped, and the one that was judged.
        judgement: What was measured of that one.
    """

    kind: Format
    rows: Sequence[FormFigures]
    choice: Choice
    judgement: Judgement


def deliver(
    draft: Path,
    rows: Mapping[Format, Sequence[FormFigures]],
    roles: Roles,
    request: OptimizeRequest,
    progress: Progress,
    *,
    foreign: bool,
) -> tuple[Delivery, ...]:
    """Chooses and judges, format by format, in the order in which they were asked for.

    Args:
        draft: Bundle with all forms.
        rows: First figures of the forms, by format.
        roles: The pictures.
        request: Contract, timing and the form wanted by name.
        progress: Where stages are announced.
        foreign: The board has another kind of processor.

    Raises:
        SpecError: The form wanted by name is not there.
        DataError: Pictures cannot be used.
        JudgeError: A variant cannot be measured.
    """
    return tuple(_deliver(draft, kind, rows[kind], roles, request, progress, foreign) for kind in request.formats)


def _deliver(  # noqa: PLR0917 - the public function has names for them
    draft: Path,
    kind: Format,
    rows: Sequence[FormFigures],
    roles: Roles,
    request: OptimizeRequest,
    progress: Progress,
    foreign: bool,
) -> Delivery:
    baseline, wanted = form_name(FLOAT, kind), _wanted(request.search.ship, kind, rows)
    choice = choose_form(rows, request.contract, wanted, foreign=foreign, baseline=baseline)
    progress.note(choice.why)
    settings = JudgeSettings(
        request.contract,
        request.metric,
        request.timing,
        variant=choice.judged,
        baseline=baseline,
        float_shipped=choice.gated,
        gate=wanted is None and not foreign,
        foreign=foreign,
    )
    judgement = judge_candidate(draft, roles.plan, roles.used, settings, progress)
    if judgement.slower:
        choice = too_slow(choice, baseline)
        progress.note(choice.why)
    return Delivery(kind, rows, choice, judgement)


def _wanted(ship: str | None, kind: Format, rows: Sequence[FormFigures]) -> str | None:
    """The form wanted by name, as this format calls it; one that only another format has is no wish of this one."""
    if ship is None or kind is Format.ONNX:
        return ship
    name = form_name(ship, kind)
    known = name in {row.name for row in rows}
    return name if known or ship not in (INT8, *FORMS) else None
