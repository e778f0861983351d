"""What a board is, as data: every field says how it is known.

A profile is one TOML file. ``extends`` names another profile whose fields it takes over; each further field is a
table ``{ value = ..., origin = "measured" | "vendor" | "assumed" }``, so that nobody mistakes a guess for a fact.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from enum import Enum
from importlib import resources
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edgewright.device_profiles.errors import ProfileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DeviceProfile", "Known", "Origin", "list_profiles", "load_profile"]

T = TypeVar("T")
_MAX_DEPTH = 8
_SUFFIX = ".toml"


class Origin(str, Enum):
    """How a field is known."""

    MEASURED = "measured"
    VENDOR = "vendor"
    ASSUMED = "assumed"


@dataclass(frozen=True)
class Known(Generic[T]):
    """A value and how it is known."""

    value: T
    origin: Origin


@dataclass(frozen=True)
class DeviceProfile:
    """One board. A field that nobody knows is None.

    Attributes:
        name: Name of the profile.
        description: One line.
        lineage: The profiles it extends, nearest first.
        architecture: As ``uname -m`` says.
        instructions: Integer and vector instruction sets that matter, as the kernel names them.
        cores: Processor cores.
        memory_mb: Memory in MiB.
        backends: Engines that run there.
        sources: Kinds of camera sources that work there.
        throttle_celsius: Temperature at which the board slows itself down.
    """

    name: str
    description: str
    lineage: tuple[str, ...] = ()
    architecture: Known[str] | None = None
    instructions: Known[tuple[str, ...]] | None = None
    cores: Known[int] | None = None
    memory_mb: Known[int] | None = None
    backends: Known[tuple[str, ...]] | None = None
    sources: Known[tuple[str, ...]] | None = None
    throttle_celsius: Known[int] | None = None

    def known(self) -> dict[str, Known[Any]]:
        """The fields that carry an origin and are known, by name."""
        pairs = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: value for name, value in pairs if isinstance(value, Known)}


_KINDS: Mapping[str, type] = {
    "architecture": str,
    "instructions": tuple,
    "cores": int,
    "memory_mb": int,
    "backends": tuple,
    "sources": tuple,
    "throttle_celsius": int,
}


def list_profiles() -> tuple[str, ...]:
    """Names of the profiles that ship with edgewright, sorted."""
    files = resources.files("edgewright.device_profiles").joinpath("boards").iterdir()
    return tuple(sorted(f.name.removesuffix(_SUFFIX) for f in files if f.name.endswith(_SUFFIX)))


def load_profile(name: str) -> DeviceProfile:
    """Loads a profile and all it extends.

    Args:
        name: One of ``list_profiles()``.

    Raises:
        ProfileError: There is none of that name, or its file is wrong.
    """
    merged: dict[str, Any] = {}
    lineage: list[str] = []
    current: str | None = name
    while current is not None:
        if current in lineage or len(lineage) > _MAX_DEPTH:
            msg = f"profile {name!r} extends itself by way of {' -> '.join([*lineage, current])}"
            raise ProfileError(msg)
        lineage.append(current)
        table = _read(current)
        current = table.pop("extends", None)
        merged = {**table, **merged}
    description = merged.pop("description", "")
    known = {key: _known(name, key, value) for key, value in merged.items()}
    return DeviceProfile(name, description, tuple(lineage[1:]), **known)


def _read(name: str) -> dict[str, Any]:
    if name not in list_profiles():
        msg = f"no device profile {name!r}; there are {', '.join(list_profiles())}"
        raise ProfileError(msg)
    text = resources.files("edgewright.device_profiles").joinpath("boards", name + _SUFFIX).read_text("utf-8")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"device profile {name!r} is not TOML: {error}"
        raise ProfileError(msg) from error


def _known(profile: str, key: str, table: Any) -> Known[Any]:
    kind = _KINDS.get(key)
    if kind is None:
        msg = f"device profile {profile!r}: unknown field {key!r}; known are {', '.join(sorted(_KINDS))}"
        raise ProfileError(msg)
    origins = {origin.value for origin in Origin}
    if not isinstance(table, dict) or set(table) != {"value", "origin"} or table["origin"] not in origins:
        msg = f"device profile {profile!r}: {key} must be {{ value = ..., origin = one of {sorted(origins)} }}"
        raise ProfileError(msg)
    value = tuple(table["value"]) if kind is tuple and isinstance(table["value"], list) else table["value"]
    if not isinstance(value, kind):
        msg = f"device profile {profile!r}: {key} has value {value!r} of the wrong type"
        raise ProfileError(msg)
    return Known(value, Origin(table["origin"]))
