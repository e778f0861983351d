"""One thing to deliver: its class, its identity and its payload.

A record's identity is the triple **device / epoch / seq**:

- ``device`` is the name in the topic,
- ``epoch`` is a random UUID made together with the outbox file, so that a lost or corrupt file starts a new count,
- ``seq`` counts from 1 inside the epoch, without gaps and without reuse.

On the wire the triple appears as the CloudEvents pair ``source`` (``edge/<device>/<epoch>``) and ``id`` (the seq).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from edgewright.sync.errors import SyncConfigError

__all__ = [
    "JSON",
    "KIND_RESET",
    "KIND_TOMBSTONE",
    "MAX_DEPTH",
    "Priority",
    "Record",
    "check_device",
    "encode_data",
    "is_epoch",
    "is_kind",
    "too_deep",
]

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None

KIND_RESET = "outbox.reset"
"""The outbox was found corrupt, was put aside and a new epoch began."""

KIND_TOMBSTONE = "outbox.tombstone"
"""Rows that will never arrive: ``data`` has ``class``, ``reason``, ``count`` and ``ranges`` of seq.

Of class CONTROL nothing is ever lost; such a tombstone names seqs that belong to an earlier epoch of the same file.
"""

MAX_DEPTH = 32
"""Objects and lists inside each other in ``data``, itself included: what every JSON parser can read."""

_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_KIND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
_EPOCH = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Priority(IntEnum):
    """Classes of records: a smaller number is sent first and evicted last."""

    CONTROL = 0  # the outbox's own records; never evicted, not for applications
    ALARM = 1
    DETECTION = 2
    METRIC = 3
    BULK = 4


@dataclass(frozen=True)
class Record:
    """One committed row of the outbox.

    Attributes:
        seq: Position in the epoch, from 1.
        kind: What happened, such as ``zone_count``.
        priority: Its class; at the ingest a bare number when a newer device has sent a class unknown here.
        created_at: Wall clock of ``emit()``, seconds since 1970.
        payload: A JSON object in UTF-8.
    """

    seq: int
    kind: str
    priority: Priority
    created_at: float
    payload: bytes


def check_device(name: str) -> str:
    """Returns ``name`` if it may stand in a topic.

    Raises:
        SyncConfigError: It is empty, too long, or holds a slash, a wildcard or another unsafe character.
    """
    if not _DEVICE.fullmatch(name):
        msg = (
            f"device name {name!r} cannot be used: take 1 to 64 letters, digits, '.', '_' or '-', "
            "beginning with a letter or a digit"
        )
        raise SyncConfigError(msg)
    return name


def is_kind(value: object) -> bool:
    """Whether ``value`` is a well-formed kind: 1 to 64 of letters, digits and ``._:-``."""
    return isinstance(value, str) and _KIND.fullmatch(value) is not None


def is_epoch(value: object) -> bool:
    """Whether ``value`` is an epoch: 32 lower-case hexadecimal digits."""
    return isinstance(value, str) and _EPOCH.fullmatch(value) is not None


def encode_data(data: Mapping[str, JSON]) -> bytes:
    """The payload bytes of ``data``: compact JSON, ASCII, no NaN.

    Raises:
        TypeError: A value is not JSON.
        ValueError: A number is not finite, the value contains itself, or it is nested deeper than ``MAX_DEPTH``.
        RecursionError: It is nested so deeply that it cannot even be written.
    """
    plain = dict(data)
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    # Counting brackets is quick, and only text with many of them can be deep.
    if text.count("{") + text.count("[") > MAX_DEPTH and too_deep(json.loads(text)):
        msg = f"it is nested deeper than {MAX_DEPTH}"
        raise ValueError(msg)
    return text.encode("ascii")


def too_deep(value: object) -> bool:
    """Whether parsed JSON has more than ``MAX_DEPTH`` objects and lists inside each other; itself never recursive."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inner.extend(one.values())
            elif isinstance(one, list):
                inner.extend(one)
        if not inner:
            return False
        level = inner
    return any(isinstance(one, (dict, list)) for one in level)
