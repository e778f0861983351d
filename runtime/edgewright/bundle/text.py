"""Text that came from a file, such as the name of a node, made safe to show.

Whoever made a model chose its names. Written raw to a terminal, an escape sequence in one could move the cursor, change
colours, or rewrite lines that stand there already; marks of writing direction could turn words around in a report.
"""

from __future__ import annotations

import unicodedata
from typing import Any

__all__ = ["plain", "plain_values"]

_KEPT = frozenset("\n\t")
# Cc: control characters; Cs: halves of pairs that no encoder takes; Zl, Zp: line breaks that some programs know and
# others do not.
_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = frozenset(map(chr, (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def plain(text: str) -> str:
    r"""``text`` with everything that controls a terminal or the direction of writing as an escape such as ``\x1b``.

    Args:
        text: Of any origin; line breaks and tabulators stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    unsafe = character in _TURNING or unicodedata.category(character) in _UNSAFE
    if character in _KEPT or not unsafe:
        return character
    return character.encode("unicode_escape").decode("ascii")


def plain_values(value: Any) -> Any:
    """The same of every text in JSON values, keys included; tuples become lists.

    Args:
        value: Texts, numbers, lists and tables.
    """
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {plain(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(item) for item in value]
    return value
