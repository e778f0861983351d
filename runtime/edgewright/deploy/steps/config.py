"""The board's settings: written once, kept afterwards, never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError
from edgewright.deploy.layout import USER
from edgewright.deploy.plan import Seen
from edgewright.deploy.settings import render_settings
from edgewright.deploy.steps.file import FileStep

if TYPE_CHECKING:
    from edgewright.deploy.board import Board
    from edgewright.deploy.settings import Settings

__all__ = ["ConfigStep"]


class ConfigStep(FileStep):
    """There is a ``device.toml`` that only the superuser may write and only the service may read."""

    def __init__(
        self, board: Board, settings: Settings, profile: str | None, threads: int | None, whole: str | None
    ) -> None:
        """Nothing happens yet.

        Args:
            board: Where.
            settings: For the first one.
            profile: The board's profile, by name or by its place on the board.
            threads: Of the engine, where nothing was said.
            whole: A whole file, which replaces the one that is there; None for none.
        """
        layout = board.layout
        content = render_settings(settings, layout, profile, threads) if whole is None else whole
        super().__init__(
            board, "settings", layout.config, content, mode="640", owner=f"root:{USER}", keep=whole is None
        )
        self._settings = settings
        self._whole = whole is not None

    def check(self) -> Seen:
        """As of any file; the first one has to name a source."""
        seen = super().check()
        if not seen.done and not self._whole and self._settings.source is None:
            msg = (
                f"{self._board.name} has no {self._place} yet and nothing says what it shall watch; say --source URI, such "
                f"as --source 0 for its first camera, or give a whole file with --config FILE"
            )
            raise DeployError(msg)
        unused = self._settings.said()
        if seen.done and unused and not self._whole:
            words = f"{seen.words}, {', '.join(unused)} not used; edit it there, or give a whole one with --config FILE"
            return Seen(done=True, words=words)
        return seen
