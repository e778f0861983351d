"""One deployment at a time: a folder on the board says who works on it.

It lies in ``/run``, which is empty after every start of the board; in a root without one, on top. To make a folder is one
stroke, so that of two only one can have it, and only the superuser may make it there. A lock whose holder is gone counts
for nothing: the board has started anew since, the same user's deployment on the same workstation runs no more (see
``holder``), or nothing was heard of it for hours, by the board's own count of seconds since its start.

Whoever holds it touches it before every step and while files are sent, and learns then when somebody else has taken it
over. Nothing is undone then: what lies there may be the other one's by now.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.text import plain
from edgewright.deploy.errors import DeployError
from edgewright.deploy.holder import Holder
from edgewright.deploy.lock_scripts import FREE, HELD, LOOK, RESTARTED, TAKE, TAKEN, TOUCH, UNSIGNED
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from typing_extensions import Self

    from edgewright.deploy.board import Board
    from edgewright.deploy.host import Host

__all__ = ["BoardLock", "Held", "held_now"]

# Sending a file touches it, too. The longest without is a release once its wheels are there: an environment, what pip
# installs, and what is compiled, 50 minutes by their own limits.
_FORGOTTEN_S = 2 * 3600
_TOUCHED_S = 600.0
_SIGNED_S = 1.0


class _LostError(DeployError):
    """It is not ours any more."""


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
    """The right to change a board, as a context manager. Leaving gives it back, where the board can be reached.

    Attributes:
        board: Which.
    """

    def __init__(self, board: Board, what: str) -> None:
        """Nothing happens yet.

        Args:
            board: Which.
            what: What it is taken for, such as ``install``.
        """
        self.board = board
        self._holder = Holder.here(what)
        self._root = board.layout.on(board.layout.top)
        self._left = False
        self._boot = ""
        self._touched: float | None = None

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
        self._touched = None
        try:
            if not self._left:
                self._ask(FREE)
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
            DeployError: It is ours no more: the board has restarted, or somebody else has taken it over.
        """
        said = self._ask(TOUCH, self._boot)
        self._touched = time.monotonic()
        if said.startswith(RESTARTED):
            msg = f"{self.board.name}: the board restarted in the middle; run this again, and it goes on"
            raise _LostError(msg)
        if not said.startswith("ours"):
            msg = (
                f"{self.board.name}: somebody else has begun to work there meanwhile (nothing was heard of this machine for "
                f"hours, or its lock was removed by hand); run this again when that has ended"
            )
            raise _LostError(msg)

    def keep(self) -> None:
        """Touches it in the middle of long work, where the last time was a while ago; nothing while it is not held.

        A board that is too busy to answer, or cannot be reached, is for the work itself to notice.

        Raises:
            DeployError: It is ours no more.
        """
        if self._touched is None or time.monotonic() - self._touched < _TOUCHED_S:
            return
        self._touched = time.monotonic()
        try:
            self.touch()
        except _LostError:
            raise
        except DeployError:
            return

    def regain(self) -> None:
        """Before something is undone: it is ours, or ours again after the board has restarted.

        Raises:
            DeployError: Somebody else has worked there since.
            HostUnreachable: The board cannot be talked to.
        """
        try:
            self.touch()
        except _LostError as error:
            said = self._ask(TAKE, "", self._boot)
            if not said.startswith(TAKEN):
                msg = (
                    "somebody else has worked there since, and what lies there may be theirs; nothing more of it was taken "
                    "back"
                )
                raise DeployError(msg) from error
            self._have(said)

    def _take(self) -> None:
        said = self._ask(TAKE, "", "")
        if not said.startswith(TAKEN) and not _read(said).holder.id:
            time.sleep(_SIGNED_S)  # whoever makes it signs it at once, or the power went
            said = self._ask(TAKE, "", "")
        held = _read(said)
        if said.startswith(HELD) and not (held.counts and held.holder.id):
            said = self._ask(TAKE, held.holder.id or UNSIGNED, "")
        if not said.startswith(TAKEN):
            raise DeployError(_read(said).words(self.board.name))
        self._have(said)

    def _have(self, said: str) -> None:
        self._boot = brief(_values(said).get("boot", ""), 40)
        self._touched = time.monotonic()

    def _ask(self, script: str, *words: str) -> str:
        return self.board.sh(
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
    done = host.run(["sh", "-c", LOOK, "sh", str(root)])
    if not done.out.startswith(HELD):
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
