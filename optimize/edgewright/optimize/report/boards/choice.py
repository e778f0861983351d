"""Which variant a board should run, and why: among those that give right answers and keep the promises, the fastest.

- Wrong golden answers on the board: out.
- A promise that surely fails there (``Status.FAIL``): out. One that cannot be told stays, and is named.
- A drop on the board that is surely larger than the one on the workstation, interval against interval: out, promise or
  not; something on that board computes otherwise.
- Of the rest the fastest by neighbouring turns; within the noise, the first of the bundle.

With promises a board has a verdict as well: that of its choice, FAIL where nothing may run there. An emulated board has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.figures import fixed
from edgewright.optimize.contract import ClauseKind, Contract, Figures, Measured, Status, Verdict, judge
from edgewright.runtime.bench_ratio import MIN_PAIRS
from edgewright.runtime.results.fastest import fastest_of
from edgewright.runtime.results.parts import Figure
from edgewright.runtime.results.soak_figures import soak_figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.optimize.contract import ClauseVerdict
    from edgewright.runtime.results.schema import BoardAccuracy, Result, VariantResult

__all__ = ["NO_PROMISES", "Choice", "choose", "shown_quality", "together"]

NO_PROMISES = Contract()
_ACCURACIES = ("ap50", "top1_accuracy", "ap")
_DROPS = ("ap50_drop", "ap_drop", "top1_accuracy_drop")
_AGREEMENTS = ("boxes_kept", "top1_agreement")
_UNTRIED = "the workstation measured it, and whether this board answers alike was not tried"


@dataclass(frozen=True)
class Choice:
    """What a board should run.

    Attributes:
        candidate: The variant, None where nothing may be recommended.
        why: In words.
        out: Variants that may not run there, and why.
        cautions: What the reader should know before he follows it.
        status: What became of the promises there; UNJUDGED without any, and on an emulated board.
        clauses: Each promise about the chosen variant, with what became of it.
    """

    candidate: str | None
    why: str
    out: tuple[tuple[str, str], ...] = ()
    cautions: tuple[str, ...] = ()
    status: Status = Status.UNJUDGED
    clauses: tuple[tuple[Status, str], ...] = ()


def choose(result: Result, promises: Contract = NO_PROMISES) -> Choice:
    """Chooses for one board.

    Args:
        result: What was measured there.
        promises: Limits that a variant must keep there; empty for none.
    """
    if result.board.emulated:
        return Choice(None, f"emulated by {result.board.emulated_by}: times of an emulated board choose nothing")
    out: list[tuple[str, str]] = []
    fair: list[VariantResult] = []
    verdicts: dict[str, Verdict] = {}
    for row in result.variants:
        verdict = judge(promises, _figures(result, row))
        reason = _refused(result, row, verdict)
        if reason is None:
            fair.append(row)
            verdicts[row.candidate] = verdict
        else:
            out.append((row.candidate, reason))
    if not fair:
        status = Status.UNJUDGED if promises.empty else Status.FAIL
        return Choice(None, "nothing of the bundle may run there", tuple(out), status=status)
    found = fastest_of(fair)
    if found is None:
        status = Status.UNJUDGED if promises.empty else Status.INCONCLUSIVE
        why = "its variants were not timed in equally many turns, so they cannot be compared"
        return Choice(None, why, tuple(out), status=status)
    verdict = verdicts[found.candidate]
    where = "this board" if any(said.variant == found.candidate for said in result.accuracy) else "the workstation"
    clauses = tuple(
        (clause.status, clause.sentence + (f" (judged on {where})" if _is_quality(clause) else ""))
        for clause in verdict.clauses
    )
    cautions = tuple(_cautions(result, found.candidate, promises))
    return Choice(found.candidate, found.reason, tuple(out), cautions, verdict.status, clauses)


def together(choices: Sequence[Choice], promises: Contract) -> Status:
    """One verdict over all boards: the worst. Emulated boards alone prove nothing.

    Args:
        choices: One a board.
        promises: What they were made under.
    """
    if promises.empty:
        return Status.UNJUDGED
    judged = {choice.status for choice in choices} - {Status.UNJUDGED}
    return next(
        (status for status in (Status.FAIL, Status.INCONCLUSIVE, Status.PASS) if status in judged), Status.INCONCLUSIVE
    )


def shown_quality(result: Result, row: VariantResult) -> tuple[str, Figure, bool] | None:
    """The quality a chart shows of a variant: metric, figure, and whether it was measured on the board."""
    said = _said(result, row)
    if said is not None:
        return said.metric, said.board, True
    for metric in (*_ACCURACIES, *_AGREEMENTS):
        if metric in row.judged:
            return metric, row.judged[metric], False
    if row.precision.startswith("float"):  # what the others agree with
        asked = next((name for name in _AGREEMENTS for other in result.variants if name in other.judged), None)
        return None if asked is None else (asked, Figure(1.0, 1.0, 1.0, 0), False)
    return None


def _said(result: Result, row: VariantResult) -> BoardAccuracy | None:
    return next((said for said in result.accuracy if said.variant == row.candidate), None)


def _is_quality(clause: ClauseVerdict) -> bool:
    """Whether a promise is about answers, and was measured somewhere; float is its own measure."""
    asked = clause.kind in {ClauseKind.MAX_DROP, ClauseKind.MIN_AGREEMENT}
    return asked and clause.measured is not None and clause.measured.samples > 0


def _refused(result: Result, row: VariantResult, verdict: Verdict) -> str | None:
    """Why a variant may not run there, None where it may."""
    if row.golden is False:
        return f"wrong golden answers: {row.golden_note}"
    said = _said(result, row)
    if said is not None and said.doubt is None:
        judged = row.judged.get(f"{said.metric}_drop")
        if judged is not None and said.drop.low > 100 * judged.high:
            return f"it loses {_points(said.drop, 1.0)} on this board, and lost {_points(judged, 100.0)} on the workstation"
    failed = [clause.sentence for clause in verdict.clauses if clause.status is Status.FAIL]
    return "; ".join(failed) or None


def _points(figure: Figure, factor: float) -> str:
    value, low, high = (fixed(factor * each, 1) for each in (figure.value, figure.low, figure.high))
    return f"{value} points [{low} to {high}]"


def _figures(result: Result, row: VariantResult) -> Figures:
    """What is known of a variant in the units of promises; a float variant is its own measure."""
    if row.precision.startswith("float"):
        exact = Figures(Measured.exact(0.0), Measured.exact(100.0), Measured.exact(1.0))
        return Figures(exact.drop, exact.agreement, exact.speedup, Measured.exact(row.file_bytes))
    said = _said(result, row)
    drop = next((_measured(row.judged[name], 100.0) for name in _DROPS if name in row.judged), None)
    agreement = next((_measured(row.judged[name], 100.0) for name in _AGREEMENTS if name in row.judged), None)
    doubts = {} if row.golden else {ClauseKind.MAX_DROP: _UNTRIED, ClauseKind.MIN_AGREEMENT: _UNTRIED}
    if said is not None:
        kind = ClauseKind.MIN_AGREEMENT if said.reference_value is None else ClauseKind.MAX_DROP
        if kind is ClauseKind.MAX_DROP:
            drop = _measured(said.drop, 1.0)
        else:
            agreement = _measured(said.board, 100.0)
        doubts.pop(kind, None)
        doubts |= {} if said.doubt is None else {kind: said.doubt}
    ratio = result.speedup(row.candidate)
    speedup = None if ratio is None else Measured(ratio.value, ratio.low, ratio.high, row.frames)
    return Figures(drop, agreement, speedup, Measured.exact(row.file_bytes), doubts)


def _measured(figure: Figure, factor: float) -> Measured:
    return Measured(figure.value * factor, figure.low * factor, figure.high * factor, figure.samples)


def _cautions(result: Result, candidate: str, promises: Contract) -> list[str]:
    told = []
    row = result.variant(candidate)
    if row is not None and row.golden is None:
        told.append(f"its golden answers were not tried there: {row.golden_note}")
    if row is not None and len(row.turns_ms) < MIN_PAIRS:
        told.append(f"only {len(row.turns_ms)} turns were timed, too few to compare; give --runs 240 or more")
    held = result.conditions.throttled
    if held:
        told.append(f"the board held itself back while it was timed: {', '.join(held)}")
    held = () if result.soak is None else soak_figures(result.soak).held_back
    if held:
        told.append(f"the board held itself back in the long run: {', '.join(held)}")
    if row is not None and _said(result, row) is None:
        known = {"accuracy": _ACCURACIES, "agreement with float": _AGREEMENTS}
        figure = next((what for what, names in known.items() if any(name in row.judged for name in names)), None)
        there = "nothing is known of its accuracy" if figure is None else f"its {figure} is the workstation's"
        told.append(
            f"its answers were not judged on this board and {there}; edgewright bench --remote with --images and "
            "--labels judges them"
        )
    if promises.empty:
        told.append("no promise was given, so of those with right answers the fastest was taken")
    return told
