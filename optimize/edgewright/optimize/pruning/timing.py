"""Two files against each other: they take turns in one process, so that what slows the machine slows both."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import JudgeError
from edgewright.runtime.backends.opening import open_backend
from edgewright.runtime.bench_ratio import Ratio, ratio_of
from edgewright.runtime.errors import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.bundle.manifest import Format

__all__ = ["PairTimes", "time_pair"]

_TURN_S = 0.02  # a turn is long enough that the clock and the cold caches do not count
_MOST_RUNS = 50


@dataclass(frozen=True)
class PairTimes:
    """What two files took.

    Attributes:
        before_ms: Median of the first one's turns.
        after_ms: Median of the second one's.
        ratio: First over second, with its 95 % interval.
        engine: What they ran on.
        threads: Given to the engine.
    """

    before_ms: float
    after_ms: float
    ratio: Ratio
    engine: str
    threads: int

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "before_ms": self.before_ms,
            "after_ms": self.after_ms,
            "speedup": self.ratio.value,
            "speedup_low": self.ratio.low,
            "speedup_high": self.ratio.high,
            "engine": self.engine,
            "threads": self.threads,
        }


def time_pair(
    before: bytes, after: bytes, form: Format, *, threads: int = 1, turns: int = 24, seed: int = 1
) -> PairTimes:
    """Times two files of one format on noise, without pre- and postprocessing.

    Args:
        before: The one that should be slower.
        after: The one that should be faster.
        form: Of both.
        threads: For the engine.
        turns: Of each; from 8 on there is an interval.
        seed: Of the noise.

    Raises:
        JudgeError: The engine refuses one of them.
    """
    try:
        backends = [open_backend(form, model, threads=threads) for model in (before, after)]
        rng = np.random.default_rng(seed)
        feeds = [
            {spec.name: rng.standard_normal(spec.shape).astype(spec.dtype) for spec in backend.inputs}
            for backend in backends
        ]
        runs = [_runs_for(backend, feed) for backend, feed in zip(backends, feeds, strict=True)]
        medians: tuple[list[float], list[float]] = ([], [])
        for turn in range(turns):
            for side in (0, 1) if turn % 2 == 0 else (1, 0):
                medians[side].append(statistics.median(_timed(backends[side], feeds[side], runs[side])))
        engine = backends[0].engine
        for backend in backends:
            backend.close()
    except RuntimeFailure as error:
        msg = f"the {form.value} files before and after pruning cannot be timed: {error}"
        raise JudgeError(msg) from error
    ratio = ratio_of("before", "after", {"before": medians[0], "after": medians[1]})
    return PairTimes(statistics.median(medians[0]), statistics.median(medians[1]), ratio, engine, threads)


def _runs_for(backend: Any, feed: Any) -> int:
    _timed(backend, feed, 2)
    once = statistics.median(_timed(backend, feed, 3)) / 1e3
    return int(np.clip(_TURN_S / max(once, 1e-6), 1, _MOST_RUNS))


def _timed(backend: Any, feed: Any, runs: int) -> Sequence[float]:
    spent = []
    for _ in range(runs):
        started = time.perf_counter()
        backend.run(feed)
        spent.append((time.perf_counter() - started) * 1e3)
    return spent
