"""A virtual environment for each peer, made once, with pinned versions."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PINS", "EnvironmentFailure", "python_of"]

# Each inner tuple is one call of pip. torch comes alone and first: a requirement for any torch would bring a CUDA build.
PINS: dict[str, tuple[tuple[str, ...], ...]] = {
    "onnxruntime": (("onnxruntime==1.32.0", "onnx==1.23.2", "numpy==2.4.6", "sympy==1.14.0"),),
    "nncf": (("nncf==3.4.0", "onnx==1.21.0", "onnxruntime==1.32.0", "numpy==2.4.6"),),
    "neural-compressor": (
        ("torch==2.13.0",),
        (
            "neural-compressor==3.10",
            "torchao==0.18.0",
            "onnx==1.23.2",
            "onnxscript==0.7.2",
            "onnxruntime==1.32.0",
            "numpy==2.4.6",
            "opencv-python-headless==5.0.0.93",
            *("prettytable==3.18.0", "psutil==7.2.2", "py-cpuinfo==9.0.0", "pydantic==2.14.3", "pyyaml==6.0.3"),
        ),
    ),
}
_STAMP = "edgewright-pins.json"
_TIMEOUT_S = 1800.0


class EnvironmentFailure(Exception):  # noqa: N818 - a failure of pip, which becomes a row of the table
    """An environment cannot be made; the text says why."""


def python_of(peer: str, folder: Path) -> Path:
    """The interpreter of a peer's environment, which is made when it is not there or its pins changed.

    Args:
        peer: Key of ``PINS``.
        folder: Where environments lie.

    Raises:
        EnvironmentFailure: It cannot be made.
    """
    home = folder / peer
    python = home / "bin" / "python"
    stamp = home / _STAMP
    pins = json.dumps(PINS[peer])
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == pins:
        return python
    _run([sys.executable, "-m", "venv", "--clear", str(home)])
    for requirements in PINS[peer]:
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
    stamp.write_text(pins, encoding="utf-8")
    return python


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"{' '.join(command[:4])}: {error}"
        raise EnvironmentFailure(msg) from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
        msg = f"{' '.join(command[1:4])} failed: {' '.join(lines)[:300]}"
        raise EnvironmentFailure(msg)
