"""Which variant a board should run, and why: among those that give right answers and keep the promises, the fastest.

- Wrong golden answers on the board: out.
- A promise that surely fails there (``Status.FAIL``): out. One that cannot be told stays, and is named.
- A drop on the board that is surely larger than the one on the workstation, interval against interval: out, promise or
  not; something on that board computes otherwise.
- Of the rest the fastest by neighbouring turns; within the noise, the first of the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.optimize.contract import Contract, Figures, Measured, Status, judge
from edgewright.runtime.bench_ratio import MIN_PAIRS
from edgewright.runtime.results.fastest import fastest_of

if TYPE_CHECKING:
    from edgewright.runtime.results.schema import BoardAccuracy, Figure, Result, VariantResult

__all__ = ["NO_PROMISES", "Choice", "choose", "shown_quality"]

NO_PROMISES = Contract()
_DROPS = ("ap50_drop", "ap_drop", "top1_accuracy_drop")
_AGREEMENTS = ("boxes_kept", "top1_agreement")


@dataclass(frozen=True)
class Choice:
    """What a board should run.

    Attributes:
        candidate: The variant, None where nothing may be recommended.
        why: In words.
        out: Variants that may not run there, and why.
        cautions: What the reader should know before he follows it.
    """

    candidate: str | None
    why: str
    out: tuple[tuple[str, str], ...] = ()
    cautions: tuple[str, ...] = ()


def choose(result: Result, promises: Contract = NO_PROMISES) -> Choice:
    """Chooses for one board.

    Args:
        result: What was measured there.
        promises: Limits that a variant must keep there; empty for none.
    """
    if result.board.emulated:
        return Choice(None, f"emulated by {result.board.emulated_by}: times of an emulated board choose nothing")
    out, open_, fair = [], [], []
    for row in result.variants:
        reason, doubts = _refused(result, row, promises)
        if reason is not None:
            out.append((row.candidate, reason))
            continue
        fair.append(row)
        open_ += [(row.candidate, doubt) for doubt in doubts]
    found = fastest_of(fair)
    if found is None:
        return Choice(None, "nothing of the bundle may run there", tuple(out))
    cautions = [doubt for name, doubt in open_ if name == found.candidate]
    cautions += _cautions(result, found.candidate, promises)
    return Choice(found.candidate, found.reason, tuple(out), tuple(cautions))


def shown_quality(result: Result, row: VariantResult) -> tuple[str, Figure, bool] | None:
    """The quality a chart shows of a variant: metric, figure, and whether it was measured on the board."""
    said = _said(result, row)
    if said is not None:
        return said.metric, said.board, True
    for metric in ("ap50", "top1_accuracy", "ap", *_AGREEMENTS):
        if metric in row.judged:
            return metric, row.judged[metric], False
    return None


def _said(result: Result, row: VariantResult) -> BoardAccuracy | None:
    return next((said for said in result.accuracy if said.variant == row.candidate), None)


def _refused(result: Result, row: VariantResult, promises: Contract) -> tuple[str | None, list[str]]:
    """Why a variant may not run there, or None and what stays open."""
    if row.golden is False:
        return f"wrong golden answers: {row.golden_note}", []
    said = _said(result, row)
    if said is not None and said.doubt is None:
        judged = row.judged.get(f"{said.metric}_drop")
        if judged is not None and said.drop.low > 100 * judged.high:
            return (
                f"it loses {said.drop.value:.1f} points on this board [{said.drop.low:.1f} to {said.drop.high:.1f}], "
                f"and lost {100 * judged.value:.1f} on the workstation [{100 * judged.low:.1f} to {100 * judged.high:.1f}]"
            ), []
    verdict = judge(promises, _figures(result, row, said))
    failed = [clause.sentence for clause in verdict.clauses if clause.status is Status.FAIL]
    if failed:
        return "; ".join(failed), []
    return None, [clause.sentence for clause in verdict.clauses if clause.status is Status.INCONCLUSIVE]


def _figures(result: Result, row: VariantResult, said: BoardAccuracy | None) -> Figures:
    """What is known of a variant in the units of promises; a float variant is its own measure."""
    if row.precision.startswith("float"):
        exact = Figures(Measured.exact(0.0), Measured.exact(100.0), Measured.exact(1.0))
        return Figures(exact.drop, exact.agreement, exact.speedup, Measured.exact(row.file_bytes))
    drop = next((_measured(row.judged[name], 100.0) for name in _DROPS if name in row.judged), None)
    agreement = next((_measured(row.judged[name], 100.0) for name in _AGREEMENTS if name in row.judged), None)
    if said is not None and said.reference_value is not None:
        drop = _measured(said.drop, 1.0)
    elif said is not None:
        agreement = _measured(said.board, 100.0)
    ratio = result.speedup(row.candidate)
    speedup = None if ratio is None else Measured(ratio.value, ratio.low, ratio.high, row.frames)
    return Figures(drop, agreement, speedup, Measured.exact(row.file_bytes))


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
    if row is not None and _said(result, row) is None:
        told.append(
            "what it is worth on this board was not measured; accuracy is the workstation's (--images, --labels)"
        )
    if promises.empty:
        told.append("no promise was given, so of those with right answers the fastest was taken")
    return told
