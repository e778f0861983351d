"""For a root that is not running: what its own boot makes of files, for nobody can call its programs yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.deploy.layout import USER
from edgewright.deploy.plan import Seen
from edgewright.deploy.steps.user import COMMENT, GROUPS

if TYPE_CHECKING:
    from edgewright.deploy.board import Board
    from edgewright.deploy.layout import Layout

__all__ = ["EnabledStep", "sysusers_text", "tmpfiles_text"]


def sysusers_text(layout: Layout) -> str:
    """What makes the service's user at the first boot (``sysusers.d``)."""
    groups = "".join(f"g {group} -\nm {USER} {group}\n" for group in GROUPS)
    return f'# Written by edgewright.\nu {USER} - "{COMMENT}" {layout.state} /usr/sbin/nologin\n{groups}'


def tmpfiles_text(layout: Layout) -> str:
    """What gives it its folders (``tmpfiles.d``)."""
    return (
        f"# Written by edgewright.\n"
        f"Z {layout.state} ~0750 {USER} {USER} -\n"
        f"z {layout.etc} 0750 root {USER} -\n"
        f"z {layout.config} 0640 root {USER} -\n"
    )


class EnabledStep:
    """The service is started at boot."""

    title = "start at boot"

    def __init__(self, board: Board) -> None:
        self._board = board

    def check(self) -> Seen:
        """Looks for the link that ``systemctl enable`` would make."""
        layout = self._board.layout
        done = self._board.links(layout.wanted) == (str(layout.unit),)
        return Seen(done=done, words=str(layout.wanted) if done else f"link {layout.wanted}")

    def apply(self) -> str:
        """Makes it."""
        layout = self._board.layout
        self._board.must(["mkdir", "-p", str(layout.on(layout.wanted.parent))], "making a folder")
        self._board.set_link(layout.wanted, str(layout.unit))
        return str(layout.wanted)

    def undo(self) -> None:
        """Removes it."""
        self._board.set_link(self._board.layout.wanted, None)
