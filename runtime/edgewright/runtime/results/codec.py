"""Result files: JSON of the dataclasses in ``schema``, checked on reading, for they come from other machines.

- At most ``MOST_BYTES`` are read; lists and texts have bounds, numbers are finite, texts are printable.
- Fields of a later minor kind are passed over; another ``version`` is refused before anything else is looked at.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edgewright.bundle.atomic import write_text
from edgewright.bundle.digest import is_sha256_hex
from edgewright.runtime.results.schema import RESULT_SCHEMA, RESULT_VERSION, Result, ResultError

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.runtime.results.parts import Figure, Point
    from edgewright.runtime.results.schema import VariantResult

__all__ = ["MOST_BYTES", "is_result", "read_result", "result_from_json", "result_to_json", "write_result"]

MOST_BYTES = 4 << 20
_LONGEST_LIST = 5000
_LONGEST_TEXT = 1000
_LARGEST = 1e15
_MOST_VARIANTS = 200
_STAGES = ("preprocess", "inference", "decode", "total")
# Differences, degrees and what a sensor of either sign adds up to; all else counts something.
_SIGNED = frozenset({"value", "low", "high", "celsius", "joules"})


def result_to_json(result: Result) -> str:
    """JSON text of a result: sorted keys, a newline at the end."""
    head = {"schema": {"name": RESULT_SCHEMA, "version": RESULT_VERSION}, "emulated": result.board.emulated}
    return json.dumps({**dataclasses.asdict(result), **head}, indent=1, sort_keys=True, allow_nan=False) + "\n"


def result_from_json(data: bytes, where: str) -> Result:
    """Reads and checks a result.

    Args:
        data: Of a result file.
        where: What to call it in errors.

    Raises:
        ResultError: It is none, was written by a newer edgewright, or contradicts itself.
    """
    try:
        told = json.loads(data)
        schema = told["schema"]
        name, version = schema["name"], schema["version"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        msg = f"{where} is no result file; 'edgewright bench BUNDLE -o RESULT.json' writes one"
        raise ResultError(msg) from error
    if name != RESULT_SCHEMA:
        msg = f"{where} is no result file but {ascii(name)[:60]}; 'edgewright bench BUNDLE -o RESULT.json' writes one"
        raise ResultError(msg)
    if version != RESULT_VERSION:
        msg = f"{where} has schema {ascii(version)[:20]}, this edgewright reads {RESULT_VERSION}; update the older side"
        raise ResultError(msg)
    try:
        result = typing.cast("Result", _decode(Result, told, "result"))
        _check(result)
    except _WrongError as error:
        msg = f"{where} is damaged or made up: {error}; measure again"
        raise ResultError(msg) from error
    return result


def read_result(path: Path) -> tuple[Result, bytes]:
    """A result file.

    Args:
        path: Of at most ``MOST_BYTES``.

    Returns:
        The result, and the bytes that a signature is about.

    Raises:
        ResultError: It cannot be read, or is none.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        msg = f"cannot read the result {path}: {error.strerror or error}"
        raise ResultError(msg) from error
    if len(data) > MOST_BYTES:
        msg = f"{path} is larger than {MOST_BYTES} bytes and no result file"
        raise ResultError(msg)
    return result_from_json(data, str(path)), data


def write_result(path: Path, result: Result) -> None:
    """Writes a result file, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    text = result_to_json(result)
    result_from_json(text.encode(), str(path))  # what cannot be read back must not be left behind
    write_text(path, text)


def is_result(path: Path) -> bool:
    """Whether a path looks like a result file and not like a bundle."""
    return path.suffix == ".json" and not path.is_dir()


class _WrongError(Exception):
    """A value is not what it must be; says where."""


def _wrong(where: str, wanted: str, value: Any) -> _WrongError:
    return _WrongError(f"{where} must be {wanted}, found {_shown(value)}")


def _shown(value: Any) -> str:
    """A value in a message: figures by their names, never a text of Python's own."""
    if dataclasses.is_dataclass(value):
        told = {item.name.replace("_", " "): getattr(value, item.name) for item in dataclasses.fields(value)}
        return ", ".join(f"{name} {item:g}" for name, item in told.items() if isinstance(item, (int, float)))
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
        return ascii(value)[1:-1][:60] or "none"
    return ascii(value)[:60]


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = [part for part in typing.get_args(kind) if part is not type(None)]
        return None if value is None else _decode(inner, value, where)
    if origin is tuple:
        return _decode_tuple(kind, value, where)
    if origin is Mapping:
        return _decode_mapping(kind, value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, where)
    return _decode_scalar(kind, value, where)


def _decode_tuple(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    inner = typing.get_args(kind)
    if not isinstance(value, list) or len(value) > _LONGEST_LIST:
        raise _wrong(where, f"a list of at most {_LONGEST_LIST}", value)
    if inner[-1] is Ellipsis:
        return tuple(_decode(inner[0], item, f"{where}[{number}]") for number, item in enumerate(value))
    if len(value) != len(inner):
        raise _wrong(where, f"a list of {len(inner)}", value)
    return tuple(_decode(part, item, where) for part, item in zip(inner, value, strict=True))


def _decode_mapping(kind: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > _LONGEST_LIST:
        raise _wrong(where, "an object", value)
    _, inner = typing.get_args(kind)
    return {
        _decode_scalar(str, key, f"a name in {where}"): _decode(inner, item, f"{where}.{ascii(key)[1:-1][:40]}")
        for key, item in value.items()
    }


def _decode_dataclass(kind: type[Any], value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = typing.get_type_hints(kind)
    known = {}
    for item in dataclasses.fields(kind):
        if item.name in value:
            place = f"{where}.{item.name}"
            known[item.name] = _decode(hints[item.name], value[item.name], place)
            if item.name not in _SIGNED and _negative(known[item.name]):
                raise _wrong(place, "nothing below zero", value[item.name])
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            msg = f"{where}.{item.name} is missing"
            raise _WrongError(msg)
    return kind(**known)


def _negative(value: Any) -> bool:
    """Whether a number, or one of several, is below zero; what is inside a dataclass was looked at before."""
    if isinstance(value, tuple):
        return any(_negative(item) for item in value)
    if isinstance(value, dict):
        return any(_negative(item) for item in value.values())
    return isinstance(value, (int, float)) and value < 0


def _decode_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable():
        return value
    if kind in (int, float) and isinstance(value, (int, float)) and not isinstance(value, bool):
        whole = kind is float or isinstance(value, int)
        if whole and abs(value) <= _LARGEST and math.isfinite(value):
            return kind(value)
    wanted = {int: "an integer", float: "a finite number", bool: "true or false"}
    raise _wrong(where, wanted.get(kind, f"a text of at most {_LONGEST_TEXT} printable characters"), value)


def _check(result: Result) -> None:
    """What no measurement can have said."""
    try:
        datetime.fromisoformat(result.made)
    except ValueError:
        raise _wrong("result.made", "a time as ISO 8601 has it", result.made) from None
    names = [row.candidate for row in result.variants]
    if len(names) > _MOST_VARIANTS:
        raise _wrong("result.variants", f"at most {_MOST_VARIANTS}", len(names))
    if not names or len(set(names)) != len(names):
        raise _wrong("result.variants", "rows of different candidates", names)
    for row in result.variants:
        _check_variant(row)
        for name, figure in row.judged.items():
            _check_figure(f"variant {_name(row)}: judged {ascii(name)[1:-1][:40]}", figure)
        if not is_sha256_hex(row.sha256):
            raise _wrong(f"variant {_name(row)}", "of a known file, named by SHA-256", row.sha256)
        if row.frames < 1:
            raise _wrong(f"variant {_name(row)}: frames", "one or more", row.frames)
    for digest in (result.bundle.digest, result.bundle.identity):
        if not is_sha256_hex(digest):
            raise _wrong("result.bundle", "named by SHA-256", digest)
    if result.setting.threads < 1:
        raise _wrong("result.setting.threads", "one or more", result.setting.threads)
    if min(result.setting.frame_size) < 1:
        raise _wrong("result.setting.frame_size", "a width and a height", list(result.setting.frame_size))
    if result.fastest is not None and result.fastest.candidate not in names:
        raise _wrong("result.fastest.candidate", "one of those timed", result.fastest.candidate)
    for ratio in result.ratios:
        if ratio.variant not in names or ratio.baseline not in names or not 0 <= ratio.low <= ratio.value <= ratio.high:
            raise _wrong("result.ratios", "between those timed, inside their intervals", ratio)
    for row_of_accuracy in result.accuracy:
        for figure in (row_of_accuracy.board, row_of_accuracy.drop):
            _check_figure("result.accuracy", figure)
    for point in (*result.conditions.during, *(() if result.soak is None else result.soak.points)):
        _check_point(point)


def _check_figure(where: str, figure: Figure) -> None:
    if not figure.low <= figure.value <= figure.high:
        raise _wrong(where, "inside its interval", figure)


def _check_point(point: Point) -> None:
    p50, p95 = point.p50_ms, point.p95_ms
    if (p50 is not None and p50 <= 0) or (p50 is not None and p95 is not None and p95 < p50):
        raise _wrong("a point of time", "of a median above zero and not above its 95th percentile", [p50, p95])


def _check_variant(row: VariantResult) -> None:
    where = f"variant {_name(row)}"
    if set(row.stages) != set(_STAGES):
        raise _wrong(f"{where}: stages", ", ".join(_STAGES), sorted(row.stages))
    for stage, times in row.stages.items():
        if not 0 <= times.p50 <= times.p95 <= times.p99:
            raise _wrong(f"{where}: the time of {stage}", "given by percentiles in order", times)
    if row.stages["total"].p50 <= 0 or not row.turns_ms or min(row.turns_ms) <= 0:
        raise _wrong(where, "timed, each turn above zero", row.stages["total"])


def _name(row: VariantResult) -> str:
    return ascii(row.candidate)[1:-1][:60]
