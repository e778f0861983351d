"""A container of scripts/systemd with a camera beside it: what is seen of the service in it, and how a story is told."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from systemd_container import ROOT, Container, step

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

LONGEST_PART_S = 900.0
RTSP_PORT = 8554


class Told:
    """The list of checks."""

    def __init__(self, *, to_stderr: bool) -> None:
        self.checks: list[dict[str, object]] = []
        self._out = sys.stderr if to_stderr else sys.stdout

    def check(self, name: str, ok: bool, detail: str = "") -> bool:
        """Keeps and tells one check."""
        self.checks.append({"check": name, "ok": bool(ok), "detail": detail})
        print(f"{'ok  ' if ok else 'FAIL'}  {name}" + (f": {detail}" if detail else ""), file=self._out, flush=True)
        return bool(ok)

    def remark(self, text: str) -> None:
        """Tells something that is no check."""
        print(f"      {text}", file=sys.stderr, flush=True)

    @property
    def failed(self) -> list[str]:
        """Names of the checks that do not hold."""
        return [str(row["check"]) for row in self.checks if not row["ok"]]


class Checked(Protocol):
    """What a story is told on."""

    told: Told


S = TypeVar("S", bound=Checked)


def go_through(stage: S, parts: Mapping[str, Callable[[S], None]], limit_s: float = LONGEST_PART_S) -> None:
    """Runs the parts of a story in order, on a container that has booted.

    Whatever goes wrong now is no matter of this machine: an error, a command that does not end and a part that does
    not end are checks that fail, and the parts after it are not reached, which are failures as well.
    """
    ended = True
    for name, action in parts.items():
        if ended:
            ended = came_to_its_end(stage, name, action, limit_s)
        else:
            stage.told.check(f"{name}: this part is reached", False)


def came_to_its_end(stage: S, name: str, action: Callable[[S], None], limit_s: float) -> bool:
    """Whether the part did; that it did not is a check that fails."""
    try:
        with limited(limit_s):
            action(stage)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the story's, and must not pass for less
        words = " ".join(f"{type(error).__name__}: {error}".split())
        stage.told.check(f"{name}: this part comes to its end", False, words[:600])
        return False
    return True


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the block when it takes longer; for the main thread."""

    def late(*_: object) -> None:
        raise TimeoutError(f"it did not end within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Stage:
    """A container, the camera beside it, and what is seen of the service."""

    def __init__(
        self, told: Told, kept: Path, work: Path, stack: contextlib.ExitStack, clip: Path | None = None
    ) -> None:
        """Copies the kept root; nothing is booted yet.

        Args:
            told: Takes the checks.
            kept: The root that is kept.
            work: A folder for this stage alone.
            stack: Ends the container and the camera.
            clip: In H.264, for the camera to show; None for blocks that change.
        """
        self.told, self.work = told, work
        self._stack, self._clip = stack, clip
        self._camera: subprocess.Popen[bytes] | None = None
        self.root = work / "root"
        work.mkdir(parents=True, exist_ok=True)
        step("cp", "-a", "--reflink=auto", str(kept), str(self.root))
        self.container = Container(self.root, work / "console.log")
        stack.callback(self.container.cut_power)

    def boot(self) -> None:
        """Switches it on."""
        self.container.boot()

    def check(self, name: str, ok: bool, detail: str = "") -> bool:
        """Keeps and tells one check."""
        return self.told.check(name, ok, detail)

    def remark(self, text: str) -> None:
        """Tells something that is no check."""
        self.told.remark(text)

    def camera_on(self) -> None:
        """Starts the camera."""
        if self._clip:
            script, arguments = ROOT / "scripts/systemd_camera.py", [str(self._clip)]
        else:
            # Flat, for the tiny detector to see the fast blocks.
            script, arguments = ROOT / "tests/support/rtsp/server.py", ["320", "80", "10"]
        command = ["/usr/bin/python3", str(script), str(RTSP_PORT), *arguments]
        self._camera = self.container.beside(*command, output=self.work / "camera.log")
        self._stack.callback(self.camera_off)

    def camera_off(self) -> None:
        """Pulls its plug."""
        if self._camera is not None:
            self._camera.kill()
            self._camera.wait()
            self._camera = None

    def shown(self, name: str) -> str:
        """A property of the unit."""
        return self.container.run("systemctl", "show", "edgewright", "-P", name).stdout.strip()

    def restarts(self) -> int:
        """How often systemd started it anew."""
        return int(self.shown("NRestarts") or 0)

    def answers(self) -> bool:
        """Whether frames get answers."""
        return "answers/s" in self.shown("StatusText")

    def running(self) -> bool:
        """Whether it is up."""
        return self.shown("ActiveState") == "active"

    def control(self, *command: str) -> str:
        """``systemctl`` inside."""
        return self.container.run("systemctl", *command).stdout.strip()

    def keep(self, folder: Path) -> None:
        """Leaves the logs where they can be read."""
        folder.mkdir(parents=True, exist_ok=True)
        for file in self.work.glob("*.log"):
            shutil.copy(file, folder / file.name)
        if self.container.is_up:
            journal = self.container.run("journalctl", "--no-pager").stdout
            (folder / "journal.log").write_text(journal, encoding="utf-8")


def put(path: Path, text: str) -> None:
    """Writes a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def until(asked: Callable[[], object], within_s: float) -> float | None:
    """Seconds until the answer was yes; None when it never was."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        if asked():
            return time.monotonic() - began
        time.sleep(0.3)
    return None


def seconds(value: float | None) -> str:
    """For people."""
    return "never" if value is None else f"after {value:.1f} s"
