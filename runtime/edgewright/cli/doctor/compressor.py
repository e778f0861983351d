"""What the installed neural-compressor can really do."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from edgewright.cli.doctor.extras import installed_version
from edgewright.cli.doctor.findings import MISSING, OK, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.cli.doctor.look import Look

__all__ = ["begin_compressor", "compressor"]

_OTHER_ABILITIES = (
    ("onnx", "quantization of ONNX files", "nothing to do: edgewright writes INT8 ONNX itself"),
    ("pruning", "pruning", "do not count on it for that"),
    ("distillation", "distillation", "do not count on it for that"),
)


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
