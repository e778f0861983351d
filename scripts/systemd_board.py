"""The container of scripts/systemd with the service in it, and the camera and the cloud that stand beside it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
import time
from typing import TYPE_CHECKING

from systemd_container import ENVIRONMENT, ROOT, Container, install_wheel, kept_root, step

if TYPE_CHECKING:
    import argparse
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

WATCHDOG_S = 6
RTSP_PORT, BROKER_PORT = 8554, 1883
STATE = "var/lib/edgewright"
DROPIN = "etc/systemd/system/edgewright.service.d"
CONFIG = """[source]
uri = "rtsp://127.0.0.1:{rtsp}/cam"
name = "proof"
[model]
bundle = "/var/lib/edgewright/bundles/active"
[rules]
{rules}
[sync]
broker = "mqtt://127.0.0.1:{broker}"
device = "proof-1"
outbox = "/var/lib/edgewright/outbox.sqlite"
drain_s = 2
[service]
watchdog_needs_frames_s = {needs_frames_s}
"""


class Proof:
    """The container, what stands beside it, and the list of checks."""

    def __init__(self, args: argparse.Namespace, work: Path, stack: contextlib.ExitStack) -> None:
        self.checks: list[dict[str, object]] = []
        self._args, self.work, self._stack = args, work, stack
        self._camera: subprocess.Popen[bytes] | None = None
        root = work / "root"
        step("cp", "-a", "--reflink=auto", str(kept_root(args.cache)), str(root))
        install_wheel(root, work / "wheel")
        self.root = root
        self._prepare()
        self.container = Container(root, work / "console.log")
        stack.callback(self.container.cut_power)

    def check(self, name: str, ok: bool, detail: str = "") -> bool:
        """Keeps and tells one check."""
        self.checks.append({"check": name, "ok": bool(ok), "detail": detail})
        out = sys.stderr if self._args.json else sys.stdout
        print(f"{'ok  ' if ok else 'FAIL'}  {name}" + (f": {detail}" if detail else ""), file=out, flush=True)
        return bool(ok)

    def remark(self, text: str) -> None:
        """Tells something that is no check."""
        print(f"      {text}", file=sys.stderr, flush=True)

    # What the container is made of.

    def _prepare(self) -> None:
        root = self.root
        # The unit's own watchdog is for boards and takes a minute; the proof is the same with less.
        put(
            root / DROPIN / "10-proof.conf", f"[Service]\nWatchdogSec={WATCHDOG_S}\nEnvironment=PYTHONPATH=/opt/proof\n"
        )
        put(root / "opt/proof/sitecustomize.py", (ROOT / "scripts/systemd_inside.py").read_text(encoding="utf-8"))
        put(root / "opt/proof/device.toml", self._settings(needs_frames_s=600))
        self._bundle(root / "opt/proof/proof.edge")
        # All of these are open to everybody, so that only the sandbox stands before them.
        for name in ("etc/proof-writable", "opt/proof/writable", "root/proof-readable"):
            put(root / name, "open\n")
            (root / name).chmod(0o666)
        (root / "root").chmod(0o755)
        step("mknod", "-m", "666", str(root / "opt/proof/device"), "c", "10", "229")

    def install(self) -> subprocess.CompletedProcess[str]:
        """Has the board install the service itself, from the environment that the wheel was installed into."""
        command = [f"{ENVIRONMENT}/bin/edgewright", "install", "/opt/proof/proof.edge", "--profile", self._args.profile]
        done = self.container.run(*command, "--python-env", ENVIRONMENT, "--config", "/opt/proof/device.toml")
        self.container.run("install", "-d", "-o", "edgewright", "-g", "edgewright", f"/{STATE}/proof")
        return done

    def _bundle(self, target: Path) -> None:
        if self._args.bundle:
            shutil.copy(self._args.bundle, target)
            return
        sys.path.insert(0, str(ROOT / "tests/support"))
        from bundles import write_detector

        write_detector(target)

    def configure(self, *, needs_frames_s: int) -> None:
        """Writes the device's settings."""
        put(self.root / "etc/edgewright/device.toml", self._settings(needs_frames_s=needs_frames_s))

    def _settings(self, *, needs_frames_s: int) -> str:
        # The tiny detector sees bright fields that come and go; identities would smooth them away.
        rules = "" if self._args.bundle else "track = false\nmin_frames = 1"
        return CONFIG.format(rules=rules, rtsp=RTSP_PORT, broker=BROKER_PORT, needs_frames_s=needs_frames_s)

    # What stands beside it.

    def camera_on(self) -> None:
        """Starts the camera."""
        if self._args.clip:
            script, arguments = ROOT / "scripts/systemd_camera.py", [str(self._args.clip_h264)]
        else:
            script, arguments = (
                ROOT / "tests/support/rtsp/server.py",
                ["320", "80", "10"],
            )  # flat, for the tiny detector to see the fast blocks
        command = ["/usr/bin/python3", str(script), str(RTSP_PORT), *arguments]
        self._camera = self.container.beside(*command, output=self.work / "camera.log")
        self._stack.callback(self.camera_off)

    def camera_off(self) -> None:
        """Pulls its plug."""
        if self._camera is not None:
            self._camera.kill()
            self._camera.wait()
            self._camera = None

    @contextlib.contextmanager
    def cloud(self, database: Path) -> Iterator[None]:
        """A broker and an ingest, for as long as the block lasts."""
        put(self.work / "broker.conf", f"user root\nallow_anonymous true\nlistener {BROKER_PORT} 127.0.0.1\n")
        log = self.work / "cloud.log"
        broker = self.container.beside("mosquitto", "-c", str(self.work / "broker.conf"), output=log)
        command = [sys.executable, "-m", "edgewright.cli.main", "ingest", "--db", f"sqlite:///{database}"]
        ingest = self.container.beside(*command, "--broker", f"mqtt://127.0.0.1:{BROKER_PORT}", output=log)
        try:
            yield
        finally:
            for process in (ingest, broker):
                process.terminate()
                process.wait(timeout=30)

    # What is seen.

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

    def outbox(self, *, copied: bool = False) -> dict[int, str]:
        """The rows that are stored: number to kind. A copy is taken where nobody has it open."""
        place = self.root / STATE / "outbox.sqlite"
        if copied:
            target = self.work / "copy"
            target.mkdir(exist_ok=True)
            for file in place.parent.glob("outbox.sqlite*"):
                shutil.copy(file, target / file.name)
            place = target / "outbox.sqlite"
        if not place.exists():
            return {}
        rows: dict[int, str] = {}
        with contextlib.closing(sqlite3.connect(place, timeout=10)) as database:
            if copied and (said := database.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(said)
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                columns = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
                if {"seq", "kind", "payload"} <= columns:
                    rows.update(database.execute(f"SELECT seq, kind FROM {table}").fetchall())
        return rows

    def send(self, name: str, pid: str) -> None:
        """A signal to a process inside, which must be seen to have had its effect."""
        done = self.container.run("sh", "-c", f"kill -{name} {pid}; sleep 0.2; grep State /proc/{pid}/status")
        if ("stopped" in done.stdout) != (name == "STOP"):
            raise RuntimeError(f"SIG{name} had no effect on process {pid}: {done.stdout} {done.stderr}")

    def order(self, name: str) -> Path:
        """Tells the program inside to misbehave."""
        file = self.root / STATE / "proof" / name
        file.touch()
        return file


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
