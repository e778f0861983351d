"""What a ``device.toml`` that stays says otherwise than the command line does; no value of it is ever shown."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.deploy.settings import Settings

__all__ = ["differences", "lost", "read_table"]

_TABLE = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")


def read_table(data: bytes) -> Mapping[str, Any] | None:
    """The file's tables; None when it is no TOML."""
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def differences(settings: Settings, profile: str | None, data: bytes) -> dict[str, str]:
    """The flags whose value is not the file's, and where the file would have to be changed.

    Args:
        settings: What was said.
        profile: The board's, by name or by its place on the board; the unit and the proof go by it, too.
        data: The file.

    Returns:
        Flag to a place in words, such as ``line 5, uri in [source]``.
    """
    tables = read_table(data)
    lines = _lines(data.decode("utf-8", errors="replace"))
    found = {}
    said = settings.said()
    if profile is not None:
        said["--profile"] = ("model", "profile", profile)
    for flag, (table, key, value) in said.items():
        section = {} if tables is None else tables.get(table, {})
        if isinstance(section, dict) and tables is not None and section.get(key) == value:
            continue
        line = lines.get((table, key))
        found[flag] = f"line {line}, {key} in [{table}]" if line is not None else f"no {key} in [{table}] yet"
    return found


def lost(before: bytes, after: bytes) -> list[str]:
    """Keys that the former file sets and the new one does not, such as ``[output] events``."""
    former, new = read_table(before) or {}, read_table(after) or {}
    return [
        f"[{name}] {key}"
        for name, table in former.items()
        if isinstance(table, dict)
        for key in table
        if key not in new.get(name, {})
    ]


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Table and key to the number of the line where its value begins."""
    table = ""
    found: dict[tuple[str, str], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        head, key = _TABLE.match(line), _KEY.match(line)
        if head is not None:
            table = head[1]
        elif key is not None:
            found.setdefault((table, key[1]), number)
    return found
