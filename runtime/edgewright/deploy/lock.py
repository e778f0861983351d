"""One deployment at a time: a folder on the board says who works on it.

It lies in ``/run``, which is empty after every start of the board; in a root without one, on top. To make a folder is one
stroke, so that of two only one can have it, and only the superuser may make it there. A lock whose holder is gone counts
for nothing: the board has started anew since, the same user's deployment on the same workstation runs no more (see
``holder``), or nothing was heard of it for hours, by the board's own count of seconds since its start.

Whoever holds it touches it before every step, and learns then when somebody else has taken it over.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.text import plain
from edgewright.deploy.errors import DeployError
from edgewright.deploy.holder import Holder
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from typing_extensions import Self

    from edgewright.deploy.board import Board
    from edgewright.deploy.host import Host

__all__ = ["BoardLock", "Held", "held_now"]

# A step may take half an hour, and three of them one more than another.
_FORGOTTEN_S = 2 * 3600
_SIGNED_S = 1.0
_TAKEN, _HELD, _LOST = "taken", "held", "lost"
_PLACE = """\
lock=$1
if [ -d "$1/run" ] && [ ! -L "$1/run" ]; then lock=$1/run; fi
lock=$lock/edgewright-deploy.lock
now() { echo "boot=$(cat /proc/sys/kernel/random/boot_id)"; echo "touched=$(cut -d. -f1 /proc/uptime)"; }
write() { { printf %s "$1"; now; } > "$lock/holder.part" && mv -f "$lock/holder.part" "$lock/holder"; }
mine() { grep -qxF "id=$1" "$lock/holder" 2>/dev/null; }
"""
_LOOK = f"""{_PLACE}
if [ -d "$lock" ]; then echo held; echo "place=$lock"; now; echo; cat "$lock/holder" 2>/dev/null; fi
true
"""
# A lock that somebody else took over between the look and this is put back.
_TAKE = f"""{_PLACE}
umask 022
if [ -n "$4" ] && [ -d "$lock" ]; then
    mv -f "$lock" "$lock.$2" || exit 1
    if [ "$4" != - ] && ! grep -qxF "id=$4" "$lock.$2/holder"; then mv -f "$lock.$2" "$lock"; fi
    rm -rf "$lock.$2"
fi
if said=$(mkdir "$lock" 2>&1); then write "$3" && echo taken
elif [ -d "$lock" ]; then echo held; echo "place=$lock"; now; echo; cat "$lock/holder" 2>/dev/null; true
else echo "$said" >&2; exit 1; fi
"""
_TOUCH = f'{_PLACE}\nif mine "$2"; then umask 022; write "$3"; else echo lost; fi\n'
_FREE = f'{_PLACE}\nif mine "$2"; then rm -rf "$lock"; fi\n'


@dataclass(frozen=True)
class Held:
    """A lock that lies on a board, whoever wrote it: nothing in it is trusted.

    Attributes:
        holder: Who made it.
        boot: The board's start that it was made in.
        touched_s: Seconds since that start when it was last touched.
        boot_now: The board's present start.
        now_s: Seconds since that.
        place: Where it lies, as whoever works on the board sees it.
    """

    holder: Holder
    boot: str = ""
    touched_s: float = 0.0
    boot_now: str = ""
    now_s: float = 0.0
    place: str = ""

    @property
    def counts(self) -> bool:
        """Whether its holder may still be at work."""
        if not self.holder.id:  # made a moment ago, and not signed yet
            return True
        if self.boot != self.boot_now:
            return False
        return self.silent_s < _FORGOTTEN_S and not self.holder.is_gone()

    @property
    def silent_s(self) -> float:
        """Since it was last touched."""
        return max(0.0, self.now_s - self.touched_s)

    def words(self, board: str) -> str:
        """Who works on the board, since when, and what to do."""
        last = "" if self.silent_s < 60 else f", last heard of {self.silent_s / 60:.0f} min ago"
        return (
            f"{board}: another deployment is at work there: {self.holder}{last}; wait until it has ended and run this "
            f"again. One that is gone for good is passed over when the board has restarted, or {_FORGOTTEN_S // 3600} hours "
            f"after its last step; to have it sooner, remove {self.place} there"
        )


class BoardLock:
    """The right to change a board, as a context manager. Leaving gives it back, where the board can be reached."""

    def __init__(self, board: Board, what: str) -> None:
        """Nothing happens yet.

        Args:
            board: Which.
            what: What it is taken for, such as ``install``.
        """
        self._board = board
        self._holder = Holder.here(what)
        self._root = board.layout.on(board.layout.top)
        self._left = False

    def __enter__(self) -> Self:
        """Takes it.

        Raises:
            DeployError: Somebody else has it, or it cannot be made.
            HostUnreachable: The board cannot be talked to.
        """
        self._holder.live()
        try:
            self._take()
        except BaseException:
            self._holder.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Gives it back."""
        try:
            if not self._left:
                self._ask(_FREE)
        except DeployError:  # the next deployment of this user sees that this one is gone
            return
        finally:
            self._holder.end()

    def leave(self) -> None:
        """Lets it lie on a board that cannot be reached any more."""
        self._left = True

    def touch(self) -> None:
        """Says that the work goes on.

        Raises:
            DeployError: Somebody else has taken it over.
        """
        if self._ask(_TOUCH).startswith(_LOST):
            msg = (
                f"{self._board.name}: somebody else has begun to work there meanwhile (this machine was away for hours, or "
                f"the board restarted); run this again when that has ended"
            )
            raise DeployError(msg)

    def _take(self) -> None:
        said = self._ask(_TAKE, "")
        if said.startswith(_TAKEN):
            return
        if not _read(said).holder.id:  # whoever makes it signs it at once, or the power went
            time.sleep(_SIGNED_S)
            said = self._ask(_TAKE, "")
        held = _read(said)
        if said.startswith(_HELD) and not (held.counts and held.holder.id):
            said = self._ask(_TAKE, held.holder.id or "-")
        if not said.startswith(_TAKEN):
            raise DeployError(_read(said).words(self._board.name))

    def _ask(self, script: str, *words: str) -> str:
        return self._board.sh(
            script,
            self._root,
            self._holder.id,
            self._holder.text(),
            *words,
            doing="marking the board as being worked on",
        )


def held_now(host: Host, root: PurePosixPath) -> Held | None:
    """The lock of somebody who works there; None when nobody does.

    Args:
        host: The board; no superuser is needed to look.
        root: Where its ``/`` lies.

    Raises:
        HostUnreachable: It cannot be talked to.
    """
    done = host.run(["sh", "-c", _LOOK, "sh", str(root)])
    if not done.out.startswith(_HELD):
        return None
    held = _read(done.out)
    return held if held.counts else None


def _read(said: str) -> Held:
    now, _, then = said[:8192].partition("\n\n")
    about_now, told = _values(now), _values(then)
    return Held(
        Holder.read(told),
        brief(told.get("boot", ""), 40),
        _seconds(told.get("touched", "")),
        brief(about_now.get("boot", ""), 40),
        _seconds(about_now.get("touched", "")),
        brief(about_now.get("place", "")),
    )


def _values(text: str) -> dict[str, str]:
    rows = (line.partition("=") for line in text.splitlines()[:30])
    return {plain(key)[:20]: value[:200] for key, _, value in rows}


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0.0
