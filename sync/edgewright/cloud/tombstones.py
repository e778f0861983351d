"""Reading what a device says it has lost; the payload comes from the network and is checked like everything else."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["read_tombstone"]

_MAX_LINES = 1000
_MAX_SEQ = 2**62


def read_tombstone(payload: bytes) -> list[tuple[int, int, int, int, str]]:
    """The lines of an ``outbox.tombstone`` record.

    Args:
        payload: The record's JSON object.

    Returns:
        Tuples of (first, last, count, class, reason); none when the payload does not follow the format. The record
        itself is stored as an event either way.
    """
    try:
        data = json.loads(payload)
    except (ValueError, RecursionError):
        return []
    if not isinstance(data, dict):
        return []
    level: Any
    level, reason, ranges = data.get("class"), data.get("reason"), data.get("ranges")
    if not _is_number(level) or not isinstance(ranges, list) or len(ranges) > _MAX_LINES:
        return []
    if not isinstance(reason, str) or not reason.isascii() or not reason.isprintable():
        return []  # a lone surrogate, for one, cannot even be stored
    lines = [line for line in ranges if _is_line(line)]
    return [(line[0], line[1], line[2], level, reason[:100]) for line in lines]


def _is_line(line: Any) -> bool:
    if not isinstance(line, list) or len(line) != 3 or not all(_is_number(v) for v in line):
        return False
    first, last, count = line
    return bool(1 <= first <= last <= _MAX_SEQ and 1 <= count <= last - first + 1)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_SEQ
