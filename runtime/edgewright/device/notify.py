"""Tells systemd how a service fares: the sd_notify protocol, without a library.

The service manager names a datagram socket in ``NOTIFY_SOCKET`` and, when it watches, an interval in
``WATCHDOG_USEC``. Each message is a few ``KEY=value`` lines. Sending never waits: a manager that does not read is its
own trouble, not the camera's.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Notifier", "watchdog_interval_s"]

_MICROSECONDS = 1e6
_LONGEST_VALUE = 400  # of the status line; a message of systemd's own library is a page


class Notifier:
    """One service manager's socket."""

    def __init__(self, address: str) -> None:
        """Opens a socket of our own.

        Args:
            address: A path, or ``@`` and a name of Linux's abstract namespace.

        Raises:
            OSError: There are no more sockets to be had.
        """
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Notifier | None:
        """The manager that started this process; None where none did, or one that speaks over no socket of this host."""
        address = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
        return cls(address) if address[:1] in {"/", "@"} and len(address) > 1 else None

    def send(self, **values: str) -> bool:
        """Sends one message, such as ``send(READY="1", STATUS="sees frames")``.

        Returns:
            Whether the manager took it; if not, say it again later.
        """
        lines = "\n".join(f"{key}={_one_line(value)}" for key, value in values.items())
        try:
            self._socket.sendto(lines.encode("utf-8", "replace"), self._address)
        except OSError:  # full, gone, or an address that is none: the run goes on without
            return False
        return True

    def close(self) -> None:
        """Closes our socket."""
        with contextlib.suppress(OSError):
            self._socket.close()


def watchdog_interval_s(environ: Mapping[str, str] | None = None, pid: int | None = None) -> float | None:
    """How often the manager wants to be told that all is well, seconds; None when it does not watch this process."""
    values = os.environ if environ is None else environ
    meant = values.get("WATCHDOG_PID", "")
    if meant and meant != str(os.getpid() if pid is None else pid):
        return None
    text = values.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdigit()) or len(text) > 19:  # more digits than 64 bits hold
        return None
    return int(text) / _MICROSECONDS or None


def _one_line(text: str) -> str:
    """``text`` so that it cannot be taken for further lines of the message."""
    return " ".join(text.split())[:_LONGEST_VALUE]
