"""`edgewright doctor`: what this machine, these packages and their versions can really do.

A check is a function that gives findings; ``_CHECKS`` is all of them. What might crash or hang when it is imported runs
in a process of its own (``doctor_probes``), all of them at once.
"""

from __future__ import annotations

import contextlib
import json
import platform
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import ExitCode
from edgewright.cli.doctor_extras import TELLING, installed_version, read_extras

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["EPILOG", "Finding", "add_arguments", "diagnose", "run"]

EPILOG = """\
examples:
  edgewright doctor
  edgewright doctor --json

exit code 0: nothing is broken; 5: something is missing that an installed extra needs
"""

OK, WARN, MISSING = "ok", "warn", "missing"
_PATIENCE_S = 60.0
_TFLITE = "pip install 'edgewright[tflite]'"
_VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")
_SEVEN_BITS = "give optimize the profile generic-x86-avx2, or weights of 7 bits, for such machines"
_OTHER_ABILITIES = (
    ("onnx", "quantization of ONNX files", "nothing to do: edgewright writes INT8 ONNX itself"),
    ("pruning", "pruning", "do not count on it for that"),
    ("distillation", "distillation", "do not count on it for that"),
)


@dataclass(frozen=True)
class Finding:
    """One thing that was found out.

    Attributes:
        group: What it is about, such as ``engine``.
        name: Short.
        state: ``ok``, ``warn`` (less than it could be) or ``missing`` (something that is installed cannot work).
        text: What was seen.
        remedy: What to do, empty where there is nothing.
    """

    group: str
    name: str
    state: str
    text: str
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Looks, and prints what was found."""
    findings = diagnose()
    broken = any(finding.state == MISSING for finding in findings)
    if args.json:
        print(json.dumps({"ok": not broken, "findings": [asdict(finding) for finding in findings]}))
    else:
        print("\n".join(_lines(findings)))
    return ExitCode.MISSING_EXTRA if broken else ExitCode.OK


def diagnose() -> tuple[Finding, ...]:
    """Everything there is to find out about this machine; no network, a few seconds."""
    with _probes() as ask:
        return tuple(finding for check in _CHECKS for finding in check(ask))


def _python(_ask: Callable[[str], dict[str, Any]]) -> Iterator[Finding]:
    yield Finding("machine", "python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    if sys.maxsize < 2**32:
        yield Finding("machine", "64 bit", MISSING, "this Python is a 32-bit one", "install a 64-bit system")


def _processor(_ask: Callable[[str], dict[str, Any]]) -> Iterator[Finding]:
    from edgewright.runtime.machine import describe_machine

    machine = describe_machine()
    flags = set(machine.instructions)
    yield Finding("machine", "processor", OK, str(machine))
    vnni = [flag for flag in _VNNI if flag in flags]
    if vnni or "asimddp" in flags:
        yield Finding("machine", "int8", OK, f"8-bit dot products in hardware ({', '.join(vnni) or 'asimddp'})")
    elif "avx2" in flags:
        seen = "AVX2 without VNNI: 8-bit products are added in pairs of 16 bits, which overflow"
        yield Finding("machine", "int8", WARN, seen, _SEVEN_BITS)
    else:
        seen = "no 8-bit dot products are known here: INT8 may not be faster than float"
        yield Finding("machine", "int8", WARN, seen, "measure it: edgewright bench BUNDLE")


def _packages(_ask: Callable[[str], dict[str, Any]]) -> Iterator[Finding]:
    yield Finding("packages", "edgewright", OK, installed_version("edgewright") or "not installed")
    absent = []
    for extra in read_extras():
        if not extra.wanted:
            absent.append(extra.name)
            continue
        versions = ", ".join(f"{package} {version}" for package, version in extra.versions.items())
        name = extra.name or "base"
        if extra.missing:
            target = f"edgewright[{extra.name}]" if extra.name else "edgewright"
            seen = f"lacks {', '.join(extra.missing)}" + (f"; has {versions}" if versions else "")
            yield Finding("packages", name, MISSING, seen, f"pip install '{target}'")
        else:
            yield Finding("packages", name, OK, versions)
    if absent:
        seen = f"extras that are not installed: {', '.join(absent)}"
        yield Finding("packages", "others", OK, seen, f"pip install 'edgewright[{absent[0]}]' when you need it")


def _engine(ask: Callable[[str], dict[str, Any]]) -> Iterator[Finding]:
    if installed_version(TELLING["onnx"]) is None:
        if installed_version(TELLING["tflite"]) is None:
            yield Finding("engine", "none", WARN, "no engine is installed", "pip install 'edgewright[onnx]'")
        return
    found = ask("onnxruntime")
    if "died" in found:
        remedy = "install onnxruntime again, for this processor and system"
        yield Finding("engine", "onnxruntime", MISSING, f"cannot be loaded: {found['died']}", remedy)
        return
    for name, problem in found["providers"].items():
        if problem:
            remedy = "it is not used unless asked for; install its libraries, or leave it"
            yield Finding("engine", name, WARN, f"does not load: {problem}", remedy)
        else:
            yield Finding("engine", name, OK, f"loads (onnxruntime {found['version']})")
    if found["saturates"]:
        seen = "the engine's 8-bit products saturate on this machine"
        yield Finding("engine", "integer sums", WARN, seen, _SEVEN_BITS)
    else:
        yield Finding("engine", "integer sums", OK, "exact: 255 times 127 does not saturate in the engine")
    yield from _smooth_quant(found["smooth_quant"])


def _litert(ask: Callable[[str], dict[str, Any]]) -> Iterator[Finding]:
    """The interpreter that runs .tflite variants: the first of several packages that is installed."""
    group, name = "engine", "LiteRT"
    found = ask("litert")
    packages = found.get("packages", ())
    problem = found.get("died") or found.get("problem")
    if problem:
        taken = packages[0].partition(" ")[0] if packages else "ai-edge-litert"
        remedy = f"install {taken} again, for this processor and system"
        yield Finding(group, name, MISSING, f"cannot be loaded: {problem}", remedy)
        return
    if not packages:
        seen = "no TFLite interpreter is installed, so .tflite variants do not run here"
        yield Finding(group, name, OK, seen, f"{_TFLITE} when you need it")
        return
    engine, _, lacking = found["engine"].partition(", ")
    if "ai-edge-litert" in engine:
        yield Finding(group, name, OK, f"loads ({engine})")
    else:
        yield Finding(group, name, WARN, f"loads ({engine}), whose newer releases are called ai-edge-litert", _TFLITE)
    if lacking:
        yield Finding(group, "XNNPACK", WARN, f"took no operator of a float model ({lacking})", _TFLITE)
    else:
        yield Finding(group, "XNNPACK", OK, "takes the operators of a float model")
    if packages[1:]:
        yield Finding(group, "also there", OK, f"{', '.join(packages[1:])}: not used, {packages[0]} goes first")


def _smooth_quant(found: Mapping[str, str] | None) -> Iterator[Finding]:
    if found is None:
        return
    if found["problem"]:
        seen = f"onnxruntime's own SmoothQuant option is broken: it imports {found['module']} ({found['problem']})"
        yield Finding("engine", "SmoothQuant", WARN, seen, "leave that option out; edgewright migrates scales itself")
    else:
        yield Finding("engine", "SmoothQuant", OK, f"onnxruntime's option finds {found['module']}")


def _neural_compressor(ask: Callable[[str], dict[str, Any]]) -> Iterator[Finding]:
    group = "neural-compressor"
    if installed_version(group) is None:
        return
    found = ask(group)
    if "died" in found:
        yield Finding(group, "import", MISSING, f"cannot be probed: {found['died']}", "install it again, or remove it")
        return
    yield Finding(group, "version", OK, found["version"])
    if found["tuner"]:
        seen = f"its framework-neutral tuner cannot be imported: {found['tuner']}"
        yield Finding(group, "tuner", MISSING, seen, "pip install 'edgewright[neural-compressor]'")
    else:
        yield Finding(group, "tuner", OK, "framework-neutral tuner: --engine neural-compressor works")
    yield _torch_flow(ask)
    for key, what, remedy in _OTHER_ABILITIES:
        if found[key]:
            yield Finding(group, key, OK, f"this version has {what} ({found[key]})")
        else:
            yield Finding(group, key, WARN, f"this version has no {what}", remedy)


def _torch_flow(ask: Callable[[str], dict[str, Any]]) -> Finding:
    group, name = "neural-compressor", "torch flow"
    if find_spec("torch") is None:
        return Finding(
            group,
            name,
            WARN,
            "needs torch, which is not installed",
            "pip install 'edgewright[neural-compressor,torch]'",
        )
    found = ask("torch-flow")
    problem = found.get("died") or found["problem"]
    if problem:
        remedy = "pip install 'edgewright[neural-compressor,torch]'; models from files and the tuner do without it"
        return Finding(group, name, WARN, f"cannot be imported: {problem}", remedy)
    return Finding(group, name, OK, "export, prepare, calibrate, autotune and convert can be imported")


_CHECKS = (_python, _processor, _packages, _engine, _litert, _neural_compressor)


@contextlib.contextmanager
def _probes() -> Iterator[Callable[[str], dict[str, Any]]]:
    """Starts every probe that can find something; gives a function that waits for one and tells what it found."""
    wanted = {
        "onnxruntime": TELLING["onnx"],
        "litert": "edgewright",  # several packages bring it, and the probe looks for them
        "neural-compressor": "neural-compressor",
        "torch-flow": "neural-compressor" if find_spec("torch") else "",
    }
    started = time.monotonic()
    # In an empty folder: a file called torch.py where the user happens to be must not be imported.
    with tempfile.TemporaryDirectory(prefix="edgewright-doctor-") as folder:
        running = {
            name: subprocess.Popen(
                [sys.executable, "-m", "edgewright.cli.doctor_probes", name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=folder,
            )
            for name, package in wanted.items()
            if package and installed_version(package) is not None
        }
        try:
            yield lambda name: _answer(running[name], started + _PATIENCE_S)
        finally:
            for process in running.values():
                process.kill()
                process.communicate()


def _answer(process: subprocess.Popen[str], until: float) -> dict[str, Any]:
    """What the probe printed, or ``died`` with the reason."""
    try:
        output, errors = process.communicate(timeout=max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return {"died": f"no answer within {_PATIENCE_S:.0f} s"}
    if process.returncode < 0:
        return {"died": f"its process was ended by {signal.Signals(-process.returncode).name}"}
    lines = output.strip().splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        said = errors.strip().splitlines()
        return {"died": said[-1][:200] if said else f"its process ended with status {process.returncode}"}
    return found


def _lines(findings: tuple[Finding, ...]) -> Iterator[str]:
    width = max(len(finding.name) for finding in findings)
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            yield group
        yield f"  {finding.state:<8}{finding.name:<{width}}  {finding.text}"
        if finding.remedy:
            yield f"  {'':<8}{'':<{width}}  -> {finding.remedy}"
    broken = sum(finding.state == MISSING for finding in findings)
    yield f"{broken} of {len(findings)} findings need attention" if broken else "nothing is broken"
