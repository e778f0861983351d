"""Recipes: the flags of ``edgewright optimize`` in a TOML file. A flag on the command line wins over the file.

    model = "person.onnx"
    spec = "person.toml"
    output = "person.edge"
    calibrate = "clip.avi#1::8"
    agree = "clip.avi#3::4"
    min-agreement = 93.0
    min-speedup = 1.7
    max-size = "4MB"

Paths are taken as they stand, relative to where the command is run, just as on the command line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import SpecError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["load_recipe", "recipe_text", "recipe_values", "reproduced_by"]


def load_recipe(path: Path, known: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """Reads a recipe.

    Args:
        path: The TOML file.
        known: Key (with underscores) to the type its value must have.

    Returns:
        Values by key, with underscores.

    Raises:
        SpecError: The file cannot be read, is not TOML, or has an unknown key or a value of a wrong type.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"cannot read the recipe {path}: {error.strerror or error}"
        raise SpecError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"the recipe {path} is not TOML: {error}"
        raise SpecError(msg) from error
    values = {}
    for written, value in document.items():
        key = written.replace("-", "_")
        if key not in known:
            keys = ", ".join(name.replace("_", "-") for name in sorted(known))
            msg = f"the recipe {path} has the unknown key {written!r}; it may have {keys}"
            raise SpecError(msg)
        if not isinstance(value, known[key]) or (isinstance(value, bool) and known[key] is not bool):
            msg = f"the recipe {path}: {written} cannot be {value!r}; it is written as the flag --{written.replace('_', '-')}"
            raise SpecError(msg)
        values[key] = value
    return values


def recipe_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run as JSON values, without those that were not given.

    Args:
        given: Values by key; paths become text.

    Returns:
        What goes into the bundle's provenance.
    """
    return {key: str(value) if isinstance(value, Path) else value for key, value in given.items() if value is not None}


def reproduced_by(
    values: Mapping[str, Any], passes: tuple[str, ...] | None, leave_float: frozenset[str], form: str | None = None
) -> dict[str, Any]:
    """The settings that make the same integer model again, without trying anything.

    Args:
        values: The settings of the run, by key.
        passes: What its chain came to, the form that was shipped included; None where no list of passes makes it, and
            the search has to be run again.
        leave_float: Nodes it left in float.
        form: The form that was shipped; None where the float model was, for want of speed.
    """
    chosen = {} if form is None else {"ship": form}
    if passes is None:
        return {**{key: value for key, value in values.items() if key != "time_budget"}, **chosen}
    tried = {"effort", "time_budget", "passes", "leave_float", "engine"}
    kept = {key: value for key, value in values.items() if key not in tried}
    found: dict[str, Any] = {"passes": list(passes)}
    if leave_float:
        found["leave_float"] = sorted(leave_float)
    return {**kept, **found, **chosen}


def recipe_text(values: Mapping[str, Any]) -> str:
    """A recipe as TOML.

    Args:
        values: By key; texts, numbers, switches, tables, and lists of them.
    """
    given = {key.replace("_", "-"): value for key, value in values.items() if value is not None}
    plain = [f"{key} = {_toml(value)}\n" for key, value in given.items() if not _is_table(value)]
    # Whatever follows a table's head belongs to the table, so the tables come last.
    tables = [
        f"\n{head}\n" + "".join(f"{name} = {_toml(item)}\n" for name, item in table.items())
        for key, value in given.items()
        if _is_table(value)
        for head, table in _tables(key, value)
    ]
    return "".join((*plain, *tables))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def _tables(key: str, value: Any) -> list[tuple[str, Mapping[str, Any]]]:
    return [(f"[{key}]", value)] if isinstance(value, dict) else [(f"[[{key}]]", item) for item in value]


def _toml(value: Any) -> str:
    """What JSON writes is TOML as well, but for tables, for DEL, and for what JSON would escape in halves."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + " }" if value else "{}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
