"""Who deploys: enough to be told, and enough for the same workstation to see later whether that one still runs.

A deployment that runs keeps a socket bound under its own name, in the kernel's abstract space: no file is left behind
however it ends, and nobody else on the machine can have that name meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import hashlib
import os
import platform
import re
import secrets
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Holder"]

_ID = re.compile(r"[0-9a-f]{16}")
_LONGEST_WORD = 80


class Holder:
    """A deployment.

    Attributes:
        id: Its own, in hex; empty where a board told none.
    """

    def __init__(self, holder_id: str, told: Mapping[str, str]) -> None:
        """See ``here`` and ``read``.

        Args:
            holder_id: Its own.
            told: ``by``, ``pid``, ``since``, ``what`` and ``where``.
        """
        self.id = holder_id
        self._told = dict(told)
        self._sign: socket.socket | None = None

    @classmethod
    def here(cls, what: str) -> Holder:
        """This process.

        Args:
            what: It does.
        """
        told = {
            "by": f"{_user()}@{platform.node()}",
            "pid": str(os.getpid()),
            "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            "what": what,
            "where": _where(),
        }
        return cls(secrets.token_hex(8), told)

    @classmethod
    def read(cls, values: Mapping[str, str]) -> Holder:
        """What lies on a board; anything may stand there."""
        seen = values.get("id", "")
        told = {name: brief(values.get(name, ""), _LONGEST_WORD) for name in ("by", "pid", "since", "what", "where")}
        return cls(seen if _ID.fullmatch(seen) else "", told)

    def text(self) -> str:
        """For the board, one ``key=value`` a line."""
        rows = {"id": self.id, **self._told}
        return "".join(f"{key}={brief(value, _LONGEST_WORD)}\n" for key, value in rows.items())

    def __str__(self) -> str:
        """Who, what and since when."""
        told = self._told
        if not told["by"]:
            return "somebody (who has not said yet who it is)"
        return f"{told['what'] or 'a deployment'} by {told['by']}, process {told['pid'] or '?'}, since {told['since'] or '?'}"

    def live(self) -> None:
        """From now on others on this workstation can see that it runs."""
        self._sign = _bound(self.id)

    def end(self) -> None:
        """From now on it is gone."""
        if self._sign is not None:
            self._sign.close()
            self._sign = None

    def is_gone(self) -> bool:
        """Whether it was this user's on this workstation and runs no more; False when that cannot be known."""
        if not self.id or self._told["where"] != _where():
            return False
        try:
            sign = _bound(self.id)
        except OSError:
            return False
        if sign is not None:
            sign.close()
        return True


def _bound(name: str) -> socket.socket | None:
    """A socket of that name; None where the system has no such names.

    Raises:
        OSError: There is one already.
    """
    sign = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sign.bind(f"\0edgewright-deploy-{name}")
    except OSError as error:
        sign.close()
        if error.errno == errno.EADDRINUSE:
            raise
        return None
    return sign


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in many containers
        return str(os.getuid())


def _where() -> str:
    """Stands for this user on this workstation, without telling a board what it is called."""
    parts = [platform.node(), str(os.getuid())]
    with contextlib.suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text(encoding="ascii"))
    with contextlib.suppress(OSError):  # names of sockets are those of a network namespace
        parts.append(str(Path("/proc/self/ns/net").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
