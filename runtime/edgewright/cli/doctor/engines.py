"""What the engines that run models, and the optimizer that a workstation may have, can really do here."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from edgewright.cli.doctor.extras import TELLING, found_as, installed_version
from edgewright.cli.doctor.findings import MISSING, OK, WARN, Finding
from edgewright.cli.doctor.packages import SEVEN_BITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.cli.doctor.look import Look

__all__ = ["begin_compressor", "begin_engines", "compressor", "litert", "onnxruntime"]

_TFLITE = "pip install 'edgewright[tflite]'"
_OTHER_ABILITIES = (
    ("onnx", "quantization of ONNX files", "nothing to do: edgewright writes INT8 ONNX itself"),
    ("pruning", "pruning", "do not count on it for that"),
    ("distillation", "distillation", "do not count on it for that"),
)


def begin_engines(look: Look) -> None:
    """Starts what the checks wait for."""
    if found_as(TELLING["onnx"]) is not None:
        look.children.start("onnxruntime", "onnxruntime")
    look.children.start("litert", "litert")  # several packages bring it, and the probe looks for them


def onnxruntime(look: Look) -> Iterator[Finding]:
    """ONNX Runtime: which providers load, and whether its integer sums are exact."""
    if found_as(TELLING["onnx"]) is None:
        if found_as(TELLING["tflite"]) is None:
            yield Finding("engine", "none", WARN, "no engine is installed", "pip install 'edgewright[onnx]'")
        return
    found = look.ask("onnxruntime")
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
        yield Finding("engine", "integer sums", WARN, seen, SEVEN_BITS)
    else:
        yield Finding("engine", "integer sums", OK, "exact: 255 times 127 does not saturate in the engine")
    yield from _smooth_quant(found["smooth_quant"])


def litert(look: Look) -> Iterator[Finding]:
    """The interpreter that runs .tflite variants: the first of several packages that is installed."""
    group, name = "engine", "LiteRT"
    found = look.ask("litert")
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


def begin_compressor(look: Look) -> None:
    """Starts what the check waits for."""
    if installed_version("neural-compressor") is None:
        return
    look.children.start("neural-compressor", "neural-compressor")
    if find_spec("torch") is not None:
        look.children.start("torch-flow", "torch-flow")


def compressor(look: Look) -> Iterator[Finding]:
    """Its tuner, its torch flow, and what its releases kept or dropped."""
    group = "neural-compressor"
    if installed_version(group) is None:
        return
    found = look.ask(group)
    if "died" in found:
        yield Finding(group, "import", MISSING, f"cannot be probed: {found['died']}", "install it again, or remove it")
        return
    yield Finding(group, "version", OK, found["version"])
    if found["tuner"]:
        seen = f"its framework-neutral tuner cannot be imported: {found['tuner']}"
        yield Finding(group, "tuner", MISSING, seen, "pip install 'edgewright[neural-compressor]'")
    else:
        yield Finding(group, "tuner", OK, "framework-neutral tuner: --engine neural-compressor works")
    yield _torch_flow(look)
    for key, what, remedy in _OTHER_ABILITIES:
        if found[key]:
            yield Finding(group, key, OK, f"this version has {what} ({found[key]})")
        else:
            yield Finding(group, key, WARN, f"this version has no {what}", remedy)


def _torch_flow(look: Look) -> Finding:
    group, name = "neural-compressor", "torch flow"
    if find_spec("torch") is None:
        return Finding(
            group,
            name,
            WARN,
            "needs torch, which is not installed",
            "pip install 'edgewright[neural-compressor,torch]'",
        )
    found = look.ask("torch-flow")
    problem = found.get("died") or found["problem"]
    if problem:
        remedy = "pip install 'edgewright[neural-compressor,torch]'; models from files and the tuner do without it"
        return Finding(group, name, WARN, f"cannot be imported: {problem}", remedy)
    return Finding(group, name, OK, "export, prepare, calibrate, autotune and convert can be imported")
