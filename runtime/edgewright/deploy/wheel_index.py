"""``wheelhouse.json``: what a wheelhouse holds, written last and read first, and checked against the files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from edgewright.bundle.digest import is_sha256_hex, sha256_stream
from edgewright.bundle.text import plain
from edgewright.deploy.errors import DeployError
from edgewright.deploy.wheel_target import PYTHONS, Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["INDEX", "Wheel", "Wheelhouse", "open_wheelhouse", "read_index", "write_index"]

INDEX = "wheelhouse.json"
_SCHEMA = 1
_LARGEST_INDEX = 1 << 20
_MOST_WHEELS = 1000
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,200}\.whl")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[a-z,-]+\])?==[A-Za-z0-9._+!]+")
_VERSION = re.compile(r"edgewright(?:\[[a-z,-]+\])?==([A-Za-z0-9._+!]+)")


@dataclass(frozen=True)
class Wheel:
    """One wheel.

    Attributes:
        name: Its file's name.
        bytes: Its size.
        sha256: In hex.
        folder: Where it lies.
    """

    name: str
    bytes: int
    sha256: str
    folder: Path

    @property
    def path(self) -> Path:
        """Its place here."""
        return self.folder / self.name


@dataclass(frozen=True)
class Wheelhouse:
    """Wheels that were checked.

    Attributes:
        folder: Where they lie.
        target: The interpreter they are for.
        extras: Of edgewright.
        requirements: What an environment is told to install from them, nothing else being within reach.
        files: The wheels, by name.
        request: A digest of what was asked for.
    """

    folder: Path
    target: Target
    extras: tuple[str, ...]
    requirements: tuple[str, ...]
    files: tuple[Wheel, ...]
    request: str = ""

    @property
    def python(self) -> str:
        """The version that they are for, such as ``3.11``."""
        return self.target.python

    @property
    def bytes(self) -> int:
        """Their size together."""
        return sum(wheel.bytes for wheel in self.files)

    @property
    def version(self) -> str:
        """Edgewright's version."""
        match = _VERSION.match(self.requirements[0])
        return match[1] if match else ""

    @property
    def id(self) -> str:
        """Edgewright's version and a digest of all wheels: the same wheels have the same."""
        rows = "".join(f"{wheel.sha256}  {wheel.name}\n" for wheel in sorted(self.files, key=lambda each: each.name))
        asked = " ".join(self.requirements) + "\n"
        return f"{self.version}-{hashlib.sha256((asked + rows).encode()).hexdigest()[:12]}"


def write_index(house: Wheelhouse) -> None:
    """Writes ``wheelhouse.json`` into the house's folder.

    Raises:
        OSError: It cannot be written.
    """
    said = {
        "schema": _SCHEMA,
        "id": house.id,
        "python": house.target.python,
        "architecture": house.target.architecture,
        "platforms": house.target.platform_tags,
        "board": house.target.board,
        "extras": house.extras,
        "requirements": house.requirements,
        "request": house.request,
        "bytes": house.bytes,
        "wheels": [{"file": wheel.name, "bytes": wheel.bytes, "sha256": wheel.sha256} for wheel in house.files],
    }
    (house.folder / INDEX).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def open_wheelhouse(folder: Path) -> Wheelhouse:
    """Reads a wheelhouse and checks every wheel against its SHA-256.

    Args:
        folder: What ``edgewright wheelhouse`` made, or a copy of it.

    Raises:
        DeployError: It is none, or a wheel is missing or altered.
    """
    house = read_index(folder)
    for wheel in house.files:
        _check(wheel)
    return house


def read_index(folder: Path) -> Wheelhouse:
    """What ``wheelhouse.json`` says; the wheels themselves are not looked at.

    Raises:
        DeployError: There is none, or it says something it cannot say.
    """
    return _parse(folder, _read(folder / INDEX))


def _regular(path: Path) -> BinaryIO:
    """A file for reading; a pipe or device, on which reading could wait for ever, is refused.

    Raises:
        OSError: It is none, or cannot be opened.
    """
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(opened, "rb")


def _read(path: Path) -> dict[str, Any]:
    try:
        with _regular(path) as stream:
            data = stream.read(_LARGEST_INDEX + 1)
    except FileNotFoundError as error:
        msg = f"{path.parent} is no wheelhouse, it has no {path.name}; make one with: edgewright wheelhouse DIR --profile NAME"
        raise DeployError(msg) from error
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise DeployError(msg) from error
    try:
        said = json.loads(data) if len(data) <= _LARGEST_INDEX else None
    except (ValueError, RecursionError) as error:
        msg = f"{path} cannot be read as JSON ({plain(str(error))[:100]}); make the wheelhouse again"
        raise DeployError(msg) from error
    if not isinstance(said, dict):
        msg = f"{path} is no JSON object of at most 1 MiB; make the wheelhouse again"
        raise DeployError(msg)
    return said


def _parse(folder: Path, said: dict[str, Any]) -> Wheelhouse:
    path = folder / INDEX
    if said.get("schema") != _SCHEMA:
        msg = f"{path} has schema {str(said.get('schema'))[:20]!r}, this edgewright reads {_SCHEMA}; make the wheelhouse again"
        raise DeployError(msg)
    target = Target(
        _one(path, said, "python", lambda text: text in PYTHONS),
        _one(path, said, "architecture", _is_word),
        _several(path, said, "platforms", _is_word),
        _one(path, said, "board", lambda text: len(text) <= 200 and text == plain(text)),
    )
    extras = _several(path, said, "extras", _is_word)
    requirements = _several(path, said, "requirements", lambda text: _REQUIREMENT.fullmatch(text) is not None)
    if not requirements or not _VERSION.match(requirements[0]):
        raise _wrong(path, "requirements")
    rows = said.get("wheels")
    if not isinstance(rows, list) or not 0 < len(rows) <= _MOST_WHEELS:
        raise _wrong(path, "wheels")
    wheels = tuple(_wheel(path, row) for row in rows)
    if len({wheel.name for wheel in wheels}) != len(wheels):
        raise _wrong(path, "wheels")
    return Wheelhouse(folder, target, extras, requirements, wheels, _one(path, said, "request", is_sha256_hex))


def _wheel(path: Path, row: Any) -> Wheel:
    good = (
        isinstance(row, dict)
        and isinstance(row.get("file"), str)
        and _FILE.fullmatch(row["file"])
        and type(row.get("bytes")) is int
        and row["bytes"] > 0
        and isinstance(row.get("sha256"), str)
        and is_sha256_hex(row["sha256"])
    )
    if not good:
        raise _wrong(path, "wheels")
    return Wheel(row["file"], row["bytes"], row["sha256"], path.parent)


def _check(wheel: Wheel) -> None:
    remedy = "make the wheelhouse again with 'edgewright wheelhouse', or copy it again"
    try:
        with _regular(wheel.path) as stream:
            digest, size = sha256_stream(stream, wheel.bytes)
    except FileNotFoundError as error:
        msg = f"{wheel.folder} lacks {wheel.name}, which {INDEX} names; {remedy}"
        raise DeployError(msg) from error
    except OSError as error:
        msg = f"cannot read {wheel.path}: {error.strerror or error}"
        raise DeployError(msg) from error
    if (digest, size) != (wheel.sha256, wheel.bytes):
        msg = f"{wheel.path} was altered or is incomplete: its SHA-256 is not the one in {INDEX}; {remedy}"
        raise DeployError(msg)


def _is_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None


def _one(path: Path, said: dict[str, Any], key: str, good: Callable[[str], bool]) -> str:
    value = said.get(key)
    if not isinstance(value, str) or not good(value):
        raise _wrong(path, key)
    return value


def _several(path: Path, said: dict[str, Any], key: str, good: Callable[[str], bool]) -> tuple[str, ...]:
    value = said.get(key)
    if not isinstance(value, list) or not all(isinstance(item, str) and good(item) for item in value):
        raise _wrong(path, key)
    return tuple(value)


def _wrong(path: Path, key: str) -> DeployError:
    return DeployError(f"{path}: {key} is missing or not what it can be; make the wheelhouse again")
