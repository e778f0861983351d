"""One command line for the shell at the other end of an SSH connection: words that arrive as they are, and end in time.

A command goes on there when the link breaks, or when nobody waits for it any more. So each is run under the board's own
``timeout`` where it has one, with a little more time than the workstation waits.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ABOUT", "AS_SUDO", "About", "bounded", "read_about", "remote_line"]

AS_SUDO = ("sh", "-c", 'PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH; exec "$@"', "sh")
"""Stands before what the superuser runs without sudo, so that it finds the administrators' programs as with it."""

_GRACE_S = 10.0
# By what it answers to: coreutils and newer busybox, busybox before 1.31, and before 1.30.
_TIMEOUTS = {"kill": ("timeout", "-k", "5"), "plain": ("timeout",), "option": ("timeout", "-t")}

ABOUT = """\
id -u
if timeout -k 5 5 true > /dev/null 2>&1; then echo kill
elif timeout 5 true > /dev/null 2>&1; then echo plain
elif timeout -t 5 true > /dev/null 2>&1; then echo option
fi
"""
"""Shell: who runs the commands there, and how its ``timeout`` is spoken to."""


@dataclass(frozen=True)
class About:
    """What decides how commands are worded.

    Attributes:
        superuser: Whether they run as the superuser anyway.
        timeout: Words before a number of seconds and a command; empty where there is no such program.
    """

    superuser: bool = False
    timeout: tuple[str, ...] = ()


def read_about(text: str) -> About:
    """Reads what ``ABOUT`` wrote."""
    words = text.split()[:4]
    timeout = next((_TIMEOUTS[word] for word in words[1:] if word in _TIMEOUTS), ())
    return About(words[:1] == ["0"], timeout)


def bounded(argv: Sequence[str], about: About, seconds: float | None) -> list[str]:
    """The command under the board's ``timeout``.

    Args:
        argv: The program and its arguments.
        about: The board.
        seconds: How long it is waited for here; None for a command that ends with its input.
    """
    if seconds is None or not about.timeout:
        return list(argv)
    return [*about.timeout, str(math.ceil(seconds + _GRACE_S)), *argv]


def remote_line(argv: Sequence[str], about: About, *, root: bool, seconds: float | None) -> str:
    """What the shell there reads: one word for each of ours.

    Args:
        argv: The program and its arguments.
        about: The board.
        root: As the superuser.
        seconds: See ``bounded``.
    """
    # Inside of sudo: a user's `timeout` may not end what runs as another one.
    words = bounded(argv, about, seconds)
    if not root:
        return shlex.join(words)
    return shlex.join([*AS_SUDO, *words] if about.superuser else ["sudo", "-n", "--", *words])
