"""Recipe tables to the frozen settings they stand for, each key checked against the field it sets."""

from __future__ import annotations

import sys
import types
from dataclasses import MISSING, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from edgewright.optimize.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["check_keys", "settings_from"]

T = TypeVar("T")


def check_keys(table: Mapping[str, Any], allowed: Collection[str], where: str) -> None:
    """Refuses keys that mean nothing.

    Args:
        table: Keys with dashes, as a recipe has them.
        allowed: All that it may have.
        where: For messages, such as ``step 2 (prune)``.

    Raises:
        SpecError: Naming the key and what there is.
    """
    known = {key.replace("_", "-") for key in allowed}
    unknown = next((key for key in table if key.replace("_", "-") not in known), None)
    if unknown is not None:
        msg = f"the recipe's {where} has the unknown key {unknown!r}; it may have {', '.join(sorted(known))}"
        raise SpecError(msg)


def settings_from(
    kind: type[T], table: Mapping[str, Any], where: str, *, besides: Collection[str] = (), given: Mapping[str, Any] = {}
) -> T:
    """Fills a frozen dataclass of numbers, texts, switches and enums from a table.

    Args:
        kind: The dataclass.
        table: Keys with dashes, as a recipe has them.
        where: For messages, such as ``step 2 (prune)``.
        besides: Further keys that the table may hold, which somebody else reads.
        given: Values of fields that are no plain values, by field name.

    Raises:
        SpecError: A key that it has not, or a value of another type, or one that the dataclass refuses.
    """
    known = {field.name: field for field in fields(kind) if field.name not in given}  # type: ignore[arg-type]
    hints = _hints(kind, known)
    values = dict(given)
    for key, value in table.items():
        if key in besides:
            continue
        name = key.replace("-", "_")
        if name not in known:
            keys = ", ".join(sorted({field.replace("_", "-") for field in known} | set(besides)))
            msg = f"the recipe's {where} has the unknown key {key!r}; it may have {keys}"
            raise SpecError(msg)
        values[name] = _value(value, hints[name], f"the recipe's {where}: {key}")
    missing = [
        name
        for name, field in known.items()
        if name not in values and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        msg = f"the recipe's {where} lacks {missing[0].replace('_', '-')}"
        raise SpecError(msg)
    try:
        return kind(**values)
    except SpecError as error:
        msg = f"the recipe's {where}: {error}"
        raise SpecError(msg) from error


def _hints(kind: type[Any], names: Collection[str]) -> dict[str, Any]:
    """Types of those fields; annotations of others may name what is imported for type checkers only."""
    annotated = types.SimpleNamespace(__annotations__={name: kind.__annotations__[name] for name in names})
    return get_type_hints(annotated, globalns=vars(sys.modules[kind.__module__]))


def _value(value: Any, hint: Any, what: str) -> Any:
    options = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
    for option in options:
        fitted = _fitted(value, option)
        if fitted is not MISSING:
            return fitted
    allowed = [member.value for option in options if _is_enum(option) for member in option]
    if allowed:
        msg = f"{what} cannot be {value!r}; it may be {', '.join(map(str, allowed))}"
        raise SpecError(msg)
    names = " or ".join(getattr(option, "__name__", str(option)) for option in options if option is not type(None))
    msg = f"{what} cannot be {value!r}; it must be {names}"
    raise SpecError(msg)


def _is_enum(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, Enum)


def _fitted(value: Any, option: Any) -> Any:
    """The value as that type has it, ``MISSING`` where it does not fit."""
    if _is_enum(option):
        return next((member for member in option if member.value == value), MISSING)
    if option is bool:
        return value if isinstance(value, bool) else MISSING
    if option in {int, float}:
        wrong = isinstance(value, bool) or not isinstance(value, (int, float) if option is float else int)
        return MISSING if wrong else option(value)
    if option is str:
        return value if isinstance(value, str) else MISSING
    if get_origin(option) is tuple:
        parts = get_args(option)
        inner = parts[0]
        if not isinstance(value, list) or (Ellipsis not in parts and len(value) != len(parts)):
            return MISSING
        fitted = tuple(_fitted(item, inner) for item in value)
        return MISSING if MISSING in fitted else fitted
    return MISSING
