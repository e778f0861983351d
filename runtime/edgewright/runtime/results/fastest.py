"""What should run on a board, by what was measured there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.runtime.pick import against_next, winner_of
from edgewright.runtime.results.schema import Fastest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.runtime.results.schema import VariantResult

__all__ = ["fastest_of"]


def fastest_of(rows: Sequence[VariantResult]) -> Fastest | None:
    """The fastest of those that did not give wrong golden answers; within the noise, the first.

    Args:
        rows: In the order of the bundle.

    Returns:
        None when there is none, or their turns cannot be compared.
    """
    fair = [row for row in rows if row.golden is not False]
    if not fair or len({len(row.turns_ms) for row in fair}) != 1:
        return None
    medians = {row.candidate: row.turns_ms for row in fair}
    winner = winner_of(list(medians), medians)
    times = {row.candidate: row.stages["total"].p50 for row in fair}
    return Fastest(winner, against_next(winner, times, medians))
