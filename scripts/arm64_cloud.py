"""The other end of the wire for ``scripts/arm64``: a real mosquitto and ``edgewright ingest``, both on this machine."""

from __future__ import annotations

import contextlib
import getpass
import json
import signal
import socket
import sqlite3
import sys
import time
from typing import TYPE_CHECKING, Any

from arm64_root import Child, Failed, tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Cloud", "cloud", "stored_events"]

READY_S = 60.0


class Cloud:
    """Broker and ingest while they run.

    Attributes:
        url: The broker's.
        database: The SQLite file.
        summary: What ingest said at its end; empty before.
    """

    def __init__(self, url: str, database: Path) -> None:
        """Remembers where they are."""
        self.url = url
        self.database = database
        self.summary: dict[str, Any] = {}


@contextlib.contextmanager
def cloud(folder: Path) -> Iterator[Cloud]:
    """Both, ended on leaving; then ``summary`` is there.

    Raises:
        Failed: One of them does not start or ends in error.
    """
    port = _free_port()
    (folder / "mosquitto").mkdir()
    lines = [f"user {getpass.getuser()}", f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence true"]
    lines += [f"persistence_location {folder / 'mosquitto'}/", "autosave_on_changes true", "autosave_interval 1"]
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = Cloud(f"mqtt://127.0.0.1:{port}", folder / "fleet.db")
    ready = folder / "ready"
    words = [
        "ingest",
        "--db",
        f"sqlite:///{found.database}",
        "--broker",
        found.url,
        "--ready-file",
        str(ready),
        "--json",
    ]
    with Child([tool("mosquitto"), "-c", config], log=folder / "mosquitto.log", out=None) as broker:
        _until(lambda: _listens(port), broker, "mosquitto")
        ingest = Child([sys.executable, "-m", "edgewright.cli.main", *words], log=folder / "ingest.log")
        with ingest:
            _until(ready.is_file, ingest, "edgewright ingest")
            yield found
            ingest.process.send_signal(signal.SIGINT)
            out, _ = ingest.process.communicate(timeout=READY_S)
            if ingest.process.returncode:
                raise Failed(f"edgewright ingest ended with {ingest.process.returncode}: {ingest.said[-400:]}")
            found.summary = json.loads(out)


def stored_events(database: Path, device: str) -> list[dict[str, Any]]:
    """The payloads of one device, in the order in which it sent them."""
    query = "SELECT payload FROM events WHERE device = ? ORDER BY epoch, seq"
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        return [json.loads(payload) for (payload,) in db.execute(query, (device,))]


def _until(condition: Any, child: Child, name: str) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        if child.process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"{name} did not start: {child.said[-400:]}")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
