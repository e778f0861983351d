"""This machine as a host: what ``edgewright install`` works on."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from edgewright.bundle.atomic import atomic_path
from edgewright.deploy.errors import DeployError
from edgewright.deploy.host import LARGEST_FILE, Done
from edgewright.deploy.process import NotStartedError, feed, run_bounded
from edgewright.deploy.remote_line import AS_SUDO
from edgewright.deploy.transfer import append_command, chunks_of, digest_of, finished, part_of
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path, PurePosixPath


__all__ = ["LocalHost"]

_SEND_S = 600.0
_NO_PROGRAM = 127


class LocalHost:
    """This machine.

    Attributes:
        name: How messages call it.
    """

    def __init__(self, *, escalate: bool = True) -> None:
        """Nothing is opened.

        Args:
            escalate: Whether ``root`` asks ``sudo -n`` where the user is another; False where all places are the
                user's own, as in a root that is being built.
        """
        self.name = "this machine"
        self._escalate = escalate

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_s: float = 60.0, root: bool = False
    ) -> Done:
        """Runs one command; see ``Host.run``.

        Raises:
            DeployError: It did not end in time.
        """
        try:
            return run_bounded(self._as(argv, root=root), stdin, timeout_s, f"{argv[0]} on {self.name}")
        except NotStartedError as error:
            return Done(_NO_PROGRAM, "", str(error))  # as the shell at the other end of a connection answers

    def send(
        self,
        local: Path,
        remote: PurePosixPath,
        *,
        root: bool = False,
        on_bytes: Callable[[int, int], None] | None = None,
    ) -> None:
        """Copies a file; see ``Host.send``.

        Raises:
            DeployError: It cannot be read, or not be written there.
        """
        outgoing = digest_of(local)
        part = part_of(remote, outgoing)
        done = feed(
            self._as(append_command(part, 0), root=root),
            chunks_of(outgoing, 0, on_bytes),
            _SEND_S,
            f"writing {remote}",
        )
        if not done.ok:
            msg = f"cannot write {remote} on {self.name}: {brief(done.err)}"
            raise DeployError(msg)
        if not finished(lambda argv: self.run(argv, root=root, timeout_s=_SEND_S), part, remote, outgoing.sha256):
            msg = f"{local} changed while it was copied to {remote}; run this again when nothing writes to it"
            raise DeployError(msg)

    def fetch(self, remote: PurePosixPath, local: Path, *, largest: int = LARGEST_FILE) -> None:
        """Copies a file, whole or not at all; see ``Host.fetch``.

        Raises:
            DeployError: There is no such file, or it is too large.
            OutputError: It cannot be written here.
        """
        source = os.fspath(remote)
        if not os.path.isfile(source):  # noqa: PTH113 - a path of the host's, not one of ours
            msg = f"{self.name} has no file {remote}"
            raise DeployError(msg)
        size = os.path.getsize(source)  # noqa: PTH202 - as above
        if size > largest:
            msg = f"{remote} on {self.name} has {size >> 20} MiB, more than {largest >> 20}; no file of ours is that large"
            raise DeployError(msg)
        with atomic_path(local) as beside:
            shutil.copyfile(source, beside)

    def close(self) -> None:
        """Nothing was opened."""

    def _as(self, argv: Sequence[str], *, root: bool) -> list[str]:
        if not root or not self._escalate:
            return list(argv)
        return ["sudo", "-n", "--", *argv] if os.geteuid() != 0 else [*AS_SUDO, *argv]
