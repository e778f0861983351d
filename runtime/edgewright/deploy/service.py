"""The running service, by ``systemctl``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgewright.deploy.errors import DeployError
from edgewright.deploy.layout import SERVICE
from edgewright.deploy.words import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.deploy.board import Board

__all__ = ["ServiceManager"]

_ASKED = "ActiveState,SubState,Result,NRestarts,ExecMainStatus"
_TURN_S = 1.0
_STOP_S = 90.0


class ServiceManager:
    """Starts, stops and watches the service of one board."""

    def __init__(
        self,
        board: Board,
        *,
        settle_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing happens yet.

        Args:
            board: Where.
            settle_s: How long a service must stay up to count as up.
            clock: Monotonic seconds.
            sleep: Waits so many seconds.
        """
        self._board = board
        self._settle_s = settle_s
        self._clock = clock
        self._sleep = sleep

    def reload(self) -> None:
        """Has the manager read its files again."""
        self._board.must(["systemctl", "daemon-reload"], "systemctl daemon-reload")

    def reload_journal(self) -> None:
        """Has the journal take its limits."""
        self._board.must(["systemctl", "try-restart", "systemd-journald.service"], "restarting the journal")

    def state(self) -> dict[str, str]:
        """What the manager says of the service."""
        done = self._board.run(["systemctl", "show", SERVICE, "-p", _ASKED])
        rows = (line.partition("=") for line in done.out.splitlines()[:20])
        return {key: value.strip()[:40] for key, _, value in rows}

    def is_up(self) -> bool:
        """Whether it said that it is ready, and still runs."""
        return self.state().get("ActiveState") == "active"

    def is_wanted(self) -> bool:
        """Whether it runs, or is about to: one that crashes and is started again counts, one that was given up does not."""
        return self.state().get("ActiveState", "") not in {"inactive", "failed", ""}

    def is_enabled(self) -> bool:
        """Whether it is started at boot."""
        return self._board.run(["systemctl", "is-enabled", "--quiet", SERVICE]).ok

    def start(self, wait_s: float) -> str:
        """Starts it anew and waits until it has said READY and stays up.

        Args:
            wait_s: Longest wait for READY.

        Returns:
            How it went, in words.

        Raises:
            DeployError: It did not come up; the last lines of its log are in the message.
        """
        board = self._board
        board.must(["systemctl", "enable", "--quiet", SERVICE], f"enabling {SERVICE}")
        board.run(["systemctl", "reset-failed", SERVICE])
        board.must(["systemctl", "restart", "--no-block", SERVICE], f"starting {SERVICE}")
        begun = self._clock()
        up_since: float | None = None
        before: str | None = None
        while True:
            state = self.state()
            now = self._clock()
            restarts = state.get("NRestarts", "0")
            fell = state.get("SubState") == "auto-restart" or state.get("ActiveState") == "failed"
            if fell or (before is not None and restarts != before):
                raise self._not_up(f"it ended by itself ({state.get('Result', '?')}, status {_status(state)})")
            before = restarts
            up_since = None if state.get("ActiveState") != "active" else now if up_since is None else up_since
            if up_since is not None and now - up_since >= self._settle_s:
                return f"{SERVICE} is ready after {up_since - begun:.0f} s and stays up"
            if up_since is None and now - begun > wait_s:
                raise self._not_up(f"it was not ready within {wait_s:g} s (it is {state.get('ActiveState', '?')})")
            self._sleep(_TURN_S)

    def stop(self) -> None:
        """Stops it and starts it no more at boot.

        Raises:
            DeployError: It still runs.
        """
        self._board.run(["systemctl", "disable", "--quiet", SERVICE])
        self.halt()

    def disable(self) -> None:
        """Starts it no more at boot; one that runs runs on."""
        self._board.must(["systemctl", "disable", "--quiet", SERVICE], f"disabling {SERVICE}")

    def halt(self) -> None:
        """Stops it until the next boot, or until it is started.

        Raises:
            DeployError: It still runs.
        """
        self._board.run(["systemctl", "stop", SERVICE], timeout_s=_STOP_S)
        now = self.state().get("ActiveState", "inactive")
        if now not in {"inactive", "failed", ""}:
            msg = (
                f"{self._board.name}: {SERVICE} does not stop (it is {now}); stop it there (sudo systemctl kill -s KILL "
                f"{SERVICE}), and run this again"
            )
            raise DeployError(msg)
        self._board.run(["systemctl", "reset-failed", SERVICE])

    def restart_quietly(self) -> None:
        """Starts what is there, without a word about how it goes."""
        self._board.run(["systemctl", "restart", "--no-block", SERVICE])

    def _not_up(self, why: str) -> DeployError:
        log = self._board.run(["journalctl", "-u", SERVICE, "-n", "12", "-o", "cat", "--no-pager"])
        lines = lines_of(log.out, most=12)
        said = "; its log ends:\n  " + "\n  ".join(lines) if lines else ""
        return DeployError(
            f"{self._board.name}: the service did not come up: {why}; mend what its log names, and run this again{said}"
        )


def _status(state: dict[str, str]) -> str:
    return state.get("ExecMainStatus", "?")
