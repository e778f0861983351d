"""What ``scripts/arm64`` runs on both sides, here and under emulation. Needs the device half only.

    python arm64_child.py facts
    python arm64_child.py answers BUNDLE FRAMES OUT FLOAT_FRAMES
    python arm64_child.py inputs BUNDLE FRAMES OUT
    python arm64_child.py operators FILE
    python arm64_child.py edgewright WORDS...

The last line of its output is ``ANSWER`` and JSON, but for ``edgewright``, which is the command line itself. The last
line of its errors is ``CODE`` and the exit code: the emulator often crashes while a process with two
engines takes its interpreter down, so that is left out.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

AT_HWCAP, ASIMDDP = 16, 1 << 20


def facts() -> dict[str, Any]:
    """The machine, and the device application imported."""
    libc = ctypes.CDLL(None)
    libc.getauxval.restype = ctypes.c_ulong
    libc.getauxval.argtypes = [ctypes.c_ulong]
    began = time.monotonic()
    import ai_edge_litert.interpreter
    import onnxruntime

    import edgewright.device.app

    told = {name: module.__name__ for name, module in (("engine", onnxruntime), ("application", edgewright.device.app))}
    arm = platform.machine() == "aarch64"
    return {
        **told,
        "tflite": ai_edge_litert.interpreter.__name__,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()),
        "dot_product": bool(libc.getauxval(AT_HWCAP) & ASIMDDP) if arm else None,
        "part": (re.findall(r"CPU part\s*: (\w+)", Path("/proc/cpuinfo").read_text(encoding="utf-8")) or [None])[0],
        "seconds": time.monotonic() - began,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def answers(bundle_path: str, frames_file: str, target: str, float_frames: int) -> dict[str, Any]:
    """Raw outputs and what they mean, of every variant."""
    import numpy as np

    from edgewright.bundle.reader import open_bundle
    from edgewright.runtime.session import open_session
    from edgewright.runtime.types import Detections

    frames = [value for _, value in sorted(np.load(frames_file).items())]
    kept: dict[str, Any] = {}
    engines = {}
    with open_bundle(Path(bundle_path)) as bundle:
        for variant in bundle.manifest.variants:
            count = len(frames) if variant.precision.value == "int8" else float_frames
            session = open_session(bundle, variant.name)
            engines[variant.name] = session.engine
            for index, frame in enumerate(frames[:count]):
                for name, value in session.raw(frame).items():
                    kept[f"{variant.name}/{name}/{index:04d}"] = value
                found: Any = session.infer(frame)
                boxes = isinstance(found, Detections)
                # The best class of a classifier stands for a detection of the whole picture.
                kept[f"{variant.name}@boxes/{index:04d}"] = found.boxes if boxes else np.array([[0.0, 0.0, 1.0, 1.0]])
                kept[f"{variant.name}@classes/{index:04d}"] = found.class_ids if boxes else found.class_ids[:1]
            session.close()
    np.savez(target, **kept)
    return {"engines": engines}


def inputs(bundle_path: str, frames_file: str, target: str) -> dict[str, Any]:
    """What the first variant's model is given for whole frames."""
    import numpy as np

    from edgewright.bundle.reader import open_bundle
    from edgewright.runtime.preprocess import Preprocessor

    with open_bundle(Path(bundle_path)) as bundle:
        preprocess = Preprocessor(bundle.manifest.preprocess, bundle.manifest.variants[0].inputs[0])
        with np.load(frames_file) as frames:
            fitted: dict[str, Any] = {name: preprocess(frames[name])[0].copy() for name in sorted(frames.files)}
    np.savez(target, **fitted)
    return {"pictures": len(fitted)}


def operators(path: str) -> dict[str, Any]:
    """Each operator alone, given the very inputs it had on the workstation; differences in steps of its output."""
    import numpy as np
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    rows = []
    with np.load(path) as stored:
        for name in sorted({key.split("|")[0] for key in stored.files}):
            model = stored[f"{name}|model"].tobytes()
            feeds = {key.split("|")[2]: stored[key] for key in stored.files if key.startswith(f"{name}|in|")}
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            (seen,) = session.run(None, feeds)
            gap = np.abs(seen.astype(np.int32) - stored[f"{name}|out"].astype(np.int32))
            rows.append(
                {
                    "kind": name.split(" ")[1],
                    "values": int(gap.size),
                    "differing": int((gap > 0).sum()),
                    "largest": int(gap.max()),
                }
            )
    return {"operators": rows}


def main() -> None:
    """Runs one of them."""
    verb, *words = sys.argv[1:]
    code = 0
    if verb == "edgewright":
        from edgewright.cli.main import main as edgewright

        code = edgewright(words)
    else:
        print("ANSWER " + json.dumps(answer_of(verb, words)))
    sys.stdout.flush()
    print(f"CODE {code}", file=sys.stderr, flush=True)
    os._exit(code)


def answer_of(verb: str, words: list[str]) -> dict[str, Any]:
    """What one of the other verbs answers."""
    if verb == "facts":
        return facts()
    if verb == "answers":
        return answers(words[0], words[1], words[2], int(words[3]))
    if verb == "inputs":
        return inputs(*words)
    return operators(words[0])


if __name__ == "__main__":
    main()
