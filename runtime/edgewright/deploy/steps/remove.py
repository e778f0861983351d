"""Taking everything away again. What is gone already is no error, so a second try finishes what a first began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.deploy.layout import SERVICE, USER
from edgewright.deploy.plan import Seen
from edgewright.deploy.steps.user import COMMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import PurePosixPath

    from edgewright.deploy.board import Board
    from edgewright.deploy.service import ServiceManager

__all__ = ["GoneStep", "StoppedStep", "UserGoneStep"]

# A folder that a disk of its own is mounted on cannot go, only what is in it.
_MOUNTED = 'mounted() { [ ! -L "$1" ] && mountpoint -q "$1" 2>/dev/null; }\n'
_THERE = f"""{_MOUNTED}
for f in "$@"; do
    if mounted "$f" && [ -z "$(ls -A "$f")" ]; then continue; fi
    if [ -e "$f" ] || [ -L "$f" ]; then echo "$f"; fi
done
"""
_REMOVE = f"""{_MOUNTED}
for f in "$@"; do
    if mounted "$f"; then find "$f" -xdev -mindepth 1 -delete || exit 1; echo "$f"
    else rm -rf -- "$f" || exit 1; fi
done
"""


class StoppedStep:
    """The service does not run and is not started at boot."""

    title = "service"

    def __init__(self, board: Board, service: ServiceManager) -> None:
        self._board = board
        self._service = service

    def check(self) -> Seen:
        """Asks the manager."""
        running = self._service.state().get("ActiveState", "inactive") not in {"inactive", ""}
        if running or self._board.run(["systemctl", "is-enabled", "--quiet", SERVICE]).ok:
            return Seen(done=False, words=f"stop {SERVICE} and start it no more")
        return Seen(done=True, words="not running")

    def apply(self) -> str:
        """Stops it."""
        self._service.stop()
        return f"{SERVICE} stopped"

    def undo(self) -> None:
        """Nothing: removing is finished by running it again."""


class GoneStep:
    """Files and folders are not there."""

    def __init__(
        self,
        board: Board,
        title: str,
        places: Sequence[PurePosixPath],
        *,
        emptied: Sequence[PurePosixPath] = (),
        afterwards: Callable[[], None] | None = None,
    ) -> None:
        """Nothing happens yet.

        Args:
            board: Where.
            title: What they are.
            places: They, as the board sees them.
            emptied: Folders that go, too, when nothing else is in them.
            afterwards: What makes the system notice.
        """
        self.title = title
        self._board = board
        self._places = places
        self._emptied = emptied
        self._afterwards = afterwards

    def check(self) -> Seen:
        """Looks for them."""
        there = self._there()
        if there:
            return Seen(done=False, words=f"remove {', '.join(there)}")
        return Seen(done=True, words="not there")

    def apply(self) -> str:
        """Removes them."""
        on = self._board.layout.on
        there = self._there()
        places = [on(place) for place in self._places]
        emptied = self._board.sh(_REMOVE, *places, doing=f"removing {self.title}", timeout_s=300.0).splitlines()
        for folder in self._emptied:
            self._board.run(["rmdir", "--", str(on(folder))])
        if self._afterwards is not None:
            self._afterwards()
        more = f"; {', '.join(emptied)} is a mount point and was emptied" if emptied else ""
        return f"removed {', '.join(there)}{more}"

    def undo(self) -> None:
        """Nothing: removing is finished by running it again."""

    def _there(self) -> list[str]:
        on = self._board.layout.on
        told = self._board.sh(_THERE, *(on(place) for place in self._places), doing=f"looking for {self.title}")
        seen = set(told.splitlines())
        return [str(place) for place in self._places if str(on(place)) in seen]


class UserGoneStep:
    """The service's user is not there; one that edgewright did not make stays."""

    title = "service user"

    def __init__(self, board: Board) -> None:
        self._board = board

    def check(self) -> Seen:
        """Looks for it."""
        done = self._board.run(["getent", "passwd", USER])
        if not done.ok:
            return Seen(done=True, words="not there")
        if COMMENT not in done.out:
            return Seen(done=True, words=f"{USER} was not made by edgewright and stays")
        return Seen(done=False, words=f"remove the user {USER}")

    def apply(self) -> str:
        """Removes the user and its group."""
        self._board.must(["userdel", USER], f"removing the user {USER}")
        self._board.run(["groupdel", USER])  # most systems remove it along with its user
        return f"{USER} removed"

    def undo(self) -> None:
        """Nothing: removing is finished by running it again."""
