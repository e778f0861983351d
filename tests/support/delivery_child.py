"""The processes that delivery tests kill: ``device`` emits at a rate, ``ingest`` stores.

A device writes the number of each event to ``emitted`` before it emits, and to ``committed`` once the outbox has
committed it; the files outlive its death.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delivery import FAST_LINK, append_line, fast_config

from edgewright.cloud import IngestConfig, IngestService
from edgewright.sync import SyncClient
from edgewright.sync.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.sync import Outbox, Record
    from edgewright.sync.address import BrokerAddress
    from edgewright.sync.flight import Shipment


class DeleteOnPuback(Publisher):
    """THE NEGATIVE CONTROL: what most MQTT clients do. It takes the broker for the database and loses rows."""

    def at_broker(self, shipment: Shipment) -> None:
        rows = [(priority, seq) for seq, priority in shipment.rows.items()]
        self._flight.forget([seq for _, seq in rows])
        self._more = True
        self.outbox.stored(self._epoch, rows)


class ControlClient(SyncClient):
    def _make_publisher(self, outbox: Outbox, address: BrokerAddress) -> Publisher:
        return DeleteOnPuback(outbox, address, self._config.link, self._config.resend)


def device(settings: dict[str, Any]) -> None:
    folder = Path(settings["folder"])
    emitted = os.open(folder / "emitted", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    committed = os.open(folder / "committed", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def on_commit(records: Sequence[Record], epoch: str) -> None:
        for record in records:
            number = json.loads(record.payload).get("n")
            append_line(committed, f"{epoch}/{record.seq}/{number}")

    kind = ControlClient if settings["mode"] == "puback" else SyncClient
    client = kind(fast_config(folder, settings["broker"]), on_commit=on_commit)
    commands: list[str] = []

    def listen() -> None:
        commands.extend(iter(lambda: sys.stdin.readline().strip() or "drain", "drain"))
        commands.append("drain")

    threading.Thread(target=listen, daemon=True).start()
    with client:
        print("started", flush=True)
        for number in range(settings["first"], settings["first"] + settings["most"]):
            if "drain" in commands:
                break
            append_line(emitted, str(number))
            client.emit("count", {"n": number})
            time.sleep(1 / settings["rate"])
        client.flush(10)
        print("emitted", flush=True)
        while "drain" not in commands and client.stats().pending != client.stats().at_broker:
            time.sleep(0.01)
        print("confirmed", flush=True)
        while "drain" not in commands:
            time.sleep(0.01)
        drained, stats = client.drain(30), client.stats()
        print(json.dumps({"drained": drained, "resent": stats.resent, "dropped": stats.dropped}), flush=True)


def ingest(settings: dict[str, Any]) -> None:
    config = IngestConfig(f"sqlite:///{settings['folder']}/fleet.db", settings["broker"], link=FAST_LINK, retry_s=0.05)
    with IngestService(config) as service:
        while not service.wait_ready(0.1):
            pass
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    {"device": device, "ingest": ingest}[sys.argv[1]](json.loads(sys.argv[2]))
