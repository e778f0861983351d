"""A host and its layout: the few things that every step does there."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path, PurePosixPath

    from edgewright.deploy.host import Done, Host
    from edgewright.deploy.layout import Layout

__all__ = ["Board"]

_READ = 'if [ -f "$1" ]; then base64 < "$1"; else exit 44; fi'
_ABSENT = 44
_LINKS = 'for f in "$@"; do if [ -L "$f" ]; then readlink -- "$f"; else echo; fi; done'
_DIGESTS = 'for f in "$@"; do if [ -f "$f" ]; then sha256sum < "$f"; else echo; fi; done'
# Content first, then its name: after a power cut there is the old file or the new one, and none of no bytes.
_FOLDER_KEPT = '{ sync "$(dirname "$2")" 2>/dev/null || true; }'
# A link made beside and renamed replaces the old one in one stroke.
_LINK = f'rm -f "$2.new" && ln -sT -- "$1" "$2.new" && mv -fT "$2.new" "$2" && {_FOLDER_KEPT}'
_PLACE = (
    'chmod "$3" "$1" && { [ -z "$4" ] || chown "$4" "$1"; } && mv -fT "$1" "$2.new" && '
    f'{{ sync "$2.new" 2>/dev/null || true; }} && mv -fT "$2.new" "$2" && {_FOLDER_KEPT}'
)


class Board:
    """What is worked on.

    Attributes:
        host: Runs the commands.
        layout: Where things lie.
        system: Whether users and services of the running system are to be touched; False for a root that is being built.
        outside: In such a root, the interpreter of this machine that runs its releases; None where they run by themselves.
    """

    def __init__(self, host: Host, layout: Layout, *, system: bool = True) -> None:
        self.host = host
        self.layout = layout
        self.system = system
        self.outside: str | None = None

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.host.name if self.layout.root == self.layout.root.parent else f"{self.layout.root}"

    def run(self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_s: float = 60.0) -> Done:
        """Runs a command as the superuser, whatever becomes of it."""
        return self.host.run(argv, stdin=stdin, timeout_s=timeout_s, root=True)

    def must(self, argv: Sequence[str], doing: str, *, stdin: bytes | None = None, timeout_s: float = 60.0) -> str:
        """Runs a command as the superuser that has to succeed.

        Args:
            argv: The program and its arguments.
            doing: What fails when it does, such as ``making the folders``.
            stdin: What it reads.
            timeout_s: Longest wait for its end.

        Returns:
            Its output.

        Raises:
            DeployError: It failed, with what it said.
        """
        done = self.run(argv, stdin=stdin, timeout_s=timeout_s)
        if not done.ok:
            said = brief(done.err) or brief(done.out) or f"exit status {done.code}"
            msg = f"{self.name}: {doing} failed: {said}"
            raise DeployError(msg)
        return done.out

    def sh(self, script: str, *words: str | PurePosixPath, doing: str, timeout_s: float = 60.0) -> str:
        """Runs a shell script that has to succeed; ``words`` are its ``$1``, ``$2`` and so on."""
        return self.must(["sh", "-c", script, "sh", *map(str, words)], doing, timeout_s=timeout_s)

    def read(self, place: PurePosixPath) -> bytes | None:
        """The content of a small text file of the board; None when there is none."""
        done = self.run(["sh", "-c", _READ, "sh", str(self.layout.on(place))])
        if done.code == _ABSENT:
            return None
        if not done.ok:
            msg = f"{self.name}: cannot read {place}: {brief(done.err)}"
            raise DeployError(msg)
        try:
            return base64.b64decode(done.out)
        except ValueError as error:
            msg = f"{self.name}: {place} did not arrive as base64 writes it; run this again"
            raise DeployError(msg) from error

    def links(self, *places: PurePosixPath) -> tuple[str | None, ...]:
        """Where links point; None for what is none."""
        told = self.sh(_LINKS, *map(self.layout.on, places), doing="reading links").split("\n")
        return tuple((row or None) for row in told[: len(places)])

    def digests(self, *places: PurePosixPath) -> tuple[str, ...]:
        """SHA-256 of files in hex, empty for what is none."""
        told = self.sh(_DIGESTS, *map(self.layout.on, places), doing="reading files").split("\n")
        return tuple(row[:64] for row in told[: len(places)])

    def set_link(self, place: PurePosixPath, target: str | None) -> None:
        """Points a link elsewhere in one stroke; None removes it."""
        there = str(self.layout.on(place))
        if target is None:
            self.must(["rm", "-f", "--", there], f"removing {place}")
        else:
            self.sh(_LINK, target, there, doing=f"pointing {place} to {target}")

    def write(self, place: PurePosixPath, data: bytes, mode: str, owner: str | None) -> None:
        """Puts a small file in its place, whole or not at all.

        It goes by way of ``incoming``, where only the superuser writes: the service could have put a link in its own
        folders that leads elsewhere.
        """
        staged = self.staged(hashlib.sha256(f"{place}".encode()).hexdigest()[:12])
        words = [str(staged), *self._placing(place, mode, owner)]
        try:
            self.must(["sh", "-c", f'umask 077; cat > "$1" && {_PLACE}', "sh", *words], f"writing {place}", stdin=data)
        except HostUnreachable:
            raise
        except DeployError:
            self.run(["rm", "-f", "--", str(staged)])
            raise

    def put(self, staged: PurePosixPath, place: PurePosixPath, mode: str, owner: str | None) -> None:
        """Moves a file from ``incoming`` to its place."""
        self.sh(_PLACE, staged, *self._placing(place, mode, owner), doing=f"writing {place}")

    def _placing(self, place: PurePosixPath, mode: str, owner: str | None) -> tuple[str, str, str]:
        return str(self.layout.on(place)), mode, (owner or "") if self.system else ""

    def staged(self, name: str) -> PurePosixPath:
        """A place in ``incoming``, as the host sees it."""
        return self.layout.on(self.layout.incoming / name)

    def send(self, local: Path, name: str, on_bytes: object = None) -> PurePosixPath:
        """Sends a file to ``incoming``."""
        staged = self.staged(name)
        self.host.send(local, staged, root=True, on_bytes=on_bytes if callable(on_bytes) else None)
        return staged
