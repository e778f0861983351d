"""Runs one graph under the engine's profiler in a process of its own, and prints microseconds by kernel as JSON.

Started by ``edgewright.optimize.sensitivity.latency``; the arguments are the model's file, a JSON object of engine
options, threads, and the number of runs.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.runtime.backends.ort import import_onnxruntime

__all__ = ["main"]

_WARM_UP = 5
_KERNEL = "_kernel_time"
_NUMPY = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(int64)": "int64"}


def main(arguments: list[str]) -> int:
    """Does it; returns the exit status."""
    ort = import_onnxruntime()

    model, engine, threads, runs = arguments
    with tempfile.TemporaryDirectory(prefix="edgewright-profile-") as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(threads)
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "kernels")
        disabled = json.loads(engine).get("disabled_optimizers", [])
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled)
        random = np.random.default_rng(0)
        feeds = {node.name: random.uniform(0, 1, node.shape).astype(_NUMPY[node.type]) for node in session.get_inputs()}
        for _ in range(_WARM_UP + int(runs)):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    json.dump(_medians(events), sys.stdout)
    return 0


def _medians(events: list[dict[str, Any]]) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_KERNEL):
            times.setdefault(name.removesuffix(_KERNEL), []).append(float(event["dur"]))
    return {name: statistics.median(values[_WARM_UP:] or values) for name, values in times.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
