"""What a wheel's file name says: package, version, and the oldest C library that it runs with.

``onnxruntime-1.23.2-cp310-cp310-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl``: the tag of its platform names one
or more C libraries, and any of them will do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["WheelName", "is_wheel_name", "needed_glibc", "read_wheel_name"]

_NAME = re.compile(
    r"(?P<package>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[A-Za-z0-9._+!]+)(?:-\d[^-]*)?-[^-]+-[^-]+-(?P<platforms>[^-]+)\.whl"
)
_GLIBC = re.compile(r"manylinux_2_(\d{1,2})_")
# What the tags were before they named the C library.
_NAMED = {"manylinux1_": 5, "manylinux2010_": 12, "manylinux2014_": 17}
# Builds of ONNX Runtime share one module's folder: of two, the one installed last would win.
_ENGINE = re.compile(r"onnxruntime([._-]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class WheelName:
    """A wheel's file name, taken apart.

    Attributes:
        package: As requirements name it.
        version: Its version.
        platforms: The platforms that it runs on, any of them.
    """

    package: str
    version: str
    platforms: tuple[str, ...]

    @property
    def is_onnxruntime(self) -> bool:
        """Whether it is a build of ONNX Runtime, of which an environment takes one."""
        return _ENGINE.match(self.package) is not None

    @property
    def glibc(self) -> int:
        """The oldest C library that it runs with, as the 36 of 2.36; 0 where it says nothing of one."""
        return min((_glibc_of(tag) for tag in self.platforms), default=0)


def is_wheel_name(file_name: str) -> bool:
    """Whether a file is named as wheels are."""
    return _NAME.fullmatch(file_name) is not None


def read_wheel_name(file_name: str) -> WheelName:
    """Takes a name apart.

    Raises:
        DeployError: It is not named as wheels are.
    """
    match = _NAME.fullmatch(file_name)
    if match is None:
        msg = f"{file_name[:100]!r} is not named as wheels are, such as numpy-2.4.6-cp311-cp311-manylinux_2_28_aarch64.whl"
        raise DeployError(msg)
    return WheelName(match["package"].replace("_", "-"), match["version"], tuple(match["platforms"].split(".")))


def needed_glibc(file_names: Iterable[str]) -> tuple[int, str]:
    """The C library that the pickiest of some wheels needs, as the 36 of 2.36, and that wheel's package; 0 for none."""
    names = [read_wheel_name(name) for name in file_names if is_wheel_name(name)]
    return max(((name.glibc, name.package) for name in names), default=(0, ""))


def _glibc_of(tag: str) -> int:
    match = _GLIBC.match(tag)
    return (
        int(match[1]) if match is not None else next((old for name, old in _NAMED.items() if tag.startswith(name)), 0)
    )
