"""The timed side of ``edgewright.runtime.bench``: one variant in a process of its own, told by lines what to do.

Run as ``python -m edgewright.runtime.bench_worker BUNDLE CANDIDATE THREADS FRAMES.npz OPTIONS``, where the candidate is a
variant or ``VARIANT@BACKEND`` and the options are ``EngineOptions`` as JSON. It keeps to as many processors as it has
threads, always the same. It answers on standard output, one JSON object a line: ``{"ready": {"pinned": [...],
"first_result_ms": ..., "engine": ...}}`` once, then ``{"block": ...}`` for every line ``run N`` on standard input,
``{"end": ...}`` when that closes. Whatever an engine prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edgewright.bundle.arrays import read_npz
from edgewright.bundle.errors import EdgewrightError
from edgewright.bundle.reader import open_bundle
from edgewright.runtime.backends.choice import options_from_json
from edgewright.runtime.candidates import read_candidate
from edgewright.runtime.machine import peak_memory_bytes, pin_to_processors
from edgewright.runtime.session import open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edgewright.runtime.session import Session

__all__ = ["main"]

_MS_PER_NS = 1e-6


def main(arguments: Sequence[str]) -> int:
    """Serves one variant until standard input closes.

    Args:
        arguments: Bundle, candidate, threads, frames file, engine options.

    Returns:
        Exit status; 2 when the variant cannot be run, told as ``{"error": ...}``.
    """
    bundle, candidate, threads, frames_file, wishes = arguments
    answers = _own_stdout()
    try:
        arrays = read_npz(Path(frames_file).read_bytes(), frames_file)
        frames = [arrays[name] for name in sorted(arrays)]
        chosen, options = read_candidate(candidate), options_from_json(wishes)
        pinned = pin_to_processors(int(threads))
        started = time.perf_counter_ns()
        with open_bundle(Path(bundle)) as opened:
            session = open_session(opened, chosen.variant, int(threads), backend=chosen.backend, options=options)
        session.infer(frames[0])
        first = (time.perf_counter_ns() - started) * _MS_PER_NS
        _say(answers, {"ready": {"pinned": pinned, "first_result_ms": first, "engine": session.engine}})
        _serve(session, frames, answers)
    except EdgewrightError as error:
        _say(answers, {"error": str(error)})
        return 2
    return 0


def _own_stdout() -> TextIO:
    """Keeps the real standard output for answers and sends everything else to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _serve(session: Session, frames: Sequence[NDArray[np.uint8]], answers: TextIO) -> None:
    position = 0
    for line in sys.stdin:
        count = int(line.split()[1])
        _say(answers, {"block": _block(session, frames, position, count)})
        position += count
    _say(answers, {"end": {"peak_memory_bytes": peak_memory_bytes()}})


def _block(session: Session, frames: Sequence[NDArray[np.uint8]], position: int, count: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"preprocess": [], "inference": [], "decode": [], "total": [], "processor": []}
    for number in range(position, position + count):
        frame = frames[number % len(frames)]
        processor = time.process_time_ns()
        started = time.perf_counter_ns()
        session.infer(frame)
        times["total"].append((time.perf_counter_ns() - started) * _MS_PER_NS)
        times["processor"].append((time.process_time_ns() - processor) * _MS_PER_NS)
        for stage, spent in session.last_timings_ms.items():
            times[stage].append(spent)
    return times


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
