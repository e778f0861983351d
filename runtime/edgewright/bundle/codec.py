"""Manifest to JSON text and back.

The dataclasses of ``edgewright.bundle.manifest`` are the schema; this module walks them. Rules:

- A field that is missing takes its default; without a default that is an error naming the field.
- A field this version does not know goes to ``extra`` and is written back (python-tuf's ADR 0008 has the same rule).
- A newer major is refused before anything else is looked at.
- Numbers must be finite, enums must be known, and every value must have the declared type.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any

from edgewright.bundle import manifest as schema
from edgewright.bundle.errors import ManifestError, SchemaVersionError
from edgewright.bundle.manifest import SCHEMA_MAJOR, ClassifyDecode, Manifest, SsdDecode
from edgewright.bundle.rules import check_manifest

__all__ = ["manifest_from_json", "manifest_to_json"]

_HEADS: Mapping[str, type[Any]] = {"ssd": SsdDecode, "classify": ClassifyDecode}
_HEAD_NAMES = {cls: name for name, cls in _HEADS.items()}
_HEAD_KEY = "head"


def manifest_to_json(manifest: Manifest) -> str:
    """Canonical JSON text of ``manifest``: sorted keys, two blanks of indent, a newline at the end."""
    return json.dumps(_encode(manifest), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def manifest_from_json(text: str) -> Manifest:
    """Reads and checks a manifest.

    Args:
        text: What ``manifest.json`` holds.

    Returns:
        The manifest; everything that ``check_manifest`` demands holds for it.

    Raises:
        ManifestError: Not JSON, a field is missing or wrong, or the whole contradicts itself.
        SchemaVersionError: Written for a newer major version.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        msg = f"manifest.json is not JSON: {error}"
        raise ManifestError(msg) from error
    if not isinstance(data, dict):
        msg = f"manifest.json must hold an object, found {type(data).__name__}"
        raise ManifestError(msg)
    _check_major(data)
    try:
        manifest = _decode(Manifest, data, "manifest")
    except RecursionError as error:
        msg = "manifest.json is nested too deeply"
        raise ManifestError(msg) from error
    check_manifest(manifest)
    return typing.cast("Manifest", manifest)


def _refuse_constant(name: str) -> float:
    msg = f"{name} is not a number JSON knows"
    raise ValueError(msg)


def _check_major(data: Mapping[str, Any]) -> None:
    major = data.get("schema_major")
    if not isinstance(major, int) or isinstance(major, bool) or major < 1:
        msg = f"manifest.schema_major must be a positive integer, found {major!r}"
        raise ManifestError(msg)
    if major > SCHEMA_MAJOR:
        msg = (
            f"this bundle uses schema {major}.{data.get('schema_minor', '?')}, this edgewright reads {SCHEMA_MAJOR}.x; "
            "a newer edgewright reads it: pip install --upgrade edgewright"
        )
        raise SchemaVersionError(msg)


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out: dict[str, Any] = dict(value.extra)  # type: ignore[attr-defined]
        if type(value) in _HEAD_NAMES:
            out[_HEAD_KEY] = _HEAD_NAMES[type(value)]
        for item in dataclasses.fields(value):
            if item.name != "extra":
                out[item.name] = _encode(getattr(value, item.name))
        return out
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    return value


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if kind == schema.Decode:
        return _decode_head(value, where)
    if origin in (typing.Union, types.UnionType):
        return _decode_optional(kind, value, where)
    if origin is tuple:
        return _decode_tuple(kind, value, where)
    if origin is Mapping:
        return _decode_mapping(kind, value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _decode_enum(kind, value, where)
    return _decode_scalar(kind, value, where)


def _wrong(where: str, wanted: str, value: Any) -> ManifestError:
    return ManifestError(f"{where} must be {wanted}, found {ascii(value)[:80]}")


def _decode_head(value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    head = value.get(_HEAD_KEY)
    if not isinstance(head, str) or head not in _HEADS:
        raise _wrong(f"{where}.{_HEAD_KEY}", f"one of {', '.join(sorted(_HEADS))}", head)
    return _decode_dataclass(_HEADS[head], {k: v for k, v in value.items() if k != _HEAD_KEY}, where)


def _decode_optional(kind: Any, value: Any, where: str) -> Any:
    if value is None:
        return None
    (inner,) = [arg for arg in typing.get_args(kind) if arg is not type(None)]
    return _decode(inner, value, where)


def _decode_tuple(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    inner = typing.get_args(kind)
    if inner[-1] is Ellipsis:
        return tuple(_decode(inner[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(inner):
        raise _wrong(where, f"a list of {len(inner)}", value)
    return tuple(_decode(k, item, f"{where}[{i}]") for i, (k, item) in enumerate(zip(inner, value, strict=True)))


def _decode_mapping(kind: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    _, inner = typing.get_args(kind)
    if inner is Any:
        return dict(value)
    return {key: _decode(inner, item, f"{where}.{key}") for key, item in value.items()}


def _decode_dataclass(kind: type[Any], value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = typing.get_type_hints(kind)
    known: dict[str, Any] = {}
    names = set()
    for item in dataclasses.fields(kind):
        if item.name == "extra":
            continue
        names.add(item.name)
        if item.name in value:
            known[item.name] = _decode(hints[item.name], value[item.name], f"{where}.{item.name}")
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            msg = f"{where}.{item.name} is missing"
            raise ManifestError(msg)
    return kind(**known, extra={key: item for key, item in value.items() if key not in names})


def _decode_enum(kind: type[Enum], value: Any, where: str) -> Enum:
    try:
        return kind(value)
    except ValueError as error:
        raise _wrong(where, f"one of {', '.join(str(m.value) for m in kind)}", value) from error


def _decode_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise _wrong(where, "a finite number", value)
        return number
    if kind is str and isinstance(value, str):
        if not value.isprintable():  # control characters reach terminals, lone surrogates reach nothing
            raise _wrong(where, "a text of printable characters", value)
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _wrong(where, {int: "an integer", float: "a number", str: "a text"}.get(kind, str(kind)), value)
