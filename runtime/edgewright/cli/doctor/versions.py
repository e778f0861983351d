"""Whether a version is in the range that a requirement asks for: the part of PEP 440 that real packages use.

Understood are the operators ``== != <= >= < > ~=`` (with ``.*`` after the first two), epochs, pre-, post- and development
releases, and local parts such as ``+cpu``. What is not, such as ``===`` or a direct URL, is answered with None: not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["fits"]

_VERSION = re.compile(
    r"v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>alpha|beta|preview|pre|rc|a|b|c)[-_.]?(?P<pre_n>\d*))?"
    r"(?P<post>-(?P<post_bare>\d+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_n>\d*))?"
    r"(?P<dev>[-_.]?dev[-_.]?(?P<dev_n>\d*))?"
    r"(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?",
    re.ASCII,
)
_CLAUSE = re.compile(r"\s*(===|==|!=|<=|>=|~=|<|>)\s*([^\s,]+)\s*")
_PRE = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
_FINAL = ("z", 0)  # sorts behind every pre-release
_NEVER, _ALWAYS = -1, 1 << 62
_LONGEST = 200


@dataclass(frozen=True, order=True)
class _Version:
    """Fields in the order in which they count; the local part is left out, for ranges do not look at it."""

    epoch: int
    release: tuple[int, ...]  # without zeros at its end
    pre: tuple[str, int]
    post: int
    dev: int

    @property
    def early(self) -> bool:
        """Whether it is a pre- or a development release."""
        return self.pre[0] in {"a", "b", "rc"} or self.dev != _ALWAYS

    def padded(self, length: int) -> tuple[int, ...]:
        """The release's first numbers, zeros where it has none."""
        return (self.release + (0,) * length)[:length]

    @property
    def base(self) -> tuple[int, tuple[int, ...]]:
        """Without what comes before and after the release."""
        return self.epoch, self.release


def fits(version: str, specifiers: str) -> bool | None:
    """Whether ``version`` is in the range, None when one of the two is not understood.

    A pre-release counts by its place in the order: whoever installed one wanted it.

    Args:
        version: Such as ``2.13.0+cpu``.
        specifiers: Such as ``>=2,<3``; empty fits everything.
    """
    found = _read(version)
    if found is None or len(specifiers) > _LONGEST:
        return None
    answers = [_clause(found, clause) for clause in specifiers.split(",") if clause.strip()]
    if False in answers:
        return False
    return None if None in answers else True


def _read(text: str) -> _Version | None:
    match = _VERSION.fullmatch(text.strip().lower()) if len(text) <= _LONGEST else None
    if match is None:
        return None
    release = tuple(int(part) for part in match["release"].split("."))
    while len(release) > 1 and release[-1] == 0:
        release = release[:-1]
    post = int(match["post_bare"] or match["post_n"] or 0) if match["post"] else _NEVER
    dev = int(match["dev_n"] or 0) if match["dev"] else _ALWAYS
    if match["pre"]:
        pre = (_PRE.get(match["pre"], match["pre"]), int(match["pre_n"] or 0))
    else:  # 1.dev1 comes before 1a1, 1.post1.dev1 after 1
        pre = ("", 0) if match["dev"] and not match["post"] else _FINAL
    return _Version(int(match["epoch"] or 0), release, pre, post, dev)


def _clause(found: _Version, clause: str) -> bool | None:
    match = _CLAUSE.fullmatch(clause)
    if match is None or match[1] == "===" or "+" in match[2]:
        return None
    operator, text = match.groups()
    if text.endswith(".*"):
        prefix = _read(text[:-2])
        if operator not in {"==", "!="} or prefix is None:
            return None
        return _starts(found, prefix, text[:-2]) is (operator == "==")
    wanted = _read(text)
    if wanted is None:
        return None
    if operator == "~=":
        numbers = text.lower().partition("!")[2] or text
        short = re.match(r"v?(\d+(?:\.\d+)*)", numbers)
        parts = [] if short is None else short[1].split(".")
        if len(parts) < 2:
            return None
        prefix = _Version(wanted.epoch, tuple(int(part) for part in parts[:-1]), _FINAL, _NEVER, _ALWAYS)
        return found >= wanted and _starts(found, prefix, ".".join(parts[:-1]))
    return _COMPARE[operator](found, wanted)


def _starts(found: _Version, prefix: _Version, text: str) -> bool:
    length = len(text.partition("!")[2].split(".") if "!" in text else text.split("."))
    return found.epoch == prefix.epoch and found.padded(length) == prefix.padded(length)


def _below(found: _Version, wanted: _Version) -> bool:
    # 3.0rc1 is not what somebody means by "below 3".
    return found < wanted and not (found.early and not wanted.early and found.base == wanted.base)


def _above(found: _Version, wanted: _Version) -> bool:
    return found > wanted and not (found.post != _NEVER and wanted.post == _NEVER and found.base == wanted.base)


_COMPARE: Mapping[str, Callable[[_Version, _Version], bool]] = {
    "==": lambda found, wanted: found == wanted,
    "!=": lambda found, wanted: found != wanted,
    "<=": lambda found, wanted: found <= wanted,
    ">=": lambda found, wanted: found >= wanted,
    "<": _below,
    ">": _above,
}
