"""Lengths of time, as people write and read them."""

from __future__ import annotations

import re

from edgewright.optimize.errors import SpecError

__all__ = ["format_seconds", "parse_duration"]

_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_PART = r"(\d+(?:\.\d+)?)\s*(h|min|m|sec|s)"
_WHOLE = re.compile(rf"\s*(?:(\d+(?:\.\d+)?)|{_PART}(?:\s*{_PART})*)\s*", re.IGNORECASE)
_EACH = re.compile(_PART, re.IGNORECASE)
_MINUTE, _HOUR = 60, 3600


def parse_duration(text: str) -> float:
    """Reads a length of time such as ``90``, ``90s``, ``10min``, ``1.5h`` or ``1h 30m``.

    Args:
        text: What the user wrote; a number alone is seconds, ``m`` is minutes.

    Returns:
        Seconds.

    Raises:
        SpecError: It is no length of time, or units are not in falling order.
    """
    match = _WHOLE.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not a length of time; write it like 90s, 10min or 1h30m"
        raise SpecError(msg)
    if match.group(1) is not None:
        return float(match.group(1))
    parts = [(float(number), _UNITS[unit.lower()]) for number, unit in _EACH.findall(text)]
    units = [unit for _, unit in parts]
    if units != sorted(set(units), reverse=True):
        msg = f"{text!r} is not a length of time: name hours, minutes and seconds once each, in that order"
        raise SpecError(msg)
    return sum(number * unit for number, unit in parts)


def format_seconds(seconds: float) -> str:
    """Time for people: ``0.4 s``, ``35 s``, ``3.5 min``, ``1.2 h``; ``parse_duration`` reads it."""
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    if seconds >= 2 * _MINUTE:
        return f"{seconds / _MINUTE:.1f} min"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
