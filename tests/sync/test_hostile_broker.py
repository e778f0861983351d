"""The publisher against a broker that errs on purpose: no row dies or waits for ever because of another, or of a mistake."""

from __future__ import annotations

import dataclasses
import json
import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from delivery import FAST_LINK, fast_config, wait_until
from delivery_fake import CLOSE, LATE, MQTT_5, MQTT_311, OK, SILENT, SWALLOW, FakeBroker, length

from edgewright.sync import LinkConfig, Priority, ResendConfig, SyncClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HASTY = ResendConfig(first_s=0.05, cap_s=0.1, stall_s=0.3)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., SyncClient]]:
    started: list[SyncClient] = []

    def make(broker: FakeBroker | None, **changes: Any) -> SyncClient:
        url = None if broker is None else broker.url
        client = SyncClient(fast_config(tmp_path, url, **{"resend": HASTY, **changes}))
        client.start()
        started.append(client)
        return client

    yield make
    for client in started:
        client.close()


def filled(start: Callable[..., SyncClient], *sizes: int) -> None:
    """An outbox with rows of these sizes, so that they travel together from the first message on."""
    client = start(None)
    for n, size in enumerate(sizes):
        client.emit("count", {"n": n, "f": "x" * size}, priority=Priority.ALARM)
    assert client.flush(10)
    client.close()


def epoch_of(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "outbox.db")) as db:
        return str(db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])


@pytest.mark.parametrize("code", [0x90, 0x99, 0x87, 0x97, 0x80], ids=hex)
def test_a_refusal_that_is_not_about_size_keeps_every_row(start: Callable[..., SyncClient], code: int) -> None:
    with FakeBroker(lambda _: code) as broker:
        client = start(broker)
        for n in range(100):
            client.emit("count", {"n": n}, priority=Priority.ALARM)
        wait_until(lambda: len(broker.messages) > 8)
        assert client.stats().dead == 0
        broker.verdict = lambda _: OK
        assert client.drain(20)
        assert sorted(broker.stored) == list(range(1, 101))


def test_a_broker_that_announces_a_tiny_packet_size_buries_nothing(
    start: Callable[..., SyncClient], caplog: pytest.LogCaptureFixture
) -> None:
    filled(start, *[10] * 20)
    with FakeBroker(properties=b"\x27\0\0\0\x64") as broker:
        client = start(broker)
        wait_until(lambda: "packets of 100 bytes only" in caplog.text)
        client.emit("count", {"n": 99})
        assert client.flush(10)
        assert (client.stats().dead, client.stats().pending, broker.messages) == (0, 21, [])


@pytest.mark.parametrize("level", [MQTT_311, MQTT_5], ids=["MQTT 3.1.1", "MQTT 5"])
@pytest.mark.parametrize("how", [SWALLOW, CLOSE, SILENT], ids=["swallows", "closes", "never confirms"])
def test_a_broker_that_fails_on_large_messages_without_saying_so_gets_smaller_ones(
    start: Callable[..., SyncClient], how: int, level: int
) -> None:
    filled(start, *[200] * 100)

    def greet(_number: int, offered: int) -> int:
        return OK if offered == level else 1

    with FakeBroker(lambda payload: how if len(payload) > 4000 else OK, greet=greet) as broker:
        client = start(broker)
        assert client.drain(40)
        assert client.stats().dead == 0
        assert sorted(set(broker.stored)) == list(range(1, 101))


@pytest.mark.parametrize(
    "how",
    [SWALLOW, CLOSE, SILENT, 0x99, 0x95],
    ids=["swallowed", "closes", "never confirmed", "refused for its content", "refused against the protocol"],
)
def test_one_row_that_never_gets_an_answer_holds_no_other_hostage(start: Callable[..., SyncClient], how: int) -> None:
    filled(start, *[10] * 20, 777, *[10] * 20)
    with FakeBroker(lambda payload: how if b"x" * 777 in payload else OK) as broker:
        client = start(broker)
        wait_until(lambda: len(set(broker.stored)) == 40)
        for n in range(20):  # and those that come later pass it by
            client.emit("count", {"n": n})
            assert client.flush(10)
        wait_until(lambda: len(set(broker.stored)) == 60)
        assert 21 not in broker.stored
        wait_until(lambda: client.stats().pending == 1)
        assert client.stats().dead == 0
        broker.verdict = lambda _: OK
        assert client.drain(20)


def test_a_broker_that_confirms_after_the_cloud_did_is_sent_the_rest(start: Callable[..., SyncClient]) -> None:
    """Nothing is under way any more when its confirmations make room, so nothing else wakes the rows that wait."""
    filled(start, *[10] * 20)
    with FakeBroker(lambda _: LATE, properties=b"\x21\0\2") as broker:  # Receive Maximum: two
        client = start(broker, resend=dataclasses.replace(HASTY, message_rows=2, stall_s=10.0))
        assert client.drain(20)
        assert sorted(broker.stored) == list(range(1, 21))


def test_nesting_that_the_cloud_could_not_read_is_refused_by_emit(start: Callable[..., SyncClient]) -> None:
    deep: dict[str, Any] = {}
    for _ in range(985):
        deep = {"a": deep}
    with FakeBroker() as broker:
        client = start(broker)
        client.emit("deep", deep)
        client.emit("good", {})
        assert client.drain(20)
        assert (client.stats().invalid, broker.stored) == (1, [1])


def test_a_retained_acknowledgement_deletes_nothing(start: Callable[..., SyncClient], tmp_path: Path) -> None:
    with FakeBroker(lambda _: SWALLOW) as broker:
        client = start(broker)
        client.emit("count", {"n": 1})
        wait_until(lambda: client.stats().at_broker == 1)
        everything = {"v": 1, "epoch": epoch_of(tmp_path), "stored": [[1, 2**62]]}
        broker.acknowledge(everything, retained=True)
        seen = len(broker.messages)
        wait_until(lambda: len(broker.messages) > seen + 2)
        assert client.stats().pending == 1
        broker.acknowledge(everything)  # a fresh one is believed: who may write there may delete
        assert client.drain(20)


def test_a_huge_packet_ends_the_connection_and_the_next_one_forbids_it(
    start: Callable[..., SyncClient], caplog: pytest.LogCaptureFixture
) -> None:
    with FakeBroker() as broker:
        client = start(broker)
        client.emit("count", {"n": 1})
        assert client.drain(20)
        broker.say(b"\x30" + length(120_000_000) + b"\0\x0eedge/cam-1/ack")
        wait_until(lambda: len(broker.connects) == 2)
        assert "120000016" in caplog.text or "120000000" in caplog.text
        announced = (1024 * 1024 + 4096).to_bytes(4, "big")
        assert b"\x27" + announced not in broker.connects[0][1]
        assert b"\x27" + announced in broker.connects[1][1]
        client.emit("count", {"n": 2})
        assert client.drain(20)


def test_silence_is_no_proof_of_an_old_broker(
    start: Callable[..., SyncClient], caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy in front of an MQTT 5 broker closes twice while it starts."""
    with FakeBroker(greet=lambda number, _: CLOSE if number <= 2 else OK) as broker:
        client = start(broker, link=LinkConfig(backoff_base_s=0.02, backoff_cap_s=0.1, reprobe_s=0.3))
        wait_until(lambda: client.stats().protocol == "MQTT 3.1.1")
        assert "has not answered MQTT 5" in caplog.text
        assert "does not speak" not in caplog.text
        wait_until(lambda: client.stats().protocol == "MQTT 5")
        client.emit("count", {"n": 1})
        assert client.drain(20)


def test_a_refusal_of_mqtt_5_is_remembered(start: Callable[..., SyncClient], caplog: pytest.LogCaptureFixture) -> None:
    with FakeBroker(greet=lambda _, level: OK if level == MQTT_311 else 1) as broker:
        client = start(broker, link=LinkConfig(backoff_base_s=0.02, backoff_cap_s=0.1, reprobe_s=0.1))
        for n in range(3):
            client.emit("count", {"n": n})
            assert client.drain(20)
            broker.hang_up()
            wait_until(lambda n=n: len(broker.connects) >= n + 3)
        assert [level for level, _ in broker.connects[:4]] == [MQTT_5, MQTT_311, MQTT_311, MQTT_311]
    assert "does not speak MQTT 5" in caplog.text


def test_a_second_process_under_one_name_is_named_and_does_not_flood_the_log(
    start: Callable[..., SyncClient], caplog: pytest.LogCaptureFixture
) -> None:
    with FakeBroker() as broker:
        client = start(broker, link=FAST_LINK)
        for n in range(5):
            client.emit("count", {"n": n})
            assert client.drain(20)
            broker.say(b"\xe0\x02\x8e\0")
            wait_until(lambda n=n: len(broker.connects) == n + 2)
    told = [r for r in caplog.records if "another process uses the client id edge-cam-1" in r.getMessage()]
    assert len([r for r in told if r.levelno >= logging.WARNING]) == 1


def test_a_conflict_starts_a_new_epoch_that_keeps_the_rows(
    start: Callable[..., SyncClient], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeBroker(lambda _: SWALLOW) as broker:
        client = start(broker)
        for n in range(10):
            client.emit("count", {"n": n})
        wait_until(lambda: client.stats().at_broker == 10)
        before = epoch_of(tmp_path)
        broker.acknowledge({"v": 1, "epoch": "f" * 32, "stored": [], "conflict": True})  # of another time: nothing
        broker.acknowledge({"v": 1, "epoch": before, "stored": [[1, 4]], "conflict": True})
        wait_until(lambda: epoch_of(tmp_path) != before)
        assert "new epoch" in caplog.text
        broker.verdict = lambda _: OK
        client.emit("count", {"n": 10})
        assert client.drain(20)
        assert {*range(5, 12)} <= set(broker.stored)
        with closing(sqlite3.connect(tmp_path / "outbox.db")) as db:
            assert db.execute("SELECT count(*) FROM row_2").fetchone() == (0,)
        assert json.dumps(client.stats().dead) == "0"
