"""For which interpreter wheels are meant: a board's processor, C library and Python.

pip can be told to choose wheels of another platform, but evaluates environment markers (``python_version < '3.11'``)
with the interpreter it runs on. ``Target`` therefore knows both: the tags, and the marker environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError
from edgewright.device_profiles.wheels import wheel_platforms

if TYPE_CHECKING:
    from edgewright.device_profiles.profile import DeviceProfile

__all__ = ["PYTHONS", "Target", "default_python", "target_of"]

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
"""Versions of Python that the device half supports."""

_ARCHITECTURES = ("aarch64", "x86_64")
# The oldest C library that wheels of today are built for, and what Debian 11 has: no board of ours has an older one.
_OLDEST_GLIBC = 17
_ASSUMED_GLIBC = "2.31"
_GLIBC = re.compile(r"2\.(\d{1,2})")


@dataclass(frozen=True)
class Target:
    """The interpreter that wheels are chosen for.

    Attributes:
        python: Its version, such as ``3.11``.
        architecture: As ``uname -m`` says.
        platform_tags: The platforms whose wheels it takes, the closest first.
        board: Where it was read: a profile's name.
    """

    python: str
    architecture: str
    platform_tags: tuple[str, ...]
    board: str = ""

    @property
    def abi(self) -> str:
        """The tag of its binary interface, such as ``cp311``."""
        return f"cp{self.python.replace('.', '')}"

    @property
    def named(self) -> str:
        """How messages call it."""
        return f"Python {self.python} on {self.architecture}" + (f" ({self.board})" if self.board else "")

    def markers(self) -> dict[str, str]:
        """The environment that requirements' markers are evaluated with."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.architecture,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


def default_python(profile: DeviceProfile) -> tuple[str, str]:
    """The Python to take where none was named, and why, in words.

    Returns:
        The first version of the profile's that edgewright runs on, and a sentence for people.

    Raises:
        DeployError: The profile names none, or none that edgewright runs on.
    """
    named = profile.python.value if profile.python else ()
    fitting = [version for version in named if version in PYTHONS]
    if not named:
        msg = f"profile {profile.name} names no Python; say --python X.Y, see 'python3 --version' on the board"
        raise DeployError(msg)
    if not fitting:
        msg = (
            f"the system of a {profile.name} brings Python {', '.join(named)}, and edgewright runs on {', '.join(PYTHONS)}; "
            f"install one of these on the board beside its own, or write a newer image, and name it here: --python "
            f"{PYTHONS[0]}"
        )
        raise DeployError(msg)
    if len(named) == 1:
        return fitting[0], f"Python {fitting[0]}, the one that profile {profile.name} names"
    why = f"Python {fitting[0]}, the first that profile {profile.name} names of {', '.join(named)}"
    return fitting[0], f"{why}; for another say --python X.Y ('python3 --version' on the board tells)"


def target_of(profile: DeviceProfile, python: str) -> Target:
    """The interpreter of a board.

    Args:
        profile: The board; a C library that it does not name counts as 2.31.
        python: The version that its system brings, one of ``PYTHONS``.

    Raises:
        DeployError: The board is no 64-bit machine, or the version is none that edgewright supports.
    """
    if python not in PYTHONS:
        msg = f"Python {python[:20]!r}: edgewright runs on {', '.join(PYTHONS)}; see 'python3 --version' on the board"
        raise DeployError(msg)
    architecture = profile.architecture.value if profile.architecture else ""
    if architecture not in _ARCHITECTURES:
        msg = (
            f"profile {profile.name}: there are no wheels for a processor of kind {architecture or 'unknown'!r}; "
            f"edgewright runs on 64-bit systems, {' and '.join(_ARCHITECTURES)}"
        )
        raise DeployError(msg)
    # A vendor's own wheels carry the bare tag, which comes last; the index has none of these.
    bare = f"linux_{architecture}"
    named = dict.fromkeys((*_of_glibc(profile, architecture), *_of_profile(profile)))
    return Target(python, architecture, (*(tag for tag in named if tag != bare), bare), profile.name)


def _of_profile(profile: DeviceProfile) -> tuple[str, ...]:
    return profile.wheel_platforms.value if profile.wheel_platforms else ()


def _of_glibc(profile: DeviceProfile, architecture: str) -> tuple[str, ...]:
    """Every tag that a C library takes: those of its own version and of all older ones."""
    if profile.glibc is None and profile.wheel_platforms is not None:
        return ()
    glibc = profile.glibc.value if profile.glibc else _ASSUMED_GLIBC
    match = _GLIBC.fullmatch(glibc)
    if match is None or int(match[1]) < _OLDEST_GLIBC:
        msg = f"profile {profile.name}: glibc {glibc!r} has no wheels; give one from 2.{_OLDEST_GLIBC} on, such as 2.36"
        raise DeployError(msg)
    return wheel_platforms(architecture, glibc)
