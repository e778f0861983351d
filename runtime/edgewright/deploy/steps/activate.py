"""The new release and the new bundle are put to use, both in one stroke each, and the service runs them.

What was in use before is named by the links ``previous``. A service that does not come up is brought back to it; one that
its owner had stopped, or did not have started at boot, is so again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError
from edgewright.deploy.interpreter import interpreter
from edgewright.deploy.layout import USER
from edgewright.deploy.plan import Seen
from edgewright.deploy.words import brief

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from edgewright.deploy.board import Board
    from edgewright.deploy.service import ServiceManager

__all__ = ["ActivateStep"]

_READS = """
import pathlib, sys
from edgewright.bundle.errors import EdgewrightError
from edgewright.device.config import load_config
try:
    load_config(pathlib.Path(sys.argv[1]))
except EdgewrightError as error:
    sys.exit(str(error))
"""


class ActivateStep:
    """The links name the release and the bundle, and the service runs them."""

    title = "activation"

    def __init__(
        self, board: Board, *, release: str, digest: str, service: ServiceManager | None, wait_s: float = 90.0
    ) -> None:
        """Nothing happens yet.

        Args:
            board: Where.
            release: Name of the release.
            digest: Of the bundle's manifest.
            service: None where nothing is to be started.
            wait_s: Longest wait until the service says that it is ready.
        """
        layout = board.layout
        self._board = board
        self._release = release
        self._service = service
        self._wait_s = wait_s
        self._wanted = {
            layout.current: f"{layout.releases.name}/{release}",
            layout.active: layout.bundle(digest).name,
        }
        self._previous = {layout.current: layout.former, layout.active: layout.former_bundle}
        self._before: dict[PurePosixPath, str | None] = {}
        self._record_before: bytes | None = None
        self._was_enabled = False
        self._was_wanted = False
        self._disturbed = False

    def check(self) -> Seen:
        """Compares the links, what was last put to use, and whether the service is up."""
        right = self._board.links(*self._wanted) == tuple(self._wanted.values())
        same = self._board.read(self._board.layout.record) == self._state()
        up = self._service is None or self._service.is_up()
        if right and same and up:
            words = "in use" if self._service is None else "in use, the service is up"
            return Seen(done=True, words=words)
        what = "put the release and the bundle to use" if not right else "put the settings to use"
        then = (
            "" if self._service is None else f", start the service and wait up to {self._wait_s:g} s until it is ready"
        )
        return Seen(done=False, words=what + then)

    def apply(self) -> str:
        """Swaps the links and starts the service."""
        board, layout = self._board, self._board.layout
        self._check_settings()
        places = (*self._wanted, *self._previous.values())
        self._record_before = board.read(layout.record)
        self._before = dict(zip(places, board.links(*places), strict=True))
        for place, target in self._wanted.items():
            before = self._before[place]
            if before is not None and before != target:
                board.set_link(self._previous[place], before)
            board.set_link(place, target)
        words = "in use"
        if self._service is not None:
            self._was_enabled, self._was_wanted = self._service.is_enabled(), self._service.is_wanted()
            self._disturbed = True
            words = self._service.start(self._wait_s)
        board.write(layout.record, self._state(), "600", None)
        return words

    def undo(self) -> None:
        """Points the links back, and stops what did not run before.

        ``start_former`` starts what they name once all else is undone, too.
        """
        for place, target in self._before.items():
            self._board.set_link(place, target)
        record = self._board.layout.record
        if self._before and self._record_before is None:
            self._board.must(["rm", "-f", "--", str(self._board.layout.on(record))], f"removing {record}")
        elif self._record_before is not None:
            self._board.write(record, self._record_before, "600", None)
        if self._disturbed and self._service is not None:
            self._put_back(self._service)

    def _put_back(self, service: ServiceManager) -> None:
        """While the unit is still there: it names the links that enabling made."""
        try:
            if not self._was_enabled:
                service.disable()
        finally:
            if not self._was_wanted:
                service.halt()

    def start_former(self) -> None:
        """After everything was undone: starts what ran before, where the service was disturbed."""
        if self._disturbed and self._was_wanted and self._service is not None:
            self._service.reload()
            self._service.restart_quietly()

    def _check_settings(self) -> None:
        board, layout = self._board, self._board.layout
        python = interpreter(board, layout.on(layout.release(self._release)))
        as_user = ["runuser", "-u", USER, "--"] if board.system else []
        done = board.run([*as_user, *python, "-c", _READS, str(layout.on(layout.config))])
        if not done.ok:
            msg = (
                f"{board.name}: the new release does not accept {layout.config}: {brief(done.err)}; mend it there, or "
                f"give a whole one with --config FILE"
            )
            raise DeployError(msg)

    def _state(self) -> bytes:
        """What determines how the service runs."""
        layout = self._board.layout
        files = self._board.digests(layout.config, layout.unit, layout.profile)
        told = {
            "release": self._wanted[layout.current],
            "bundle": self._wanted[layout.active],
            "settings": files,
            "service": self._service is not None,
        }
        return (json.dumps(told) + "\n").encode("utf-8")
