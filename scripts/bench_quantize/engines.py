"""The engines, and how each is run: a child process that gets the same float file and the same calibration pictures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_quantize.environments import PINS, python_of
from bench_quantize.subjects import ROOT
from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.reader import open_bundle
from edgewright.runtime.machine import describe_machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench_quantize.prepare import Prepared
    from edgewright.bundle.manifest import TensorSpec, Variant

__all__ = ["ENGINES", "OURS", "Candidate", "EngineFailure", "Made", "fingerprint", "run_engine"]

OURS: Mapping[str, tuple[str, ...]] = {
    "ours-fast": ("--effort", "fast"),
    "ours-balanced": ("--effort", "balanced"),
    "ours-best": ("--effort", "best"),
    "ours-neural-compressor": ("--engine", "neural-compressor"),
}
_PEERS = {
    "onnxruntime": "onnxruntime",
    "onnxruntime-plain": "onnxruntime",
    "onnxruntime-best": "onnxruntime",
    "nncf": "nncf",
    "nncf-accuracy-control": "nncf",
    "neural-compressor": "neural-compressor",
}
ENGINES = (*OURS, *_PEERS)
_HERE = Path(__file__).resolve().parent
_TIMEOUT_S = 3600.0
_LAST_WORDS = 300
# What our command may end with and still have written its bundle: kept, not kept, too little to tell.
_VERDICTS = (0, 3, 4)


class EngineFailure(Exception):  # noqa: N818 - a failed engine is a row of the table, not an error of the bench
    """An engine made nothing; the text says why."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One quantized file.

    Attributes:
        model: The ONNX file.
        label: Which of the engine's settings.
        inputs: Its input tensors.
        outputs: Its output tensors.
        options: What the runtime must be told, such as disabled optimizers.
    """

    model: bytes
    label: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Made:
    """What an engine came up with.

    Attributes:
        candidates: One, or several to choose from on the selection pictures.
        seconds: Of the whole step: calibration, search, writing; for ours with its own judging as well.
        cpu_seconds: Of the processor, its children's too; a machine that does other work as well does not change them.
        peak_memory_bytes: Of the child.
        versions: Of what it ran.
    """

    candidates: tuple[Candidate, ...]
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int | None
    versions: Mapping[str, str]


def fingerprint(engine: str) -> str:
    """Digest of whatever code and versions determine an engine's result, beside its input."""
    if engine in OURS:
        roots = [ROOT / "optimize", ROOT / "runtime", ROOT / "device_profiles", _HERE / "peers"]
        files = sorted(file for root in roots for file in root.rglob("*.py"))
        told = repr(OURS[engine])
    else:
        files = sorted((_HERE / "peers").glob("peer_*.py"))
        told = repr((PINS[_PEERS[engine]], _vnni()))
    return sha256_hex(b"".join(sha256_hex(file.read_bytes()).encode() for file in files) + told.encode())


def run_engine(engine: str, prepared: Prepared, home: Path) -> Made:
    """Lets an engine quantize a subject.

    Args:
        engine: One of ``ENGINES``.
        prepared: The subject.
        home: Folder for environments.

    Raises:
        EngineFailure: It made nothing.
        EnvironmentFailure: Its environment cannot be made.
    """
    out = prepared.folder / "made" / engine
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if engine in OURS:
        return _run_ours(engine, prepared, out)
    return _run_peer(engine, prepared, out, home)


def _run_ours(engine: str, prepared: Prepared, out: Path) -> Made:
    subject, bundle, answer = prepared.subject, out / "made.edge", out / "answer.json"
    command = [sys.executable, str(_HERE / "peers" / "measured.py"), str(answer), "optimize", subject.model]
    known = _our_flags()
    if OURS[engine][0] not in known:
        msg = f"this version of edgewright optimize has no {OURS[engine][0]}"
        raise EngineFailure(msg)
    command += ["-o", str(bundle), "--calibrate", subject.calibrate, "--agree", subject.report]
    command += ["--select", subject.select, "--keep-float", "--json", "--no-cache", *OURS[engine]]
    for flag, value in (("--weights", subject.weights), ("--spec", subject.spec)):
        command += [flag, str(value)] if value is not None else []
    if subject.labels is not None and subject.images != subject.report:
        command += ["--labels", str(subject.labels), "--images", str(subject.images)]
    _run(command, out, _VERDICTS)
    taken = json.loads(answer.read_text(encoding="utf-8"))
    with open_bundle(bundle) as opened:
        # The first one is what a device runs.
        variant = opened.manifest.variants[0]
        made = _of_variant(variant, opened.read(variant.file))
        versions = dict(opened.manifest.provenance.tools)
    return Made((made,), taken["seconds"], taken["cpu_seconds"], taken["peak_memory_bytes"], versions)


def _our_flags() -> frozenset[str]:
    command = [sys.executable, "-m", "edgewright.cli.main", "optimize", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return frozenset(word.rstrip(",") for word in told.replace("[", " ").split() if word.startswith("--"))


def _of_variant(variant: Variant, model: bytes) -> Candidate:
    return Candidate(model, variant.precision.value, variant.inputs, variant.outputs, variant.engine)


def _run_peer(engine: str, prepared: Prepared, out: Path, home: Path) -> Made:
    peer = _PEERS[engine]
    job = {
        "engine": engine,
        "float": str(prepared.float_file),
        "calibration": str(prepared.calibration),
        "selection": str(prepared.selection),
        "model": prepared.subject.model,
        "weights": None if prepared.subject.weights is None else str(prepared.subject.weights),
        "roots": [str(ROOT / name) for name in ("", "optimize", "runtime", "device_profiles")],
        "out": str(out),
        "vnni": _vnni(),
    }
    (out / "job.json").write_text(json.dumps(job), encoding="utf-8")
    script = _HERE / "peers" / f"peer_{peer.replace('-', '_')}.py"
    _run([str(python_of(peer, home)), str(script), str(out / "job.json")], out, (0,))
    answer = json.loads((out / "answer.json").read_text(encoding="utf-8"))
    source = prepared.source
    candidates = tuple(
        Candidate(Path(row["file"]).read_bytes(), row["label"], source.inputs, source.outputs)
        for row in answer["candidates"]
    )
    if not candidates:
        msg = f"every setting failed: {_last_words(out)}"
        raise EngineFailure(msg)
    return Made(candidates, answer["seconds"], answer["cpu_seconds"], answer["peak_memory_bytes"], answer["versions"])


def _run(command: list[str], out: Path, allowed: tuple[int, ...]) -> None:
    """Runs a child to its end; what it says goes into a file beside its results."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    with (out / "log.txt").open("wb") as log:
        try:
            done = subprocess.run(
                command, stdout=log, stderr=log, timeout=_TIMEOUT_S, check=False, cwd=ROOT, env=environment
            )
        except subprocess.TimeoutExpired as error:
            msg = f"took longer than {_TIMEOUT_S:.0f} s"
            raise EngineFailure(msg) from error
    if done.returncode not in allowed:
        msg = f"ended with status {done.returncode}: {_last_words(out)}"
        raise EngineFailure(msg)


def _last_words(out: Path) -> str:
    text = (out / "log.txt").read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][-_LAST_WORDS:] if lines else "it said nothing"


def _vnni() -> bool:
    machine = describe_machine()
    return machine.architecture == "aarch64" or any("vnni" in flag for flag in machine.instructions)
