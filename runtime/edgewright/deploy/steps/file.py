"""A small text file with exactly this content: the unit, the limits of the journal, the settings."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edgewright.deploy.plan import Seen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import PurePosixPath

    from edgewright.deploy.board import Board

__all__ = ["FileStep"]

_LOOK = 'if [ -f "$1" ]; then sha256sum < "$1" | cut -c1-64; stat -c "%a %U:%G" "$1"; else echo none; fi'
_EMPTY = hashlib.sha256(b"").hexdigest()


class FileStep:
    """A file has this content, mode and owner."""

    def __init__(
        self,
        board: Board,
        title: str,
        place: PurePosixPath,
        content: str,
        *,
        mode: str = "644",
        owner: str = "root:root",
        keep: bool = False,
        afterwards: Callable[[], None] | None = None,
    ) -> None:
        """Nothing happens yet.

        Args:
            board: Where.
            title: What it is.
            place: As the board sees it.
            content: The whole of it.
            mode: In octal.
            owner: ``USER:GROUP``.
            keep: Whether a file that is there already stays, whatever is in it; an empty one does not count.
            afterwards: What makes the system read it, both after it was written and after it was taken back.
        """
        self.title = title
        self._board = board
        self._place = place
        self._content = content.encode("utf-8")
        self._mode = mode
        self._owner = owner
        self._keep = keep
        self._afterwards = afterwards
        self._before: bytes | None = None
        self._begun = False

    def check(self) -> Seen:
        """Compares digest, mode and owner."""
        look = self._board.sh(_LOOK, self._board.layout.on(self._place), doing=f"looking at {self._place}").split("\n")
        if look[0] == "none":
            return Seen(done=False, words=f"write {self._place}")
        if self._keep and look[0] != _EMPTY:  # a power cut leaves files of no bytes
            return Seen(done=True, words=f"{self._place} is kept as it is")
        same = look[0] == hashlib.sha256(self._content).hexdigest()
        rights = f"{self._mode} {self._owner}"
        if same and (look[1] == rights or not self._board.system):
            return Seen(done=True, words=str(self._place))
        what = "change" if not same else "mend the owner and mode of"
        return Seen(done=False, words=f"{what} {self._place}")

    def apply(self) -> str:
        """Writes it."""
        self._before = self._board.read(self._place)
        self._begun = True  # from here on it is known what to put back
        self._board.write(self._place, self._content, self._mode, self._owner)
        if self._afterwards is not None:
            self._afterwards()
        return f"{self._place} {'written' if self._before is None else 'changed'}"

    def undo(self) -> None:
        """Puts back what was there."""
        if not self._begun:
            return
        if self._before is None:
            self._board.must(["rm", "-f", "--", str(self._board.layout.on(self._place))], f"removing {self._place}")
        else:
            self._board.write(self._place, self._before, self._mode, self._owner)
        if self._afterwards is not None:
            self._afterwards()
