"""How far a candidate is from what the contract promises, as the selection pictures show it.

They have no labels. Agreement can be measured on them as promised; for ``--max-drop`` something must stand in:

- Of a classifier, the share of answers that changed. An answer that stays is as right as float's was, so on the same
  pictures accuracy cannot fall by more points than answers changed.
- Of a detector, the average precision at IoU 0.5 that is lost when float's own boxes are taken as the truth. The share of
  boxes lost would not do: a box that falls just below the threshold costs next to no precision.

Both are estimates on other pictures than the judge's, and steer the search only; they are never a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.optimize.evaluate.intervals import wilson

if TYPE_CHECKING:
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.contract import Contract
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.selection import Fidelity

__all__ = ["Standing", "agreement_of", "standing_of"]


@dataclass(frozen=True)
class Standing:
    """A candidate against the contract's promises of accuracy, on the selection pictures.

    Attributes:
        short: Points by which the estimates miss the promises, all together; 0 where they keep them.
        sentence: The estimates in words, with their intervals at 95 %.
    """

    short: float
    sentence: str

    @property
    def met(self) -> bool:
        """Whether the estimates keep all promises."""
        return self.short <= 0.0


def standing_of(contract: Contract, bench: Workbench, graph: QuantizedGraph) -> Standing | None:
    """Where a candidate stands.

    Args:
        contract: Its ``min_agreement`` and ``max_drop`` count here.
        bench: Runs the candidate on the selection pictures.
        graph: The candidate.

    Returns:
        None where nothing of the kind is promised, or the pictures cannot tell: float saw nothing in them, or nobody
        knows how the outputs are read.
    """
    if contract.min_agreement is None and contract.max_drop is None:
        return None
    seen = bench.describe(graph)
    share = _share_of(seen)
    if share is None:
        return None
    short, told = 0.0, []
    if contract.min_agreement is not None:
        kept, low, high = share
        short += max(contract.min_agreement - kept, 0.0)
        told.append(
            f"{kept:.2f} % of float's answers kept [{low:.2f} to {high:.2f}], {contract.min_agreement:g} promised"
        )
    if contract.max_drop is not None:
        lost, sentence = _stand_in(bench, graph, seen, share)
        limit = max(contract.max_drop, 0.0)  # a gain that was promised cannot be looked for without labels
        short += max(lost - limit, 0.0)
        told.append(f"{sentence}, at most {limit:g} wanted for --max-drop {contract.max_drop:g}")
    return Standing(short, "; ".join(told))


def agreement_of(seen: Fidelity) -> float | None:
    """Percent of float's answers kept on the selection pictures; None when float saw nothing."""
    share = _share_of(seen)
    return None if share is None else share[0]


def _share_of(seen: Fidelity) -> tuple[float, float, float] | None:
    """Percent kept with its score interval, which takes answers for independent; None when float saw nothing."""
    if seen.float_boxes is not None and seen.kept_boxes is not None:
        kept, total = seen.kept_boxes, seen.float_boxes
    elif seen.same_top is not None:
        kept, total = round(seen.same_top * seen.pictures), seen.pictures
    else:
        return None
    if not total:
        return None
    low, high = wilson(kept, total)
    return 100.0 * kept / total, 100.0 * low, 100.0 * high


def _stand_in(
    bench: Workbench, graph: QuantizedGraph, seen: Fidelity, share: tuple[float, float, float]
) -> tuple[float, str]:
    """Points that may be lost, and how that was reckoned."""
    if seen.same_top is not None:
        changed = [100.0 - percent for percent in share]
        return changed[0], f"{changed[0]:.2f} % of the answers changed [{changed[2]:.2f} to {changed[1]:.2f}]"
    precision = bench.contract_judge.agreement_precision(graph.model, graph.engine)
    lost, low, high = (100.0 * (1.0 - value) for value in (precision.value, precision.high, precision.low))
    return lost, f"{lost:.2f} points of AP lost with float's boxes as truth [{low:.2f} to {high:.2f}]"
