"""How many multiplications may remain for a network to be as fast as asked for: tried with real files on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.bundle.manifest import Format
from edgewright.optimize.errors import PassError
from edgewright.optimize.pruning.figures import export_float
from edgewright.optimize.pruning.timing import time_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgewright.optimize.progress import Progress
    from edgewright.optimize.spec import SourceModel

__all__ = ["macs_for_latency"]

_TRIALS = 5
_NEAR = 0.04  # a trial this little faster than asked for is not improved on


def macs_for_latency(
    source: SourceModel, trial: Callable[[float], SourceModel], share: float, threads: int, progress: Progress
) -> tuple[float, str]:
    """Looks for the largest share of the MACs that is fast enough.

    Args:
        source: The network that came.
        trial: Share of the MACs to a network pruned to it.
        share: Of the milliseconds that shall remain.
        threads: For the engine.
        progress: Told of every trial.

    Returns:
        The share of the MACs, and a note of what was measured.

    Raises:
        PassError: Even the smallest network that could be made is too slow; says how fast that is.
        ModelError: A network cannot be exported.
        JudgeError: The engine refuses one.
    """
    original = export_float(source)
    seen = [(1.0, 1.0)]  # (share of the MACs, share of the time)
    floor, ceiling = 0.0, 1.0  # shares of the MACs between which the answer lies
    best: tuple[float, float] | None = None
    refusal = ""
    with progress.stage(f"MACs for {share:.0%} of the latency", _TRIALS) as advance:
        for number in range(1, _TRIALS + 1):
            middle = _between(floor, ceiling, _on_line(seen, share - _NEAR / 2))
            try:
                pruned = trial(middle)
            except PassError as error:
                floor, refusal = middle, str(error)
                advance(number)
                continue
            times = time_pair(original, export_float(pruned), Format.ONNX, threads=threads)
            taken = 1.0 / times.ratio.value
            seen.append((middle, taken))
            progress.note(f"{middle:.1%} of the MACs take {taken:.1%} of the time ({times.after_ms:.3g} ms)")
            if taken <= share:
                best, floor = (middle, taken), middle
                if taken >= share - _NEAR:
                    break
            else:
                ceiling = middle
            advance(number)
    if best is None:
        least = min(seen, key=lambda point: point[1])
        msg = (
            f"{source.spec.name} cannot come down to {share:.0%} of its latency: {least[0]:.1%} of the MACs took "
            f"{least[1]:.1%} of the time, and that is the least that was had in {_TRIALS} trials"
            + (f" ({refusal})" if refusal else "")
        )
        raise PassError(msg)
    note = (
        f"latency: {best[0]:.1%} of the MACs took {best[1]:.1%} of the time in ONNX Runtime on {threads} thread(s) of this "
        f"machine ({share:.1%} asked for), measured before fine-tuning"
    )
    return best[0], note


def _on_line(seen: Sequence[tuple[float, float]], share: float) -> float:
    """Where the line through the two points nearest to a share of the time reaches it; a first guess without two."""
    first, *rest = sorted(seen, key=lambda point: abs(point[1] - share))
    if not rest or abs(rest[0][1] - first[1]) < 1e-6:
        return share
    slope = (rest[0][0] - first[0]) / (rest[0][1] - first[1])
    return first[0] + slope * (share - first[1])


def _between(low: float, high: float, wanted: float) -> float:
    """Well inside an interval, so that each trial shortens it."""
    edge = 0.1 * (high - low)
    return min(max(wanted, low + edge), high - edge)
