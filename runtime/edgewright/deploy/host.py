"""A machine that commands run on and files go to: this one, or a board at the other end of an SSH connection.

What installs, proves or times something on a board is written against ``Host`` alone and does not know which it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path, PurePosixPath

__all__ = ["LARGEST_FILE", "Done", "Host"]

LARGEST_FILE = 2 << 30
"""Bytes; nothing of ours that comes from a board is larger."""


@dataclass(frozen=True)
class Done:
    """How a command on a host ended.

    Attributes:
        code: Its exit status.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.code == 0


class Host(Protocol):
    """Commands, and files in both directions."""

    @property
    def name(self) -> str:
        """How messages call it: ``this machine``, or ``USER@HOST``."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_s: float = 60.0, root: bool = False
    ) -> Done:
        """Runs one command; words are passed as they are, no shell reads them.

        Args:
            argv: The program and its arguments.
            stdin: What it reads; nothing when None.
            timeout_s: Longest wait for its end.
            root: As the superuser, by ``sudo -n`` where the user is another.

        Returns:
            How it ended; an exit status other than 0 is no error here.

        Raises:
            HostUnreachable: The host cannot be talked to, or went away meanwhile.
            DeployError: It did not end in time.
        """

    def send(
        self,
        local: Path,
        remote: PurePosixPath,
        *,
        root: bool = False,
        on_bytes: Callable[[int, int], None] | None = None,
    ) -> None:
        """Copies a file there: beside its place first, checked by its SHA-256, and renamed when it is whole.

        Args:
            local: A file here.
            remote: Its place there; the folder exists.
            root: Whether the place belongs to the superuser.
            on_bytes: Called with the bytes sent and their number.

        Raises:
            HostUnreachable: The link broke; what was at ``remote`` is still there.
            DeployError: It cannot be written there.
        """

    def fetch(self, remote: PurePosixPath, local: Path, *, largest: int = LARGEST_FILE) -> None:
        """Copies a file from there, whole or not at all.

        Args:
            remote: Its place there.
            local: Where it goes here.
            largest: Bytes that it may have; of a larger one no more than these are read.

        Raises:
            HostUnreachable: The link broke.
            DeployError: There is no such file, or it is too large.
        """

    def close(self) -> None:
        """Ends the connection."""
