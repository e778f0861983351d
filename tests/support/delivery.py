"""Real parts for delivery tests: a mosquitto that can be killed, and children that can be killed too."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.sync import LinkConfig, OutboxConfig, ResendConfig, SyncConfig

if TYPE_CHECKING:
    from collections.abc import Callable

FAST_LINK = LinkConfig(keepalive_s=5, connect_timeout_s=1.0, backoff_base_s=0.02, backoff_cap_s=0.2)
FAST_RESEND = ResendConfig(first_s=0.3, cap_s=0.6, stall_s=1.0)
FAST_OUTBOX = OutboxConfig(flush_interval_s=0.01)

_MOSQUITTO = "/usr/sbin/mosquitto"
_CHILD = Path(__file__).with_name("delivery_child.py")


def fast_config(folder: Path, broker: str | None, device: str = "cam-1", **changes: Any) -> SyncConfig:
    settings = {"outbox": FAST_OUTBOX, "link": FAST_LINK, "resend": FAST_RESEND, **changes}
    return SyncConfig(device, broker, folder / "outbox.db", **settings)


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Returns once ``condition`` holds; the bound only ends a test that would hang."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {timeout_s} s: {condition}")
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Mosquitto:
    """A broker of its own folder and port; persistence is on and saves rarely, as in its default settings."""

    def __init__(self, folder: Path, extra: str = "allow_anonymous true", listener: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "db").mkdir(parents=True)
        lines = [
            "user root",
            "persistence true",
            f"persistence_location {folder}/db/",
            f"listener {self.port} 127.0.0.1",
            listener,
            extra,
        ]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> Mosquitto:
        with (self.folder / "log").open("ab") as log:
            command = [_MOSQUITTO, "-c", str(self.folder / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: listens(self.port) or self._process is None or self._process.poll() is not None)
        if self._process.poll() is not None:
            raise AssertionError((self.folder / "log").read_text())
        return self

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(10)
            self._process = None

    def __enter__(self) -> Mosquitto:  # noqa: PYI034 - Self needs Python 3.11
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


class Child:
    """A process with a role in ``delivery_child.py``; it talks in lines and ends when its input does."""

    def __init__(self, role: str, folder: Path, **settings: Any) -> None:
        arguments = [sys.executable, str(_CHILD), role, json.dumps({"folder": str(folder), **settings})]
        self._log = (folder / f"{role}.log").open("ab")
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)
        self._read = b""

    def line(self, timeout_s: float = 60.0) -> str:
        """The next line; the bound only ends a test that would hang."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._read:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self._process.stdout], [], [], left)[0]
            more = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            what = "ended early" if ready else f"said nothing for {timeout_s} s"
            assert more, f"the child {what}: see {self._log.name}: {Path(self._log.name).read_text()[-2000:]}"
            self._read += more
        text, _, self._read = self._read.partition(b"\n")
        return text.decode().strip()

    def tell(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait(20)
        for stream in (self._process.stdin, self._process.stdout, self._log):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()

    def __enter__(self) -> Child:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def ledger(path: Path) -> list[str]:
    """The whole lines of a file that another process appends to."""
    if not path.exists():
        return []
    return path.read_text().rpartition("\n")[0].split()


def append_line(descriptor: int, text: str) -> None:
    os.write(descriptor, text.encode() + b"\n")
