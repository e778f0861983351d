"""Running one variant for minutes: what heat and the governor make of its speed.

The variant runs in a process of its own, as in a timing; between short turns the board's sensors are read. Ctrl-C ends it
early and keeps what was measured.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.arrays import npz_bytes
from edgewright.bundle.atomic import write_bytes
from edgewright.runtime.backends.choice import NO_WISHES
from edgewright.runtime.bench_process import BenchError, BenchProcess
from edgewright.runtime.results.frames import golden_frames
from edgewright.runtime.results.schema import Point, Soak
from edgewright.runtime.results.watch import MOST_POINTS, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.runtime.backends.choice import EngineOptions

__all__ = ["LONGEST_SOAK_S", "SoakPlan", "check_soak", "soak"]

LONGEST_SOAK_S = 86_400.0
_TURN_S = 0.5
_MOST_FRAMES = 1000


@dataclass(frozen=True)
class SoakPlan:
    """What to run and for how long.

    Attributes:
        candidate: ``VARIANT`` or ``VARIANT@BACKEND``.
        seconds: How long.
        threads: For the engine.
        frame_size: (width, height) to which the golden frames are enlarged, None leaves them as they are.
        options: What the owner of the machine says of its engines.
        timeout_s: Longest wait for one turn.
        root: Below which ``sys`` and ``proc`` lie.
    """

    candidate: str
    seconds: float
    threads: int = 1
    frame_size: tuple[int, int] | None = None
    options: EngineOptions = NO_WISHES
    timeout_s: float = 120.0
    root: Path = Path("/")


def check_soak(seconds: float) -> None:
    """Refuses lengths that mean nothing, before anything is timed.

    Raises:
        BenchError: Naming the length.
    """
    if not 1.0 <= seconds <= LONGEST_SOAK_S:
        msg = f"--soak cannot be {seconds:g} s; give 1 to {LONGEST_SOAK_S:g}, 600 shows what heat does"
        raise BenchError(msg)


def soak(path: Path, plan: SoakPlan, on_point: Callable[[Point], None] | None = None) -> Soak:
    """Runs it.

    Args:
        path: Bundle directory or ``.edge`` file.
        plan: What and for how long.
        on_point: Called with every new point.

    Returns:
        Points over time; fewer, with a note, when it was interrupted or the process died on the way.

    Raises:
        BundleError: The bundle is not right, or carries no frames.
        BenchError: The variant cannot be run.
    """
    check_soak(plan.seconds)
    frames = golden_frames(path, plan.frame_size)
    with tempfile.TemporaryDirectory(prefix="edgewright-soak-") as folder:
        file = Path(folder) / "frames.npz"
        write_bytes(file, npz_bytes({f"{number:06d}": frame for number, frame in enumerate(frames)}))
        with BenchProcess(path, plan.candidate, plan.threads, file, plan.timeout_s, options=plan.options) as process:
            process.wait_ready()
            return _run(process, plan, on_point)


def _run(process: BenchProcess, plan: SoakPlan, on_point: Callable[[Point], None] | None) -> Soak:
    watch = Watch(plan.root, step_s=plan.seconds / (MOST_POINTS // 2))
    count, done, note = 1, 0, ""
    try:
        while watch.seconds < plan.seconds:
            times = process.run(count)["total"]
            done += len(times)
            point = watch.look(times)
            if point is not None and on_point is not None:
                on_point(point)
            mean_s = max(sum(times) / len(times) / 1000, 1e-6)
            count = max(1, min(_MOST_FRAMES, int(_TURN_S / mean_s)))
    except KeyboardInterrupt:
        note = "interrupted"
    except BenchError as error:
        # The long run is there to find this: what was seen until then is the finding.
        note = " ".join(str(error).split())[:400]
        if not done:
            raise
    seconds = watch.seconds
    _, energy = watch.finish()
    return Soak(plan.candidate, plan.seconds, round(seconds, 3), done, watch.points, energy, note)
