"""What should run on a board, by what was measured there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.runtime.bench_ratio import ratio_of
from edgewright.runtime.pick import winner_of
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
    others = [row for row in fair if row.candidate != winner]
    times = {row.candidate: row.stages["total"].p50 for row in fair}
    if not others:
        return Fastest(winner, f"{times[winner]:.3g} ms, and nothing else may run here")
    next_best = min(others, key=lambda row: times[row.candidate]).candidate
    ratio = ratio_of(next_best, winner, medians)
    p50 = f"p50 {times[winner]:.3g} and {times[next_best]:.3g} ms"
    if ratio.resolved:
        told = (
            f"{ratio.value:.2f} times as fast as {next_best} [{ratio.low:.2f} to {ratio.high:.2f}] turn by turn, {p50}"
        )
        return Fastest(winner, told)
    return Fastest(winner, f"a tie with {next_best} within the noise ({p50}), so the bundle's order decides")
