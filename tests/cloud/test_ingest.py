"""The ingest by a real broker and by the embedded one: both must give the same result."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest
from delivery import FAST_LINK, Mosquitto, fast_config, free_port, wait_until

from edgewright.cloud import (
    BrokerError,
    EmbeddedBroker,
    IngestConfig,
    IngestError,
    IngestService,
    StoreUrlError,
    open_store,
)
from edgewright.sync import SyncClient, SyncConfigError
from edgewright.sync.address import parse_broker
from edgewright.sync.connection import Message, SessionConfig
from edgewright.sync.link import Link
from edgewright.sync.topics import ack_topic, events_topic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EPOCH = "e" * 32


@pytest.fixture(params=["mosquitto", "embedded"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IngestService]:
    """An ingest that runs, on either kind of broker."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(Mosquitto(tmp_path / "broker")).url if request.param == "mosquitto" else None
        config = IngestConfig(f"sqlite:///{tmp_path}/fleet.db", url, link=FAST_LINK, retry_s=0.02)
        running = stack.enter_context(IngestService(config))
        assert running.wait_ready(20)
        yield running


class Peer:
    """A device of our own making, which may send anything."""

    def __init__(self, url: str, device: str) -> None:
        self.link = Link(parse_broker(url), FAST_LINK, SessionConfig(f"peer-{device}", ack_topic(device), qos=0))
        self.acks: list[dict[str, Any]] = []
        self.until(lambda: self.link.ready)

    def until(self, condition: Any) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            for event in self.link.step(0.05):
                if isinstance(event, Message):
                    self.acks.append(json.loads(event.payload))

    def send(self, topic: str, message: bytes | dict[str, Any]) -> None:
        assert self.link.publish(topic, message if isinstance(message, bytes) else json.dumps(message).encode(), 1)
        self.link.step(0)


def message(device: str, *seqs: int, **change: Any) -> dict[str, Any]:
    events = [{"id": str(seq), "kind": "k", "class": 2, "time": 1.0, "data": {"n": seq}} | change for seq in seqs]
    return {"v": 1, "source": f"edge/{device}/{EPOCH}", "events": events}


@pytest.fixture
def peer(service: IngestService) -> Iterator[Peer]:
    made = Peer(service.broker_url, "cam-1")
    yield made
    made.link.close()


def seqs(tmp_path: Path) -> list[int]:
    store = open_store(f"sqlite:///{tmp_path}/fleet.db")
    found = [event.seq for event in store.events()]
    store.close()
    return found


def test_events_are_stored_once_and_acknowledged_each_time(service: IngestService, peer: Peer, tmp_path: Path) -> None:
    for _ in range(2):
        peer.send(events_topic("cam-1"), message("cam-1", 1, 2, 3, 7))
        peer.until(lambda: len(peer.acks))
        assert peer.acks.pop() == {"v": 1, "epoch": EPOCH, "stored": [[1, 3], [7, 7]], "rejected": []}
    assert seqs(tmp_path) == [1, 2, 3, 7]
    stats = service.stats()
    assert (stats.stored, stats.duplicates, stats.messages) == (4, 4, 2)


def test_a_device_speaks_for_itself_only(service: IngestService, peer: Peer, tmp_path: Path) -> None:
    peer.send(events_topic("cam-1"), message("cam-2", 1))
    peer.send(events_topic("cam-2"), message("cam-1", 2))
    wait_until(lambda: service.stats().mismatched == 2)
    peer.send(events_topic("cam-1"), message("cam-1", 3))
    peer.until(lambda: len(peer.acks))
    assert peer.acks == [{"v": 1, "epoch": EPOCH, "stored": [[3, 3]], "rejected": []}]
    assert seqs(tmp_path) == [3]


def test_what_cannot_be_used_is_counted_and_what_can_be_named_is_refused(
    service: IngestService, peer: Peer, tmp_path: Path
) -> None:
    for bad in (b"", b"\xff\x00", b"{}", b"[" * 5000, b'{"v":1}', {"v": 2}):
        peer.send(events_topic("cam-1"), bad)
    wait_until(lambda: service.stats().malformed == 6)
    mixed = message("cam-1", 1)
    mixed["events"] += message("cam-1", 2, kind="not a kind")["events"]
    peer.send(events_topic("cam-1"), mixed)
    peer.until(lambda: len(peer.acks))
    (ack,) = peer.acks
    assert ack["stored"] == [[1, 1]]
    assert ack["rejected"] == [[2, "kind is missing or malformed"]]
    assert seqs(tmp_path) == [1]


def test_nothing_is_acknowledged_while_the_database_refuses(service: IngestService, peer: Peer, tmp_path: Path) -> None:
    service._store._db.execute("PRAGMA busy_timeout=10")
    other = sqlite3.connect(tmp_path / "fleet.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    peer.send(events_topic("cam-1"), message("cam-1", 1))
    wait_until(lambda: service.stats().failures > 3)
    peer.link.step(0.1)
    assert peer.acks == []
    other.execute("ROLLBACK")
    other.close()
    peer.until(lambda: len(peer.acks))
    assert seqs(tmp_path) == [1]


def test_a_refused_record_leaves_the_device_with_a_tombstone(service: IngestService, tmp_path: Path) -> None:
    inner = service._parse

    def pick(incoming: Message) -> Any:
        return inner(
            Message(
                incoming.topic,
                incoming.payload.replace(b'"poison"', b'"po son"'),
                incoming.mid,
                incoming.qos,
                incoming.connection,
            )
        )

    service._parse = pick
    with SyncClient(fast_config(tmp_path, service.broker_url)) as client:
        for kind in ("fine", "poison", "fine"):
            client.emit(kind, {})
        assert client.drain(20)
        assert client.stats().dead == 1
    store = open_store(f"sqlite:///{tmp_path}/fleet.db")
    assert store.count() == 2
    assert [(loss.first, loss.reason) for loss in store.losses("cam-1")] == [(2, "dead: refused by the cloud")]
    store.close()


def test_devices_side_by_side_and_again_after_a_restart(service: IngestService, tmp_path: Path) -> None:
    for turn in range(2):
        with contextlib.ExitStack() as stack:
            clients = []
            for device in ("cam-1", "cam-2"):
                config = fast_config(tmp_path / device, service.broker_url, device)
                clients.append(stack.enter_context(SyncClient(config)))
            for client in clients:
                for n in range(200):
                    client.emit("count", {"n": turn * 1000 + n})
            assert all(client.drain(20) for client in clients)
    store = open_store(f"sqlite:///{tmp_path}/fleet.db")
    assert (store.count("cam-1"), store.count("cam-2")) == (400, 400)
    assert [(state.events, state.max_seq) for state in store.devices()] == [(400, 400), (400, 400)]
    store.close()


def test_a_wrong_setting_opens_nothing(tmp_path: Path) -> None:
    with pytest.raises(SyncConfigError):
        IngestService(IngestConfig(f"sqlite:///{tmp_path}/fleet.db", "nonsense")).start()
    with pytest.raises(StoreUrlError):
        IngestService(IngestConfig("postgresql://h/x")).start()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(IngestError, match="before start"):
        _ = IngestService(IngestConfig("sqlite:///x")).broker_url
    IngestService(IngestConfig("sqlite:///x")).stop()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with EmbeddedBroker(free_port()) as broker:
        port = parse_broker(broker.url).port
        with pytest.raises(BrokerError, match=f"port {port}"):
            EmbeddedBroker(port).start()
        with pytest.raises(BrokerError, match="--port 0"):
            IngestService(IngestConfig(f"sqlite:///{tmp_path}/fleet.db", port=port)).start()
    with EmbeddedBroker(port):
        pass
    broker.stop()
