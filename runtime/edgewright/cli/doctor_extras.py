"""Which extras of edgewright are installed here, and what they lack: read off its own metadata, never written twice.

An extra counts as installed when its telling package is there: a board with psutil has not asked for ``optimize``.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["TELLING", "Extra", "installed_version", "read_extras"]

TELLING: Mapping[str, str] = {
    "onnx": "onnxruntime",
    "tflite": "ai-edge-litert",
    "optimize": "onnx",
    "neural-compressor": "neural-compressor",
    "torch": "torch",
    "tflite-export": "litert-torch",
    "tensorflow": "tensorflow-cpu",
    "cloud": "psycopg",
    "webrtc": "aiortc",
    "search": "optuna",
}
"""Extra to the package that nobody has without wanting it. What only sums up others (``workstation``) is left out."""

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_EXTRA = re.compile(r"extra\s*==\s*[\"']([\w-]+)[\"']")
_PYTHON = re.compile(r"python_version\s*(>=|<=|==|!=|<|>)\s*[\"'](\d+)\.(\d+)[\"']")


@dataclass(frozen=True)
class Extra:
    """One extra on this machine.

    Attributes:
        name: As in ``pip install 'edgewright[NAME]'``; empty for what every install needs.
        wanted: Its telling package is there, or it is the base.
        versions: Of its packages that are there.
        missing: Its packages that are not.
    """

    name: str
    wanted: bool
    versions: Mapping[str, str]
    missing: tuple[str, ...]


def read_extras(requirements: list[str] | None = None) -> tuple[Extra, ...]:
    """The base and every extra that this release declares.

    Args:
        requirements: As ``importlib.metadata.requires`` gives them; None reads edgewright's own.
    """
    lines = requirements if requirements is not None else metadata.requires("edgewright") or []
    found = []
    for name in ("", *TELLING):
        packages = sorted({package for extra, package in _packages(lines) if extra == name})
        if not packages:
            continue
        versions = {package: installed_version(package) for package in packages}
        there = {package: version for package, version in versions.items() if version is not None}
        wanted = not name or installed_version(TELLING[name]) is not None
        found.append(Extra(name, wanted, there, tuple(package for package in packages if package not in there)))
    return tuple(found)


def installed_version(package: str) -> str | None:
    """Its version, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _packages(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Extra and package of every requirement that this Python has."""
    for line in lines:
        requirement, _, marker = line.partition(";")
        name, extra = _NAME.match(requirement), _EXTRA.search(marker)
        if name and _python_fits(marker):
            yield extra.group(1) if extra else "", name.group(1).lower()


def _python_fits(marker: str) -> bool:
    here = sys.version_info[:2]
    for operator, major, minor in _PYTHON.findall(marker):
        that = (int(major), int(minor))
        fits = {
            ">=": here >= that,
            "<=": here <= that,
            "==": here == that,
            "!=": here != that,
            "<": here < that,
            ">": here > that,
        }
        if not fits[operator]:
            return False
    return True
