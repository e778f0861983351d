"""Profiles from TOML: those that ship with edgewright, by name, and any other, by the path of its file.

``extends`` names a shipped profile whose fields are taken over; each further field is a table
``{ value = ..., origin = "measured" | "vendor" | "assumed", source = "..." }``, so that nobody mistakes a guess for a
fact. Everything in a file is checked, for it may come from anywhere, and what is wrong is said with the name of the
profile, the field and what the field can be.
"""

from __future__ import annotations

import re
import stat
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from edgewright.device_profiles.errors import ProfileError
from edgewright.device_profiles.flat import TABLES, Path, assemble, rule_of, spelled
from edgewright.device_profiles.rules import text_problem
from edgewright.device_profiles.schema import DeviceProfile, Known, Origin

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.device_profiles.rules import Rule

__all__ = ["check_name", "list_profiles", "load_profile", "parse_profile"]

_MAX_DEPTH = 8
_SUFFIX = ".toml"
_LARGEST_FILE = 1 << 18
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_KEYS = frozenset({"value", "origin", "source"})


@dataclass(frozen=True)
class _Layer:
    """What one file says."""

    name: str | None
    extends: str | None
    description: str | None
    flat: Mapping[Path, Known[Any]]


def list_profiles() -> tuple[str, ...]:
    """Names of the profiles that ship with edgewright, sorted."""
    files = resources.files("edgewright.device_profiles").joinpath("boards").iterdir()
    return tuple(sorted(f.name.removesuffix(_SUFFIX) for f in files if f.name.endswith(_SUFFIX)))


def load_profile(name_or_path: str) -> DeviceProfile:
    """Loads a profile and all it extends.

    Args:
        name_or_path: One of ``list_profiles()``, or the path of a file, which ends in ``.toml``. The profile in it is
            called what its ``name`` says, else as the file is.

    Raises:
        ProfileError: There is no such profile, or its file is wrong.
    """
    if not name_or_path.endswith(_SUFFIX):
        return _resolved(_shipped(name_or_path), name_or_path)
    path = FilePath(name_or_path)
    layer = _layer(_read_file(path), name_or_path)
    name = layer.name or path.name.removesuffix(_SUFFIX)
    check_name(name)
    return _resolved(layer, name)


def parse_profile(text: str, name: str) -> DeviceProfile:
    """The profile that a text says.

    Args:
        text: TOML.
        name: Of the profile, unless the text names it.

    Raises:
        ProfileError: The text is wrong.
    """
    layer = _layer(text, name)
    check_name(layer.name or name)
    return _resolved(layer, layer.name or name)


def check_name(name: str) -> None:
    """Refuses a name that a profile outside edgewright cannot have.

    Raises:
        ProfileError: It is taken, or it is not of small letters, digits and ``. _ -``.
    """
    if not _NAME.fullmatch(name):
        msg = (
            f"{name[:80]!r} is no name of a device profile; give it one of small letters, digits and . _ - (name = ...)"
        )
        raise ProfileError(msg)
    if name in list_profiles():
        msg = f"the name {name!r} is taken by a profile that ships with edgewright; give yours another (name = ...)"
        raise ProfileError(msg)


def _resolved(layer: _Layer, name: str) -> DeviceProfile:
    flat, lineage, description = dict(layer.flat), [name], layer.description
    while layer.extends is not None:
        if layer.extends in lineage or len(lineage) > _MAX_DEPTH:
            msg = f"device profile {name!r} extends itself by way of {' -> '.join([*lineage, layer.extends])}"
            raise ProfileError(msg)
        try:
            base = _shipped(layer.extends)
        except ProfileError as error:
            msg = f"device profile {lineage[-1]!r} extends another: {error}"
            raise ProfileError(msg) from error
        lineage.append(layer.extends)
        layer = base
        flat = {**layer.flat, **flat}
        description = description or layer.description
    return assemble(name, description or "", tuple(lineage[1:]), flat)


def _shipped(name: str) -> _Layer:
    if name not in list_profiles():
        msg = (
            f"no device profile {name[:80]!r}; there are {', '.join(list_profiles())}, "
            "and a file of your own is named by its path, such as ./board.toml"
        )
        raise ProfileError(msg)
    file = resources.files("edgewright.device_profiles").joinpath("boards", name + _SUFFIX)
    return _layer(file.read_text("utf-8"), name)


def _read_file(path: FilePath) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            msg = f"device profile {str(path)!r} is no file"
            raise ProfileError(msg)
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            msg = f"device profile {str(path)!r} is larger than {_LARGEST_FILE} bytes: that is no profile"
            raise ProfileError(msg)
        return content.decode("utf-8")
    except OSError as error:
        msg = f"device profile {str(path)!r} cannot be read: {error.strerror or error}"
        raise ProfileError(msg) from error
    except ValueError as error:  # not UTF-8, or a NUL in the path
        msg = f"device profile {str(path)!r} cannot be read: {error}"
        raise ProfileError(msg) from error


def _layer(text: str, where: str) -> _Layer:
    try:
        table = tomllib.loads(text)
    # Numbers of thousands of digits are a ValueError; brackets in brackets for pages a RecursionError.
    except (ValueError, RecursionError) as error:
        msg = f"device profile {where!r} is not TOML: {str(error)[:200] or 'nested too deeply'}"
        raise ProfileError(msg) from error
    heads = {key: _head(table.pop(key, None), key, where) for key in ("name", "extends", "description")}
    flat: dict[Path, Known[Any]] = {}
    try:
        for path, rule, leaf in _leaves(table, ()):
            flat[path] = _known(path, rule, leaf)
    except ProfileError as error:
        msg = f"device profile {where!r}: {error}"
        raise ProfileError(msg) from error
    return _Layer(heads["name"], heads["extends"], heads["description"], flat)


def _head(value: Any, key: str, where: str) -> str | None:
    problem = None if value is None else text_problem(value)
    if problem is not None:
        msg = f"device profile {where!r}: {key} must be one line of text; {problem}"
        raise ProfileError(msg)
    return None if value is None else str(value)


def _leaves(table: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Rule, Any]]:
    for key, below in table.items():
        here = (*path, key)
        rule = rule_of(here)
        if rule is not None:
            yield here, rule, below
        elif isinstance(below, dict):
            yield from _leaves(below, here)
        else:
            what = f"[{spelled(here)}...]" if here[0] in TABLES else spelled(here)
            msg = f"{spelled(here)} must be a table of fields, {what}, not {_shown(below)}"
            raise ProfileError(msg)


def _known(path: Path, rule: Rule, leaf: Any) -> Known[Any]:
    field = spelled(path)
    origins = [origin.value for origin in Origin]
    if not isinstance(leaf, dict) or set(leaf) != _KEYS or leaf["origin"] not in origins:
        said = ", ".join(sorted(leaf)) if isinstance(leaf, dict) else _shown(leaf)
        msg = f"{field} must be {{ value = ..., origin = one of {', '.join(origins)}, source = ... }}, and has {said[:80]}"
        raise ProfileError(msg)
    problem = text_problem(leaf["source"])
    if problem is not None:
        msg = f"{field}: source must say in one line where the value is from; {problem}"
        raise ProfileError(msg)
    try:
        value = rule.read(leaf["value"])
    except ValueError as error:
        msg = f"{field} is {_shown(leaf['value'])}; it must be {error}"
        raise ProfileError(msg) from error
    return Known(value, Origin(leaf["origin"]), leaf["source"])


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
