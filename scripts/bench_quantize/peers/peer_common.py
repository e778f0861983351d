"""What every peer's child does alike: read the job, time one function, write the answer. NumPy and standard library only.

A job is a JSON file: ``engine``, ``float`` (.onnx), ``calibration`` and ``selection`` (.npz under the input's name),
``model``, ``weights`` and ``roots`` (a PyTorch factory, its weights or null, and where it is imported from), ``out``
(folder), ``vnni`` (whether the processor sums 8-bit products safely). The answer is ``out/answer.json``:
``candidates`` (file and label), ``seconds``, ``cpu_seconds`` (its children's too), ``peak_memory_bytes``, ``versions``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["main", "tensors"]


def tensors(path: str) -> tuple[str, NDArray[np.float32]]:
    """The input's name and (n, ...) tensors of an ``.npz``."""
    with np.load(path, allow_pickle=False) as archive:
        name = archive.files[0]
        return name, archive[name]


def main(engines: Mapping[str, Callable[[dict[str, Any]], list[dict[str, Any]]]], packages: Sequence[str]) -> int:
    """Runs the engine that the job names.

    Args:
        engines: Engine name to a function from the job to candidates.
        packages: Whose versions go into the answer.
    """
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    started = time.perf_counter()
    candidates = engines[job["engine"]](job)
    answer = {
        "candidates": candidates,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": sum(os.times()[:4]),
        "peak_memory_bytes": _peak(),
        "versions": {package: version(package) for package in packages},
    }
    Path(job["out"], "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _peak() -> int | None:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else None
