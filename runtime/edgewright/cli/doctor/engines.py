"""What the engines that run models can really do here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.cli.doctor.extras import TELLING, found_as
from edgewright.cli.doctor.findings import MISSING, OK, WARN, Finding
from edgewright.cli.doctor.packages import SEVEN_BITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.cli.doctor.look import Look

__all__ = ["begin_engines", "litert", "onnxruntime"]

_TFLITE = "pip install 'edgewright[tflite]'"


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
