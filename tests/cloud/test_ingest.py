"""The ingest by a real broker and by the embedded one: both must give the same result."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from delivery import FAST_LINK, Mosquitto, fast_config, free_port, wait_until

from edgewright.cloud import (
    BrokerError,
    EmbeddedBroker,
    IngestConfig,
    IngestError,
    IngestService,
    StoreError,
    StoreUrlError,
    open_store,
)
from edgewright.cloud import ingest as ingest_module
from edgewright.sync import SyncClient, SyncConfig, SyncConfigError
from edgewright.sync.address import parse_broker
from edgewright.sync.connection import Message, SessionConfig
from edgewright.sync.link import Link
from edgewright.sync.wire import ack_topic, events_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.cloud import Store

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


class Watched:
    """The database, with a commit that fails or waits, and with insertions that may hit a defect."""

    def __init__(self, store: Store, events: list[str]) -> None:
        self._inner = store
        self.failures = 0
        self.poison = ""
        self.inserted: list[list[int]] = []
        self.committing = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self._events = events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def insert(self, device: str, epoch: str, records: Any, received_at: float) -> Any:
        if any(record.kind == self.poison for record in records):
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        self.inserted.append([record.seq for record in records])
        return self._inner.insert(device, epoch, records, received_at)

    def commit(self) -> None:
        self.committing.set()
        assert self.go_on.wait(20)
        if self.failures:
            self.failures -= 1
            raise StoreError("the disk is on fire")
        self._inner.commit()
        self._events.append("committed")


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[IngestService, Watched]]:
    """An ingest on mosquitto whose database is watched from the first turn on."""
    opened: list[Watched] = []

    def open_watched(url: str) -> Watched:
        opened.append(Watched(open_store(url), []))
        return opened[-1]

    monkeypatch.setattr(ingest_module, "open_store", open_watched)
    with Mosquitto(tmp_path / "broker") as broker:
        config = IngestConfig(f"sqlite:///{tmp_path}/fleet.db", broker.url, link=FAST_LINK, retry_s=0.02)
        with IngestService(config) as running:
            assert running.wait_ready(20)
            yield running, opened[0]


def watch_link(service: IngestService) -> list[str]:
    """What the ingest says to the broker from now on, in order."""
    said: list[str] = []
    link = service._link
    publish, ack = link.publish, link.ack
    link.publish = lambda topic, payload, qos: (said.append("acknowledged"), publish(topic, payload, qos))[1]
    link.ack = lambda incoming: (said.append("confirmed"), ack(incoming))[1]
    return said


def test_nobody_hears_of_rows_before_their_commit(held: tuple[IngestService, Watched]) -> None:
    """Neither the device nor the broker; a commit that fails is tried again with the same rows."""
    service, store = held
    said = watch_link(service)
    peer = Peer(service.broker_url, "cam-1")
    store.go_on.clear()
    store.failures = 2
    peer.send(events_topic("cam-1"), message("cam-1", 1, 2))
    assert store.committing.wait(20)
    peer.link.step(0.1)
    assert (said, peer.acks) == ([], [])
    store.go_on.set()
    wait_until(lambda: service.stats().failures == 2)
    peer.until(lambda: len(peer.acks))
    assert store.inserted == [[1, 2]] * 3
    assert store._events == ["committed"]
    assert said == ["acknowledged", "confirmed"]
    peer.link.close()


def test_nothing_is_said_of_a_commit_that_never_succeeds(held: tuple[IngestService, Watched], tmp_path: Path) -> None:
    service, store = held
    said = watch_link(service)
    peer = Peer(service.broker_url, "cam-1")
    store.failures = 10**6
    peer.send(events_topic("cam-1"), message("cam-1", 1))
    wait_until(lambda: service.stats().failures > 3)
    service.stop()
    assert (said, seqs(tmp_path), service.stats().stored) == ([], [], 0)
    peer.link.close()


def test_a_message_that_hits_a_defect_stands_alone(held: tuple[IngestService, Watched], tmp_path: Path) -> None:
    service, store = held
    said = watch_link(service)
    peer = Peer(service.broker_url, "cam-1")
    store.poison = "poison"
    store.go_on.clear()
    peer.send(events_topic("cam-1"), message("cam-1", 1))  # this holds the ingest, so that the others go together
    assert store.committing.wait(20)
    for batch in (message("cam-1", 2), message("cam-1", 3, kind="poison"), message("cam-1", 4)):
        peer.send(events_topic("cam-1"), batch)
    store.go_on.set()
    wait_until(lambda: service.stats().malformed == 1)
    wait_until(lambda: said.count("confirmed") == 4)
    peer.until(lambda: sum(len(ack["stored"]) for ack in peer.acks) >= 3)
    assert seqs(tmp_path) == [1, 2, 4]
    assert [3, 3] not in [pair for ack in peer.acks for pair in ack["stored"]]
    peer.link.close()


@pytest.mark.parametrize(
    "data",
    [
        b'{"class":2,"reason":"\\ud800","ranges":[[1,1,1]]}',
        b'{"class":2,"reason":"x","ranges":[[1,4611686018427387904,4611686018427387904],[2,4611686018427387904,9]]}',
        b'{"a":' * 900 + b"{}" + b"}" * 900,
        b'{"a":' * 986 + b"{}" + b"}" * 986,
    ],
    ids=["surrogate", "huge", "deep", "deeper"],
)
def test_no_hostile_record_stops_the_others(service: IngestService, peer: Peer, tmp_path: Path, data: bytes) -> None:
    head = (
        f'{{"v":1,"source":"edge/cam-1/{"f" * 32}","events":[{{"id":"9","kind":"outbox.tombstone","class":0,"time":1,'
    )
    peer.send(events_topic("cam-1"), head.encode() + b'"data":' + data + b"}]}")
    peer.send(events_topic("cam-1"), message("cam-1", 1))
    peer.until(lambda: any(ack["epoch"] == EPOCH for ack in peer.acks))
    assert service.stats().messages == 2
    store = open_store(f"sqlite:///{tmp_path}/fleet.db")
    assert store.devices()
    store.close()


def test_a_copied_outbox_loses_nothing_and_is_told(
    service: IngestService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SyncClient(fast_config(tmp_path / "x", None)) as client:
        client.emit("count", {"who": "before", "n": 0})
        assert client.flush(10)
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    for who in "xyx":
        with SyncClient(fast_config(tmp_path / who, service.broker_url)) as client:
            for n in range(5):
                client.emit("count", {"who": who, "n": n})
            assert client.drain(20)
            assert client.stats().pending == 0
    store = open_store(f"sqlite:///{tmp_path}/fleet.db")
    found = [(event.data["who"], event.data["n"]) for event in store.events() if event.kind == "count"]
    assert sorted(found) == sorted([("before", 0), *(("x", n) for n in [*range(5)] * 2), *(("y", n) for n in range(5))])
    assert len(store.devices()) == 2
    assert all(store.missing(state.device, state.epoch) == [] and state.lost == 0 for state in store.devices())
    store.close()
    assert service.stats().conflicts >= 5
    assert "ALARM: device cam-1" in caplog.text


def test_the_database_may_be_deleted_under_the_ingest(service: IngestService, tmp_path: Path) -> None:
    with SyncClient(fast_config(tmp_path, service.broker_url)) as client:
        client.emit("count", {"n": 0})
        assert client.drain(20)
        for found in tmp_path.glob("fleet.db*"):
            found.unlink()
        client.emit("count", {"n": 1})
        assert client.drain(20)
    assert seqs(tmp_path) == [2]


def test_junk_does_not_flood_the_log(service: IngestService, peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        peer.send(events_topic("cam-1"), b"junk")
    wait_until(lambda: service.stats().malformed == 50)
    assert len([r for r in caplog.records if "is ignored" in r.getMessage()]) == 1


def test_settings_do_not_show_a_password_and_a_service_starts_once(service: IngestService) -> None:
    url = "mqtt://me:sesame@h"
    assert "sesame" not in repr(IngestConfig("sqlite:///x", url))
    assert "sesame" not in repr(SyncConfig("cam", url, Path("x")))
    with pytest.raises(IngestError, match="before"):
        service.start()


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
