"""Sizes of files, as people write and read them."""

from __future__ import annotations

import re

from edgewright.optimize.errors import SpecError

__all__ = ["format_bytes", "parse_bytes", "size_change"]

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_LARGEST = 2**50
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?I?B?)\s*", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Reads a size such as ``4MB`` (10^6), ``3.5MiB`` (2^20) or ``4000000``.

    Args:
        text: What the user wrote.

    Returns:
        Bytes, rounded down.

    Raises:
        SpecError: It is not a size.
    """
    match = _SIZE.fullmatch(text)
    unit = match.group(2).upper() if match else ""
    if match is None or (unit not in _UNITS and f"{unit}B" not in _UNITS):
        msg = f"{text!r} is not a size; write it like 4MB, 3.5MiB or 4000000"
        raise SpecError(msg)
    count = float(match.group(1)) * _UNITS.get(unit, _UNITS.get(f"{unit}B", 1))
    if not 1 <= count <= _LARGEST:
        msg = f"{text!r} is no size that a file can have; write it like 4MB, 3.5MiB or 4000000"
        raise SpecError(msg)
    return int(count)


def format_bytes(count: int) -> str:
    """Bytes for people: ``3.58 MB`` (10^6)."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


def size_change(ratio: float) -> str:
    """Float bytes over INT8 bytes for people: ``3.53x smaller``, ``3.00x larger``."""
    return f"{ratio:.2f}x smaller" if ratio >= 1 else f"{1 / ratio:.2f}x larger"
