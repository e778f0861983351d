"""The folders of the layout, with their owners and modes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError
from edgewright.deploy.layout import USER
from edgewright.deploy.plan import Seen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePosixPath

    from edgewright.deploy.board import Board

__all__ = ["FoldersStep"]

_STAT = """
for f in "$@"; do
    if [ -L "$f" ]; then echo link; elif [ -d "$f" ]; then stat -c "%a %U:%G" "$f"; else echo -; fi
done
"""
_OURS = f"{USER}:{USER}"
# The service may put a link where one of its folders is. So the superuser goes into the folder, sees where that is, and
# changes what it stands in.
# What a folder that was taken over holds, such as the data of a former installation, gets today's owner.
_MAKE = """
while [ $# -gt 0 ]; do
    [ -d "$1" ] || mkdir "$1"
    if [ -n "$2" ]; then (
        cd "$1"
        if [ "$(pwd -P)" != "$(cd "$(dirname "$1")" && pwd -P)/$(basename "$1")" ]; then
            echo "$1 is a link" >&2
            exit 1
        fi
        chmod "$2" .
        [ -z "$3" ] || [ "$3" = "$(stat -c "%U:%G" .)" ] || chown "$4" "$3" .
    ); fi
    shift 4
done
"""
_MISSING = 'for f in "$@"; do [ -e "$f" ] || echo "$f"; done'


@dataclass(frozen=True)
class _Folder:
    place: PurePosixPath
    mode: str
    owner: str
    whole: bool = False  # whether all that lies in it has the same owner


class FoldersStep:
    """There are the folders."""

    title = "folders"

    def __init__(self, board: Board, *, units: bool = True) -> None:
        """Nothing happens yet.

        Args:
            board: Where.
            units: Whether a unit and its like will be written, too.
        """
        layout = board.layout
        self._board = board
        self._made: list[PurePosixPath] = []
        parents = [parent for place in (layout.opt, layout.etc, layout.state) for parent in reversed(place.parents)]
        files = [layout.unit, layout.journald] + ([] if board.system else [layout.sysusers, layout.tmpfiles])
        parents += [parent for place in (files if units else []) for parent in reversed(place.parents)]
        self._parents = list(dict.fromkeys(parents))[1:]
        self._folders: Sequence[_Folder] = (
            _Folder(layout.opt, "755", "root:root"),
            _Folder(layout.releases, "755", "root:root"),
            _Folder(layout.proofs, "755", "root:root"),
            _Folder(layout.incoming, "700", "root:root"),
            _Folder(layout.etc, "750", f"root:{USER}"),
            _Folder(layout.state, "750", _OURS, whole=True),
            _Folder(layout.bundles, "750", _OURS, whole=True),
        )

    def check(self) -> Seen:
        """Looks at each.

        Raises:
            DeployError: One of them is a link.
        """
        missing = [str(folder.place) for folder, right in zip(self._folders, self._right(), strict=True) if not right]
        missing += [str(place) for place in self._absent(self._parents) if str(place) not in missing]
        if missing:
            return Seen(done=False, words=f"make {', '.join(missing)}")
        return Seen(done=True, words=f"{len(self._folders)} folders")

    def apply(self) -> str:
        """Makes what is missing and mends owners."""
        layout = self._board.layout
        wrong = [folder for folder, right in zip(self._folders, self._right(), strict=True) if not right]
        wrong_places = [folder.place for folder in wrong]
        places = [*self._parents, *wrong_places]
        self._made = self._absent(places)
        words: list[str] = []
        for place in self._parents:
            words += [str(layout.on(place)), "", "", ""]
        for folder in wrong:
            owner = folder.owner if self._board.system else ""
            words += [str(layout.on(folder.place)), folder.mode, owner, "-hR" if folder.whole else "-h"]
        self._board.must(["sh", "-ec", _MAKE, "sh", *words], "making the folders")
        return f"{len({*wrong_places, *self._made})} made or mended"

    def undo(self) -> None:
        """Removes those that were made and are empty again."""
        for place in reversed(self._made):
            there = str(self._board.layout.on(place))
            self._board.run(["rmdir", "--", there])

    def _absent(self, places: Sequence[PurePosixPath]) -> list[PurePosixPath]:
        layout = self._board.layout
        rows = self._board.sh(_MISSING, *map(layout.on, places), doing="looking for folders").splitlines()
        return [place for place in places if str(layout.on(place)) in rows]

    def _right(self) -> list[bool]:
        places = [str(self._board.layout.on(folder.place)) for folder in self._folders]
        rows = self._board.sh(_STAT, *places, doing="looking at the folders").splitlines()
        links = [str(folder.place) for folder, row in zip(self._folders, rows, strict=False) if row == "link"]
        if links:
            msg = (
                f"{self._board.name}: {', '.join(links)} is a link, and what the superuser writes there would land "
                f"elsewhere; see where it leads, remove it (sudo rm {links[0]}), and run this again; to keep the data on "
                f"another disk, mount that one there"
            )
            raise DeployError(msg)
        rows += ["-"] * (len(places) - len(rows))
        return [
            row.split(" ")[0] == folder.mode and (not self._board.system or row.split(" ")[-1] == folder.owner)
            for row, folder in zip(rows, self._folders, strict=False)
        ]
