"""The board's settings: written once, kept afterwards, never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.bundle.text import plain
from edgewright.deploy.errors import DeployError
from edgewright.deploy.kept_settings import differences, lost, read_table
from edgewright.deploy.layout import USER
from edgewright.deploy.plan import Seen
from edgewright.deploy.settings import render_settings
from edgewright.deploy.steps.file import FileStep

if TYPE_CHECKING:
    from edgewright.deploy.board import Board
    from edgewright.deploy.settings import Settings

__all__ = ["ConfigStep"]

_MODE = "640"
_OWNER = f"root:{USER}"
_MOST_TOLD = 8


class ConfigStep(FileStep):
    """There is a ``device.toml`` that only the superuser may write and only the service may read.

    One that is there is kept, unless it is to be replaced; it then stays beside the new one as ``device.toml.before``.
    """

    def __init__(self, board: Board, settings: Settings, profile: str | None, whole: str | None) -> None:
        """Nothing happens yet.

        Args:
            board: Where.
            settings: For the first one, or for the one that replaces it.
            profile: The board's profile, by name or by its place on the board.
            whole: A whole file, which replaces the one that is there; None for none.
        """
        layout = board.layout
        content = render_settings(settings, layout, profile) if whole is None else whole
        keep = whole is None and not settings.replace
        super().__init__(board, "settings", layout.config, content, mode=_MODE, owner=_OWNER, keep=keep)
        self._settings = settings
        self._profile = profile
        self._whole = whole is not None
        self._beside = layout.config.with_name(f"{layout.config.name}.before")
        self._beside_before: bytes | None = None
        self._saved = False

    def check(self) -> Seen:
        """As of any file; one that is written has to name a source, one that is kept may say otherwise."""
        seen = super().check()
        if not seen.done and not self._whole and self._settings.source is None:
            raise DeployError(self._no_source())
        if self._whole:
            return seen
        there = self._board.read(self._place) or b""
        if not seen.done:
            return Seen(done=False, words=seen.words, warning=self._what_is_lost(there))
        return self._kept(seen, there)

    def apply(self) -> str:
        """Writes it, and keeps the former one beside it."""
        former = self._board.read(self._place)
        replaced = former is not None and former not in {b"", self._content}
        if former is not None and replaced:
            self._beside_before = self._board.read(self._beside)
            self._saved = True  # from here on it is known what to put back
            self._board.write(self._beside, former, _MODE, _OWNER)
        words = super().apply()
        return f"{words}, the former one is {self._beside}" if replaced else words

    def undo(self) -> None:
        """Puts back what was there, and what stood beside it."""
        super().undo()
        if not self._saved:
            return
        if self._beside_before is None:
            self._board.must(["rm", "-f", "--", str(self._board.layout.on(self._beside))], f"removing {self._beside}")
        else:
            self._board.write(self._beside, self._beside_before, _MODE, _OWNER)

    def _no_source(self) -> str:
        has = "is to be written anew" if self._settings.replace else "is not there yet"
        return (
            f"{self._board.name}: {self._place} {has} and nothing says what the camera shall watch; say --source URI, "
            f"such as --source 0 for the board's first camera, or give a whole file with --config FILE"
        )

    def _kept(self, seen: Seen, there: bytes) -> Seen:
        other = differences(self._settings, self._profile, there)
        if not other:
            return seen
        flags = ", ".join(other)
        if read_table(there) is None:
            why = "it is not valid TOML"
        else:
            why = "; ".join(f"{flag}: {place}" for flag, place in other.items())
        then = (
            "then run this again" if self._settings.by_hand is None else f"then start it anew: {self._settings.by_hand}"
        )
        warning = (
            f"{self._place} was kept, so {flags} had no effect ({why}); change it there (sudoedit {self._place}), {then}; "
            f"or have it written anew with --replace-config"
        )
        return Seen(done=True, words=f"{seen.words}, {flags} not used", warning=warning)

    def _what_is_lost(self, there: bytes) -> str:
        gone = [plain(key)[:60] for key in lost(there, self._content)]
        if not gone:
            return ""
        more = f" and {len(gone) - _MOST_TOLD} more" if len(gone) > _MOST_TOLD else ""
        return (
            f"the former {self._place} also set {', '.join(gone[:_MOST_TOLD])}{more}, which the new one leaves out; take over "
            f"what is needed from {self._beside}"
        )
