"""Which extras of edgewright are installed here, what they lack, and what is there in a version nobody asked for.

All of it is read off edgewright's own metadata, never written twice. An extra counts as installed when its telling
package is there: a board with psutil has not asked for ``optimize``. Some packages come under several names; a board
with its maker's onnxruntime-gpu does not lack onnxruntime.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING

from edgewright.cli.doctor.versions import fits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["SUBSTITUTES", "TELLING", "Extra", "found_as", "installed_version", "read_extras"]

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

SUBSTITUTES: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "ai-edge-litert": ("tflite-runtime",),
    "tensorflow-cpu": ("tensorflow",),
}
"""Package to others that bring the same module; their versions are counted in the same way unless they are in ``_OTHER_COUNT``."""

_OTHER_COUNT = frozenset({"tflite-runtime"})
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_OWN_EXTRAS = re.compile(r"^\s*\[[^\]]*\]")
_EXTRA = re.compile(r"extra\s*==\s*[\"']([\w-]+)[\"']")
_PYTHON = re.compile(r"python_version\s*(>=|<=|==|!=|<|>)\s*[\"'](\d+)\.(\d+)[\"']")


@dataclass(frozen=True)
class Extra:
    """One extra on this machine.

    Attributes:
        name: As in ``pip install 'edgewright[NAME]'``; empty for what every install needs.
        wanted: Its telling package is there, or it is the base.
        versions: Of its packages that are there, by the name under which they are.
        missing: Its packages that are not.
        outside: Packages that are there in a version outside of what is asked for, to that range.
        unjudged: Packages whose version cannot be compared with what is asked for, to that range.
    """

    name: str
    wanted: bool
    versions: Mapping[str, str]
    missing: tuple[str, ...]
    outside: Mapping[str, str] = field(default_factory=dict)
    unjudged: Mapping[str, str] = field(default_factory=dict)


def read_extras(requirements: list[str] | None = None) -> tuple[Extra, ...]:
    """The base and every extra that this release declares.

    Args:
        requirements: As ``importlib.metadata.requires`` gives them; None reads edgewright's own.
    """
    lines = requirements if requirements is not None else metadata.requires("edgewright") or []
    asked = list(_packages(lines))
    found = []
    for name in ("", *TELLING):
        ranges: dict[str, list[str]] = {}
        for extra, package, specifiers in asked:
            if extra == name:
                ranges.setdefault(package, []).append(specifiers)
        if ranges:
            found.append(_extra(name, {package: ",".join(filter(None, many)) for package, many in ranges.items()}))
    return tuple(found)


def _extra(name: str, ranges: Mapping[str, str]) -> Extra:
    versions, missing = {}, []
    judged: dict[bool | None, dict[str, str]] = {True: {}, False: {}, None: {}}
    for package in sorted(ranges):
        there = found_as(package)
        if there is None:
            missing.append(package)
            continue
        called, version = there
        versions[called] = version
        if called not in _OTHER_COUNT:
            judged[fits(version, ranges[package])][called] = ranges[package]
    wanted = not name or found_as(TELLING[name]) is not None
    return Extra(name, wanted, versions, tuple(missing), judged[False], judged[None])


def found_as(package: str) -> tuple[str, str] | None:
    """Under which name a package, or what brings the same module, is installed, and its version; None if it is not."""
    for name in (package, *SUBSTITUTES.get(package, ())):
        version = installed_version(name)
        if version is not None:
            return name, version
    return None


def installed_version(package: str) -> str | None:
    """Its version, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _packages(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    """Extra, package and range of every requirement that this Python has."""
    for line in lines:
        requirement, _, marker = line.partition(";")
        name, extra = _NAME.match(requirement), _EXTRA.search(marker)
        if name and _python_fits(marker):
            specifiers = _OWN_EXTRAS.sub("", requirement[name.end() :]).strip().strip("()")
            yield extra.group(1) if extra else "", name.group(1).lower(), specifiers


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
