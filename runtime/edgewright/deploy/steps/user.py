"""The user that the service runs as: no login, no password, in the groups that own cameras and accelerators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError
from edgewright.deploy.layout import USER
from edgewright.deploy.plan import Seen

if TYPE_CHECKING:
    from edgewright.deploy.board import Board

__all__ = ["COMMENT", "GROUPS", "UserStep"]

GROUPS = ("video", "render", "plugdev")
"""Cameras, graphics processors and USB accelerators belong to these where they exist."""
COMMENT = "edgewright service"
"""Marks the user as one that edgewright made, and so may remove."""

_GROUPS_THERE = 'for g in "$@"; do getent group "$g" >/dev/null 2>&1 && echo "$g"; done; true'


class UserStep:
    """There is the service's user."""

    title = "service user"

    def __init__(self, board: Board) -> None:
        self._board = board
        self._made = False
        self._added: list[str] = []

    def check(self) -> Seen:
        """Looks for the user and its groups."""
        if not self._exists():
            return Seen(done=False, words=f"make the system user {USER} in the groups {', '.join(self._groups())}")
        missing = self._missing()
        if missing:
            return Seen(done=False, words=f"put {USER} into the groups {', '.join(missing)}")
        return Seen(done=True, words=USER)

    def apply(self) -> str:
        """Makes it, or adds it to groups."""
        if not self._exists():
            self._made = True
            home = str(self._board.layout.state)
            argv = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home]
            argv += ["--shell", "/usr/sbin/nologin", "--comment", COMMENT, USER]
            self._board.must(argv, f"making the user {USER}")
        self._added = self._missing()
        if self._added:
            self._board.must(["usermod", "-aG", ",".join(self._added), USER], f"adding {USER} to its groups")
        return f"{USER}, in {', '.join(self._added)}" if self._added else USER

    def undo(self) -> None:
        """Removes what was made."""
        if self._made:
            self._board.must(["sh", "-c", f"! getent passwd {USER} >/dev/null || userdel {USER}"], "removing the user")
        else:
            for group in self._added:
                self._board.must(["gpasswd", "-d", USER, group], f"taking {USER} out of {group}")

    def _exists(self) -> bool:
        done = self._board.run(["getent", "passwd", USER])
        if done.ok and COMMENT not in done.out:
            msg = (
                f"{self._board.name} has a user {USER} that edgewright did not make; rename that user, or give it the "
                f"comment {COMMENT!r} (usermod --comment) to have the service run as it"
            )
            raise DeployError(msg)
        return done.ok

    def _groups(self) -> list[str]:
        there = self._board.run(["sh", "-c", _GROUPS_THERE, "sh", *GROUPS]).out.split()
        return [group for group in GROUPS if group in there]

    def _missing(self) -> list[str]:
        has = self._board.run(["id", "-nG", USER]).out.split()
        return [group for group in self._groups() if group not in has]
