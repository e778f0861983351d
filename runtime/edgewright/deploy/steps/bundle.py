"""The bundle's file lies on the board, under the digest that stands for every byte in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.layout import USER
from edgewright.deploy.plan import Seen
from edgewright.deploy.transfer import digest_of, part_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path, PurePosixPath

    from edgewright.deploy.board import Board

__all__ = ["BundleStep"]

_LOOK = 'if [ -f "$1" ] && [ ! -L "$1" ]; then sha256sum < "$1" | cut -c1-64; fi'
# A copy, not a move: the bundle may be the one in use, and its name has to lead to a file at every moment.
_KEEP = 'if [ -f "$1" ] && [ ! -L "$1" ]; then cp -P -- "$1" "$2" && echo kept; fi'
_SUM_S = 300.0


class BundleStep:
    """The bundle is there; whether it is used is for the proof to decide."""

    title = "bundle"

    def __init__(
        self, board: Board, bundle: Path, digest: str, on_bytes: Callable[[str, int, int], None] | None = None
    ) -> None:
        """Nothing happens yet.

        Args:
            board: Where.
            bundle: The ``.edge`` file here.
            digest: Of its manifest.
            on_bytes: Told of its name, the bytes sent, and their number.
        """
        self._board = board
        self._file = digest_of(bundle)
        self._place = board.layout.bundle(digest)
        self._on_bytes = on_bytes
        self._kept = False
        self._putting = False
        self._refused = False

    def check(self) -> Seen:
        """Compares digests."""
        seen = self._board.sh(_LOOK, self._there, doing="looking for the bundle", timeout_s=_SUM_S).strip()
        if seen == self._file.sha256:
            return Seen(done=True, words=str(self._place))
        return Seen(done=False, words=f"send {self._file.local.name} ({self._file.size / 1e6:.1f} MB) to {self._place}")

    def apply(self) -> str:
        """Sends it; a file of that name with other bytes, which may be in use, is kept until all is well."""
        told, name = self._on_bytes, self._file.local.name
        on_bytes = None if told is None else lambda sent, total: told(name, sent, total)
        staged = self._board.staged(self._place.name)
        try:
            self._board.host.send(self._file.local, staged, root=True, on_bytes=on_bytes)
        except HostUnreachable:
            raise
        except DeployError:  # such as a full disk, which what arrived would keep full
            self._refused = True
            raise
        kept = self._board.sh(_KEEP, self._there, self._old, doing="keeping the former bundle", timeout_s=_SUM_S)
        self._kept = bool(kept.strip())
        self._putting = True
        self._board.put(staged, self._place, "640", f"{USER}:{USER}")
        return f"{self._place} ({self._file.size / 1e6:.1f} MB)"

    def undo(self) -> None:
        """Puts back what was there; a bundle that this run did not write stays.

        What had arrived when sending was broken off stays, too: the next time goes on from there.
        """
        staged = self._board.staged(self._place.name)
        gone = [str(staged)]
        if self._refused:
            gone.append(str(part_of(staged, self._file)))
        if self._putting and self._kept:
            self._board.put(self._old, self._place, "640", f"{USER}:{USER}")
        elif self._putting:
            gone += [self._there, f"{self._there}.new"]
        self._board.must(["rm", "-f", "--", *gone, str(self._old)], "removing the bundle that was sent")

    @property
    def _old(self) -> PurePosixPath:
        return self._board.staged(f"{self._place.name}.old")

    @property
    def _there(self) -> str:
        return str(self._board.layout.on(self._place))
