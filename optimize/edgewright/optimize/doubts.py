"""What keeps a figure from telling anything, in words: for the verdict's clauses and for the notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.contract import BLOCK_S, ClauseKind
from edgewright.runtime.bench import FRAMES_PER_BLOCK, MIN_PAIRS

if TYPE_CHECKING:
    from edgewright.optimize.evaluate.quality import Quality
    from edgewright.runtime.bench import BenchReport

__all__ = ["FOREIGN_SPEED", "doubts_of", "quality_notes", "selection_notes", "speed_notes"]

_FEW_SELECTED = 20
FOREIGN_SPEED = (
    "the board it is for has another kind of processor than this machine, so times taken here tell nothing of it; this "
    "stays open until the board is timed: edgewright bench there, of a bundle made with --keep-float, gives the ratio"
)
"""Why a speed-up cannot be judged here."""


def doubts_of(labelled: str | None, *, foreign: bool) -> dict[ClauseKind, str]:
    """Why promises stay open whatever was measured.

    Args:
        labelled: Why the labels tell nothing, None where they do.
        foreign: Whether the board has another kind of processor than the machine that the times were taken on.
    """
    doubts = {} if labelled is None else {ClauseKind.MAX_DROP: labelled}
    return doubts | ({ClauseKind.MIN_SPEEDUP: FOREIGN_SPEED} if foreign else {})


def quality_notes(labelled: Quality | None, agreement: Quality, form: str = "INT8") -> tuple[str, ...]:
    """Figures that tell nothing, said without a contract, too.

    Args:
        labelled: Against labels, None without.
        agreement: Against the float model.
        form: What the form that is held against float is called.
    """
    notes = [] if labelled is None or labelled.doubt is None else [f"labels: {labelled.doubt}"]
    notes += [] if agreement.doubt is None else [agreement.doubt]
    for quality, pictures in ((labelled, "labelled pictures"), (agreement, f"pictures that compare {form} with float")):
        span = None if quality is None or quality.headline is None else quality.headline.span
        if span is not None:
            blocks, least = span
            notes.append(
                f"the film of the {pictures} spans {blocks} blocks of {BLOCK_S:g} s; at least {least} are needed to know "
                f"how much the figures vary, so {least * BLOCK_S:g} s or more"
            )
    return tuple(notes)


def selection_notes(count: int) -> tuple[str, ...]:
    """Says where selection pictures are few.

    Args:
        count: How many there are.
    """
    if count >= _FEW_SELECTED:
        return ()
    return (f"only {count} selection pictures: most passes cannot be told from noise; give 50 or more",)


def speed_notes(bench: BenchReport, *, foreign: bool) -> tuple[str, ...]:
    """What is to be minded of times.

    Args:
        bench: The times.
        foreign: Whether the board has another kind of processor than the machine that they were taken on.
    """
    if foreign:
        return (f"speed: {FOREIGN_SPEED}",)
    notes = []
    for ratio in bench.ratios:
        if ratio.pairs < MIN_PAIRS:
            notes.append(
                f"speed of {ratio.variant} against {ratio.baseline} rests on {ratio.pairs} pairs of timing blocks, too few "
                f"to know the spread; time with --runs {MIN_PAIRS * FRAMES_PER_BLOCK} or more"
            )
        elif not ratio.resolved:
            notes.append(
                f"speed of {ratio.variant} against {ratio.baseline} is not resolved: the ratio {ratio.value:.2f} lies "
                f"within [{ratio.low:.2f}, {ratio.high:.2f}], noise is larger than the effect; time on a quieter machine"
            )
        elif ratio.value < 1:
            notes.append(f"{ratio.variant} is slower than {ratio.baseline} on this machine ({ratio.value:.2f}x)")
    busy = bench.conditions.load_before
    if busy is not None and busy > bench.conditions.machine.cores:
        notes.append(
            f"the machine was busy (load {busy:.1f} on {bench.conditions.machine.cores} cores); times are pessimistic"
        )
    return tuple(notes)
