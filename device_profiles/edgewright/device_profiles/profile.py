"""What a board is, as data: every field says how it is known.

A profile is one TOML file. ``extends`` names another profile whose fields it takes over; each further field is a
table ``{ value = ..., origin = "measured" | "vendor" | "assumed" }``, so that nobody mistakes a guess for a fact.
The integers an engine likes best are tables of their own, ``[formats.BACKEND]``, with the same kind of fields.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields
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

__all__ = ["DeviceProfile", "IntegerDot", "IntegerFormat", "Known", "Origin", "list_profiles", "load_profile"]

T = TypeVar("T")
_MAX_DEPTH = 8
_SUFFIX = ".toml"


class Origin(str, Enum):
    """How a field is known."""

    MEASURED = "measured"
    VENDOR = "vendor"
    ASSUMED = "assumed"


class IntegerDot(str, Enum):
    """What the processor's fastest sum of products of uint8 and int8 does.

    ``SATURATING_PAIRS``: two neighbouring products are added into 16 bits and cut at -32768 and 32767 before they go
    into 32 bits (x86 ``vpmaddubsw``); ``EXACT``: every product goes into 32 bits unharmed (x86 VNNI, ARM).
    """

    EXACT = "exact"
    SATURATING_PAIRS = "saturating-pairs"


@dataclass(frozen=True)
class Known(Generic[T]):
    """A value and how it is known."""

    value: T
    origin: Origin


@dataclass(frozen=True)
class IntegerFormat:
    """The integers that one engine on this board runs best. A field that nobody knows is None.

    Attributes:
        activations: ``uint8`` or ``int8``.
        weights: ``uint8`` or ``int8``.
        weight_bits: 8, or 7 where sums of two products of 8 bits would overflow.
        per_channel: One scale per output channel, instead of one per weight tensor.
    """

    activations: Known[str] | None = None
    weights: Known[str] | None = None
    weight_bits: Known[int] | None = None
    per_channel: Known[bool] | None = None

    def known(self) -> dict[str, Known[Any]]:
        """The fields that are known, by name."""
        return _known_fields(self)


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
        integer_dot: An ``IntegerDot``: whether sums of uint8 times int8 saturate.
        formats: The integers each engine runs best, by the engine's name in ``backends``.
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
    integer_dot: Known[str] | None = None
    formats: Mapping[str, IntegerFormat] = field(default_factory=dict)

    @property
    def saturates(self) -> bool:
        """Whether sums of uint8 times int8 are known to saturate there."""
        return self.integer_dot is not None and self.integer_dot.value == IntegerDot.SATURATING_PAIRS

    def known(self) -> dict[str, Known[Any]]:
        """The fields that carry an origin and are known, by name; those of formats as ``BACKEND.FIELD``."""
        nested = {
            f"{backend}.{name}": value for backend, form in self.formats.items() for name, value in form.known().items()
        }
        return _known_fields(self) | nested


_KINDS: Mapping[str, type] = {
    "architecture": str,
    "instructions": tuple,
    "cores": int,
    "memory_mb": int,
    "backends": tuple,
    "sources": tuple,
    "throttle_celsius": int,
    "integer_dot": str,
}
_FORMAT_KINDS: Mapping[str, type] = {"activations": str, "weights": str, "weight_bits": int, "per_channel": bool}
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "integer_dot": tuple(dot.value for dot in IntegerDot),
    "activations": ("uint8", "int8"),
    "weights": ("uint8", "int8"),
    "weight_bits": (7, 8),
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
    formats: dict[str, dict[str, Any]] = {}
    lineage: list[str] = []
    current: str | None = name
    while current is not None:
        if current in lineage or len(lineage) > _MAX_DEPTH:
            msg = f"profile {name!r} extends itself by way of {' -> '.join([*lineage, current])}"
            raise ProfileError(msg)
        lineage.append(current)
        table = _read(current)
        current = table.pop("extends", None)
        for backend, rows in _format_tables(name, table.pop("formats", {})).items():
            formats[backend] = {**rows, **formats.get(backend, {})}
        merged = {**table, **merged}
    description = merged.pop("description", "")
    known = {key: _known(name, key, value, _KINDS) for key, value in merged.items()}
    chosen = {
        backend: IntegerFormat(**{key: _known(name, key, value, _FORMAT_KINDS) for key, value in rows.items()})
        for backend, rows in formats.items()
    }
    return DeviceProfile(name, description, tuple(lineage[1:]), **known, formats=chosen)


def _known_fields(record: DeviceProfile | IntegerFormat) -> dict[str, Known[Any]]:
    pairs = ((item.name, getattr(record, item.name)) for item in fields(record))
    return {name: value for name, value in pairs if isinstance(value, Known)}


def _format_tables(profile: str, tables: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(tables, dict) or not all(isinstance(rows, dict) for rows in tables.values()):
        msg = f"device profile {profile!r}: formats must be tables, one [formats.BACKEND] for each engine"
        raise ProfileError(msg)
    return tables


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


def _known(profile: str, key: str, table: Any, kinds: Mapping[str, type]) -> Known[Any]:
    kind = kinds.get(key)
    if kind is None:
        msg = f"device profile {profile!r}: unknown field {key!r}; known are {', '.join(sorted(kinds))}"
        raise ProfileError(msg)
    origins = {origin.value for origin in Origin}
    if not isinstance(table, dict) or set(table) != {"value", "origin"} or table["origin"] not in origins:
        msg = f"device profile {profile!r}: {key} must be {{ value = ..., origin = one of {sorted(origins)} }}"
        raise ProfileError(msg)
    value = tuple(table["value"]) if kind is tuple and isinstance(table["value"], list) else table["value"]
    # A bool is an int to isinstance, and no number of cores.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        msg = f"device profile {profile!r}: {key} has value {value!r} of the wrong type"
        raise ProfileError(msg)
    choices = _CHOICES.get(key)
    if choices is not None and value not in choices:
        msg = f"device profile {profile!r}: {key} is {value!r}; it can be {', '.join(str(item) for item in choices)}"
        raise ProfileError(msg)
    return Known(value, Origin(table["origin"]))
