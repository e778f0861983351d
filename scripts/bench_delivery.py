"""How much the guarantee costs: our delivery into a database beside a bare paho-mqtt client, in one interleaved run.

A: paho-mqtt, QoS 1, 20 messages in flight, one event a message, until the last PUBACK. Nothing is stored anywhere.
B: SyncClient, from ``emit()`` through the outbox and the broker into the ingest's database, until the last row is
   acknowledged, which is to say committed there.

A third figure is what a camera pays: the time of each ``emit()`` at 200 a second while all of it runs.

Both use the mosquitto of this machine on loopback. Prints one JSON object; ``--events`` and ``--rounds`` set the size.
Needs the packages of ``edgewright[cloud]`` and the program ``mosquitto``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edgewright.cloud import IngestConfig, IngestService
from edgewright.sync import SyncClient, SyncConfig

_PAYLOAD = {"zone": "door", "count": 3, "filler": "x" * 240}
_CAMERA_HZ, _CAMERA_EVENTS = 200, 2000
_BROKERS = ("mosquitto", "/usr/sbin/mosquitto")


def main() -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    program = next((found for name in _BROKERS if (found := shutil.which(name))), None)
    if program is None:
        print("mosquitto is not installed; install it with: apt-get install mosquitto", file=sys.stderr)
        return 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port = _free_port()
        (folder / "m.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        broker = subprocess.Popen([program, "-c", str(folder / "m.conf")], stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            print(json.dumps(_compare(folder, port, args.events, args.rounds), indent=2))
        finally:
            broker.terminate()
            broker.wait()
    return 0


def _compare(folder: Path, port: int, events: int, rounds: int) -> dict[str, object]:
    raw: list[float] = []
    ours: list[float] = []
    url = f"mqtt://127.0.0.1:{port}"
    with IngestService(IngestConfig(f"sqlite:///{folder}/fleet.db", url)) as ingest:
        ingest.wait_ready(10)
        for turn in range(rounds):
            raw.append(_raw(port, events))
            config = SyncConfig(f"cam-{turn}", url, folder / str(turn) / "outbox.db")
            ours.append(_ours(config, events))
        emits = _camera(SyncConfig("camera", url, folder / "camera" / "outbox.db"))
    ratios = [b / a for a, b in zip(raw, ours, strict=True)]
    emits.sort()
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "events": events,
        "rounds": rounds,
        "payload_bytes": len(json.dumps(_PAYLOAD)),
        "raw_paho_to_puback_per_s": round(statistics.median(raw)),
        "edgewright_to_database_per_s": round(statistics.median(ours)),
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "emit_us_at_200_hz": {
            name: round(1e6 * emits[min(len(emits) - 1, int(len(emits) * share))], 1)
            for name, share in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999), ("max", 1.0))
        },
    }


def _raw(port: int, events: int) -> float:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.max_inflight_messages_set(20)
    done = threading.Event()
    left = [events]

    def on_publish(*_: object) -> None:
        left[0] -= 1
        if not left[0]:
            done.set()

    client.on_publish = on_publish
    client.connect("127.0.0.1", port)
    client.loop_start()
    while not client.is_connected():
        time.sleep(0.001)
    payload = json.dumps(_PAYLOAD).encode()
    began = time.perf_counter()
    for _ in range(events):
        client.publish("bench/raw", payload, qos=1)
    done.wait(120)
    spent = time.perf_counter() - began
    client.disconnect()
    client.loop_stop()
    return events / spent


def _camera(config: SyncConfig) -> list[float]:
    spent: list[float] = []
    with SyncClient(config) as client:
        due = time.perf_counter()
        for _ in range(_CAMERA_EVENTS):
            due += 1 / _CAMERA_HZ
            time.sleep(max(0.0, due - time.perf_counter()))
            before = time.perf_counter()
            client.emit("zone_count", _PAYLOAD)
            spent.append(time.perf_counter() - before)
        client.drain(60)
    return spent


def _ours(config: SyncConfig, events: int) -> float:
    with SyncClient(config) as client:
        while not client.stats().connected:
            time.sleep(0.001)
        began = time.perf_counter()
        for n in range(events):
            while n - client.stats().committed > 1500 and n % 100 == 0:  # a camera is slower than this loop
                time.sleep(0.001)
            client.emit("zone_count", _PAYLOAD)
        if not client.drain(120) or client.stats().dropped:
            message = f"the events were not delivered: {client.stats()}"
            raise RuntimeError(message)
        return events / (time.perf_counter() - began)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
