"""A profile as one flat table: the path of each field and what is known of it.

A path is the keys that lead to a field in TOML, such as ``("cores",)`` or ``("kernels", "onnxruntime-cpu",
"int8_pointwise_gmacs")``. Inheritance is then the union of two such tables, and writing a profile is listing what
differs from another's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgewright.device_profiles.errors import ProfileError
from edgewright.device_profiles.rules import (
    BACKENDS,
    FIELDS,
    FORMAT_FIELDS,
    KERNEL,
    PIPELINES,
    PROVIDER_FIELDS,
    PROVIDER_OPTIONS,
    Rule,
    Scalar,
)
from edgewright.device_profiles.schema import DeviceProfile, IntegerFormat, Known, Provider

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TABLES", "Path", "assemble", "flatten", "rule_of", "spelled"]

Path = tuple[str, ...]

TABLES = ("formats", "providers", "gstreamer", "kernels")
"""Keys of a profile that hold tables of fields."""

_KERNEL_NAME = r"[a-z][a-z0-9_]{0,63}"
_PROVIDER_OF = {
    "onnxruntime-cpu": "CPUExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
}


def spelled(path: Path) -> str:
    """The path as TOML writes it."""
    return ".".join(path)


def rule_of(path: Path) -> Rule | None:
    """The rule of the field at a path; None where a path leads to a table of fields.

    Raises:
        ProfileError: Nothing can be there; the message says what can.
    """
    head, *rest = path
    if head not in TABLES:
        return _named(path, FIELDS, "field", (*FIELDS, *TABLES))
    if not rest:
        return None
    if head == "gstreamer":
        return _named(path, PIPELINES, "kind of camera")
    allowed = tuple(_PROVIDER_OF) if head == "providers" else BACKENDS
    if rest[0] not in allowed:
        raise _unknown(path[:2], "backend", allowed)
    if len(rest) == 1:
        return None
    if head == "formats":
        return _named(path, FORMAT_FIELDS, "field")
    if head == "kernels":
        if not re.fullmatch(_KERNEL_NAME, path[-1]):
            msg = f"{spelled(path)[:80]!r}: the name of a kernel is small letters, digits and _"
            raise ProfileError(msg)
        return KERNEL
    if rest[1] != "options":
        return _named(path, PROVIDER_FIELDS, "field", (*PROVIDER_FIELDS, "options"))
    if rest[2:] and rest[2] not in PROVIDER_OPTIONS:
        raise _unknown(path, "option", tuple(sorted(PROVIDER_OPTIONS)))
    return Scalar() if rest[2:] else None


def flatten(profile: DeviceProfile) -> dict[Path, Known[Any]]:
    """What is known of a board, by path."""
    flat: dict[Path, Known[Any]] = {}
    for name in FIELDS:
        known = getattr(profile, name)
        if known is not None:
            flat[name,] = known
    for backend, form in profile.formats.items():
        flat |= {("formats", backend, name): known for name, known in form.known().items()}
    for backend, provider in profile.providers.items():
        flat |= {("providers", backend, *name.split(".")): known for name, known in provider.known().items()}
    flat |= {("gstreamer", kind): known for kind, known in profile.gstreamer.items()}
    for backend, rows in profile.kernels.items():
        flat |= {("kernels", backend, name): known for name, known in rows.items()}
    return flat


def assemble(name: str, description: str, lineage: tuple[str, ...], flat: Mapping[Path, Known[Any]]) -> DeviceProfile:
    """The profile that says what ``flat`` says.

    Raises:
        ProfileError: Two fields contradict each other.
    """
    providers = {backend: _provider(rows) for backend, rows in _below(flat, "providers").items()}
    profile = DeviceProfile(
        name,
        description,
        lineage,
        **{path[0]: known for path, known in flat.items() if path[0] in FIELDS},
        formats={
            backend: IntegerFormat(**{path[0]: known for path, known in rows.items()})
            for backend, rows in _below(flat, "formats").items()
        },
        providers=providers,
        gstreamer={path[1]: known for path, known in flat.items() if path[0] == "gstreamer"},
        kernels={
            backend: {path[0]: known for path, known in rows.items()}
            for backend, rows in _below(flat, "kernels").items()
        },
    )
    contradiction = _contradiction(profile)
    if contradiction is not None:
        msg = f"device profile {name!r}: {contradiction}"
        raise ProfileError(msg)
    return profile


def _below(flat: Mapping[Path, Known[Any]], head: str) -> dict[str, dict[Path, Known[Any]]]:
    found: dict[str, dict[Path, Known[Any]]] = {}
    for path, known in flat.items():
        if path[0] == head:
            found.setdefault(path[1], {})[path[2:]] = known
    return found


def _provider(rows: Mapping[Path, Known[Any]]) -> Provider:
    return Provider(rows.get(("name",)), {path[1]: known for path, known in rows.items() if path[0] == "options"})


def _contradiction(profile: DeviceProfile) -> str | None:
    pairs = (
        ("threads", "cores", "more threads than cores"),
        ("warn_celsius", "throttle_celsius", "it would warn only after the board has slowed itself down"),
        ("memory_max_mb", "memory_mb", "the service may not have more memory than the board"),
    )
    for small, large, why in pairs:
        less, more = getattr(profile, small), getattr(profile, large)
        if less is not None and more is not None and less.value > more.value:
            return f"{small} is {less.value} and {large} is {more.value}: {why}"
    for backend, provider in profile.providers.items():
        if provider.name is not None and provider.name.value != _PROVIDER_OF[backend]:
            return f"providers.{backend}.name is {provider.name.value!r}; {backend} is {_PROVIDER_OF[backend]}"
    return None


def _named(path: Path, rules: Mapping[str, Rule], what: str, allowed: tuple[str, ...] = ()) -> Rule:
    rule = rules.get(path[-1])
    if rule is None:
        raise _unknown(path, what, allowed or tuple(rules))
    return rule


def _unknown(path: Path, what: str, allowed: tuple[str, ...]) -> ProfileError:
    return ProfileError(f"unknown {what} {spelled(path)[:80]!r}; known are {', '.join(allowed)}")
