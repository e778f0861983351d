"""The container of scripts/systemd in which the board installs the service itself, and the cloud beside it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
from typing import TYPE_CHECKING

from systemd_container import ENVIRONMENT, ROOT, install_wheel, step
from systemd_stage import RTSP_PORT, Stage, put

if TYPE_CHECKING:
    import argparse
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from systemd_stage import Told

WATCHDOG_S = 6
BROKER_PORT = 1883
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


class Proof(Stage):
    """The container in which the board installs the service itself."""

    def __init__(
        self, args: argparse.Namespace, told: Told, kept: Path, work: Path, stack: contextlib.ExitStack
    ) -> None:
        """Makes all of it; nothing is booted yet."""
        super().__init__(told, kept, work, stack, args.clip_h264)
        self._args = args
        install_wheel(self.root, work / "wheel")
        self._prepare()

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

    def others(self) -> dict[str, str]:
        """The other services and their processes."""
        names = ("systemd-journald", "dbus", "systemd-logind")
        return {name: self.container.run("systemctl", "show", name, "-P", "MainPID").stdout.strip() for name in names}

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
