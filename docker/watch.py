"""What systemd does for the service, for containers: ``watch.py run -- COMMAND...`` and ``watch.py check``.

``run`` starts the command and listens where it would tell systemd how it fares (the sd_notify protocol). Once it said
that it is ready, it must go on saying that frames flow; when it falls silent it is ended. Who says that it is stopping,
or is told to, has a while for it, and is ended then.

``edgewright run`` is a service and is treated as one: it must be ready within a time, and one that ends by a failure or
by force is started anew; when that happens too often, the container ends, and its restart policy has the word. Any other
command, such as ``edgewright verify``, runs once, as long as it takes.

``check`` is the health check: ready, and heard lately.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HUNG = 70
_PLACE = "/tmp/edgewright-health"  # noqa: S108 - private to the container


@dataclass(frozen=True)
class Limits:
    """How patient the watch is; seconds but for ``starts``.

    Attributes:
        watchdog_s: A command that is ready may be silent for so long.
        start_s: A service must be ready within it; TensorRT may have to compile the model first.
        stop_s: From the word that it stops, or the order to, until its end.
        abort_s: From SIGABRT, which has Python say where it hangs, until SIGKILL.
        restart_s: Pause before a service is started anew.
        starts: So often within ``within_s``, and not once more.
        within_s: See ``starts``.
    """

    watchdog_s: float = 60.0
    start_s: float = 120.0
    stop_s: float = 30.0
    abort_s: float = 10.0
    restart_s: float = 5.0
    starts: int = 5
    within_s: float = 600.0

    @classmethod
    def told(cls, values: Mapping[str, str]) -> Limits:
        """Those that the image or its user sets."""
        return cls(
            watchdog_s=float(values.get("EDGEWRIGHT_WATCHDOG_S", cls.watchdog_s)),
            start_s=float(values.get("EDGEWRIGHT_START_S", cls.start_s)),
        )


def main(argv: list[str], environ: Mapping[str, str] = os.environ) -> int:
    """Does what the first word says."""
    limits, folder = Limits.told(environ), Path(environ.get("EDGEWRIGHT_HEALTH", _PLACE))
    if argv == ["check"]:
        return check(folder, limits)
    if argv[:2] == ["run", "--"] and len(argv) > 2:
        return Watch(argv[2:], folder, limits).run()
    sys.exit("usage: watch.py run -- COMMAND...  or  watch.py check")


def check(folder: Path, limits: Limits) -> int:
    """0 while the command is ready and was heard lately."""
    try:
        heard = float((folder / "heard").read_text(encoding="ascii"))
    except (OSError, ValueError):
        sys.stdout.write("not ready yet\n")
        return 1
    age = time.monotonic() - heard
    fine = age <= limits.watchdog_s
    sys.stdout.write(f"{'frames flow, last told' if fine else 'nothing heard since'} {age:.0f} s ago\n")
    return 0 if fine else 1


class Watch:
    """One command, its starts and its ends."""

    def __init__(
        self, command: list[str], folder: Path, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing runs yet.

        Args:
            command: What to run.
            folder: For the socket, and for what ``check`` reads.
            limits: See there.
            clock: Monotonic seconds.
        """
        self._command, self._folder, self._limits, self._clock = command, folder, limits, clock
        self._is_service = [PurePath(command[0]).name, *command[1:2]] == ["edgewright", "run"]
        self._orders: list[int] = []  # signals that say stop

    def run(self) -> int:
        """Runs the command to its end, and a service until it fails too often.

        Returns:
            Its exit status; ``HUNG`` when it had to be ended.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self._folder / "notify"
        for old in (place, self._folder / "heard"):
            old.unlink(missing_ok=True)
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
                listening.bind(str(place))
                listening.settimeout(0.2)
                return self._run(listening)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            (self._folder / "heard").unlink(missing_ok=True)
            place.unlink(missing_ok=True)

    def _run(self, listening: socket.socket) -> int:
        limits = self._limits
        begun: deque[float] = deque(maxlen=limits.starts)
        while True:
            begun.append(self._clock())
            code = self._once(listening)
            (self._folder / "heard").unlink(missing_ok=True)
            if code == 0 or self._orders or not self._is_service:
                return code
            if len(begun) == limits.starts and self._clock() - begun[0] <= limits.within_s:
                _say(
                    f"edgewright run was started {limits.starts} times within {limits.within_s:g} s and never lasted, the "
                    f"last ended with status {code}; it is not started again: mend what is told above, or see whether "
                    "device.toml names the right bundle, camera and broker; the container ends"
                )
                return code
            _say(f"edgewright run ended with status {code}; it is started anew in {limits.restart_s:g} s")
            if self._ordered_within(limits.restart_s):
                return 128 + self._orders[0]

    def _once(self, listening: socket.socket) -> int:
        """One start to its end."""
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(self._folder / "notify"),
            "WATCHDOG_USEC": str(int(self._limits.watchdog_s * 1e6)),
        }
        _drain(listening)  # what the one before said last is not this one's
        try:
            child = subprocess.Popen(self._command, env=environment)
        except OSError as error:
            _say(f"cannot start {self._command[0]}: {error.strerror}; is it in the image?")
            return 127
        late = self._wait(child, listening)
        if late is not None:
            _say(f"{late}: it is ended")
            self._end(child)
            return HUNG
        code = child.returncode
        return code if code >= 0 else 128 - code

    def _wait(self, child: subprocess.Popen[bytes], listening: socket.socket) -> str | None:
        """Why it has to be ended; None when it ended by itself."""
        limits = self._limits
        begun = self._clock()
        heard: float | None = None
        stopping: float | None = None
        passed_on = 0
        while child.poll() is None:
            for number in self._orders[passed_on:]:
                child.send_signal(number)
                passed_on += 1
            lines = _received(listening)
            now = self._clock()
            if "READY=1" in lines or (heard is not None and "WATCHDOG=1" in lines):
                heard = now
                self._write(heard)
            if stopping is None and ("STOPPING=1" in lines or passed_on):
                stopping = now
            if stopping is not None:
                if now - stopping > limits.stop_s:
                    return f"it did not end within {limits.stop_s:g} s after it began to stop"
            elif heard is not None:
                if now - heard > limits.watchdog_s:
                    return f"nothing heard of it for {limits.watchdog_s:g} s"
            elif self._is_service and now - begun > limits.start_s:
                return f"it was not ready within {limits.start_s:g} s"
        return None

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        child.send_signal(signal.SIGABRT)
        try:
            child.wait(self._limits.abort_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _stop(self, number: int, _frame: object) -> None:
        # Passed on by the loop that waits: a handler may come between a start and the name for what was started.
        self._orders.append(number)

    def _ordered_within(self, seconds: float) -> bool:
        """Waits; whether the order to stop came meanwhile."""
        until = self._clock() + seconds
        while not self._orders and self._clock() < until:
            time.sleep(min(0.2, seconds))
        return bool(self._orders)

    def _write(self, heard: float) -> None:
        part = self._folder / "heard.part"
        part.write_text(f"{heard:.3f}", encoding="ascii")
        part.replace(self._folder / "heard")


def _received(listening: socket.socket) -> list[str]:
    try:
        return listening.recv(4096).decode("utf-8", errors="replace").splitlines()
    except TimeoutError:
        return []


def _drain(listening: socket.socket) -> None:
    listening.setblocking(False)
    try:
        while listening.recv(4096):
            continue
    except BlockingIOError:
        return
    finally:
        listening.settimeout(0.2)


def _say(words: str) -> None:
    sys.stderr.write(f"watch.py: {words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
