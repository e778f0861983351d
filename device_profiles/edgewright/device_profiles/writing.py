"""Profiles as TOML: what ``edgewright.device_profiles.reading`` reads back as the same profile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgewright.device_profiles.errors import ProfileError
from edgewright.device_profiles.flat import Path, flatten
from edgewright.device_profiles.reading import list_profiles, load_profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.device_profiles.schema import DeviceProfile, Known

__all__ = ["profile_toml"]


def profile_toml(profile: DeviceProfile) -> str:
    """The text of a profile.

    Where it extends a profile that ships with edgewright, only what differs from that one is written, so that a
    correction there reaches it, too.

    Raises:
        ProfileError: It extends a profile and lacks a field of it, which no text can say.
    """
    base = profile.lineage[0] if profile.lineage and profile.lineage[0] in list_profiles() else None
    inherited = {} if base is None else flatten(load_profile(base))
    known = flatten(profile)
    lost = [".".join(path) for path in inherited if path not in known]
    if lost:
        msg = f"device profile {profile.name!r} extends {base!r} and lacks its {lost[0]}: that cannot be written"
        raise ProfileError(msg)
    own = {path: value for path, value in known.items() if inherited.get(path) != value}
    head = [f"name = {_text(profile.name)}"]
    head += [] if base is None else [f"extends = {_text(base)}"]
    head += [f"description = {_text(profile.description)}"] if profile.description else []
    return "\n".join([*head, *_rows(own)]) + "\n"


def _rows(own: Mapping[Path, Known[Any]]) -> list[str]:
    tables: dict[Path, list[str]] = {}
    for path, known in own.items():
        tables.setdefault(path[:-1], []).append(f"{_key(path[-1])} = {_field(known)}")
    lines = tables.pop((), [])
    for path, rows in tables.items():
        lines += ["", f"[{'.'.join(_key(key) for key in path)}]", *rows]
    return lines


def _field(known: Known[Any]) -> str:
    return f'{{ value = {_value(known.value)}, origin = "{known.origin.value}", source = {_text(known.source)} }}'


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_text(item) for item in value)}]"
    return _text(value)


def _number(value: float) -> str:
    # The shortest text that reads back as the same number; TOML takes 1e-05 and 1e+16, but no number that ends in a dot.
    return repr(value)


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _text(key)


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but for halves of surrogate pairs, which the rules of a profile refuse as unprintable.
    return json.dumps(text, ensure_ascii=False)
