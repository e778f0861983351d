"""What nothing names any more is removed: flash is small. What runs and what ran before stay.

Undoing a step may need what is removed here, so this belongs behind all of them: see ``afterwards`` of ``Plan``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgewright.deploy.plan import Seen

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from edgewright.deploy.board import Board

__all__ = ["TidyStep"]

_LIST = """
number=0
for folder in "$@"; do
    for file in "$folder"/* "$folder"/.[!.]*; do
        if [ -e "$file" ] || [ -L "$file" ]; then
            printf '%s/%s %s\n' "$number" "${file##*/}" "$(readlink -- "$file")"
        fi
    done
    number=$((number + 1))
done
"""
_BUNDLE = re.compile(r"[0-9a-f]{12}\.edge")
_NAME = re.compile(r"[A-Za-z0-9._+-]{1,200}")


class TidyStep:
    """Only what is named by a link is kept."""

    title = "tidying"

    def __init__(self, board: Board) -> None:
        self._board = board

    def check(self) -> Seen:
        """Lists what is left over."""
        left = self._left()
        if left:
            return Seen(
                done=False, words=f"remove {len(left)} leftovers: {', '.join(place.name for place in left[:5])}"
            )
        return Seen(done=True, words="nothing is left over")

    def apply(self) -> str:
        """Removes them; one that stays does no harm."""
        left = self._left()
        self._board.run(["rm", "-rf", "--", *(str(self._board.layout.on(place)) for place in left)], timeout_s=300.0)
        return f"removed {', '.join(place.name for place in left)}"

    def undo(self) -> None:
        """Nothing: it comes when what was done is final, and nothing names what was removed."""

    def _left(self) -> list[PurePosixPath]:
        layout = self._board.layout
        folders = (layout.opt, layout.bundles, layout.releases, layout.proofs, layout.incoming)
        told = self._board.sh(_LIST, *map(self._board.layout.on, folders), doing="looking for leftovers")
        names: dict[PurePosixPath, dict[str, str]] = {folder: {} for folder in folders}
        for row in told.splitlines()[:10_000]:
            number, _, rest = row.partition("/")
            name, _, link = rest.partition(" ")
            if number.isdecimal() and int(number) < len(folders) and _NAME.fullmatch(name):
                names[folders[int(number)]][name] = link
        opt, bundles = names[layout.opt], names[layout.bundles]
        releases = {opt.get(place.name, "").rpartition("/")[2] for place in (layout.current, layout.former)}
        # The links of others, such as those of updates on their way, count as well.
        linked = set(bundles.values())
        kept = {f"{bundle[:12]}-{release}.json" for bundle in linked for release in releases}
        left = [layout.releases / name for name in names[layout.releases] if name not in releases]
        left += [layout.bundles / name for name in bundles if _BUNDLE.fullmatch(name) and name not in linked]
        left += [layout.proofs / name for name in names[layout.proofs] if name not in kept]
        return left + [layout.incoming / name for name in names[layout.incoming]]
