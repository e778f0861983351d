"""The publisher against a real broker: what it does when the broker refuses, stalls, lies or is not there."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from delivery import FAST_LINK, FAST_OUTBOX, Mosquitto, fast_config, free_port, wait_until

from edgewright.cloud import EmbeddedBroker, IngestConfig, IngestService, count_events, open_store
from edgewright.sync import OutboxConfig, Priority, SyncClient, SyncConfigError, SyncError, SyncStats
from edgewright.sync.store import connect_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    started: list[Mosquitto] = []

    def start(extra: str = "allow_anonymous true", listener: str = "") -> Mosquitto:
        started.append(Mosquitto(tmp_path / f"broker{len(started)}", extra, listener).start())
        return started[-1]

    yield start
    for broker in started:
        broker.kill()


def ingest(folder: Path, url: str) -> IngestService:
    return IngestService(IngestConfig(f"sqlite:///{folder}/fleet.db", url, link=FAST_LINK, retry_s=0.05))


def test_events_arrive_by_mqtt_5(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    url = mosquitto().url
    with ingest(tmp_path, url) as service, SyncClient(fast_config(tmp_path, url)) as client:
        for n in range(500):
            client.emit("count", {"n": n})
        assert client.drain(20)
        stats = client.stats()
        assert (stats.emitted, stats.committed, stats.stored, stats.pending) == (500, 500, 500, 0)
        assert stats.protocol == "MQTT 5"
        assert stats.connected
        assert service.stats().stored == 500
    store = open_store(f"sqlite:///{tmp_path}/fleet.db")
    assert [event.data["n"] for event in store.events("cam-1")] == list(range(500))
    store.close()


def test_without_a_broker_everything_is_kept(tmp_path: Path) -> None:
    with SyncClient(fast_config(tmp_path, None)) as client:
        client.emit("count", {"n": 1})
        assert client.flush(10)
        assert not client.drain(0.05)
        assert client.stats().pending == 1
    assert client.stats().pending == 1
    client.close()


def test_misuse_is_named(tmp_path: Path) -> None:
    client = SyncClient(fast_config(tmp_path, None))
    assert client.stats() == SyncStats()
    client.close()
    for use in (lambda: client.emit("a", {}), lambda: client.drain(1), lambda: client.flush(1)):
        with pytest.raises(SyncError, match="start"):
            use()
    with client, pytest.raises(SyncError, match="before"):
        client.start()


def test_an_unreachable_broker_is_warned_about_once_and_delivery_follows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Mosquitto(tmp_path / "late")
    with SyncClient(fast_config(tmp_path, broker.url)) as client:
        for n in range(50):
            client.emit("count", {"n": n})
        assert client.flush(10)
        wait_until(lambda: "no connection" in caplog.text)
        assert client.stats().pending == 50
        with broker, ingest(tmp_path, broker.url):
            assert client.drain(20)
            warnings = [r for r in caplog.records if "no connection" in r.getMessage() and r.levelno == logging.WARNING]
            assert len(warnings) == 1
            assert "Connection refused" in warnings[0].getMessage()


def test_an_outage_costs_no_processor_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    link = type(FAST_LINK)(backoff_base_s=1000.0, backoff_cap_s=1000.0)
    with SyncClient(fast_config(tmp_path, f"mqtt://127.0.0.1:{free_port()}", link=link)) as client:
        wait_until(lambda: "no connection" in caplog.text)
        turns: list[int] = []
        inner = client._publisher._turn
        client._publisher._turn = lambda: (turns.append(1), inner())
        for n in range(20):
            client.emit("count", {"n": n})
            assert client.flush(10)
        # A turn for each commit, and a few more: a thread that does not wait would make thousands.
        assert len(turns) < 200


@pytest.mark.parametrize("host", ["no-such-host.invalid", "256.1.1.1"])
def test_a_name_that_does_not_resolve_is_no_error_of_the_application(
    tmp_path: Path, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    with SyncClient(fast_config(tmp_path, f"mqtt://{host}")) as client:
        client.emit("count", {"n": 1})
        wait_until(lambda: "no connection" in caplog.text)
        assert client.flush(10)
        assert client.stats().pending == 1


def test_a_hanging_server_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        link = type(FAST_LINK)(connect_timeout_s=0.1, backoff_base_s=0.01, backoff_cap_s=0.05)
        with SyncClient(fast_config(tmp_path, url, link=link)) as client:
            client.emit("count", {"n": 1})
            wait_until(lambda: "did not answer in time" in caplog.text)


def test_bytes_that_are_no_mqtt_cost_a_connection_and_nothing_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\xff\xff\xff\xff\xff",
        b"\x20\x02\x00",
        b"\xff" * 50,
        b"\x20\x00",
    ]
    served: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    peer, _ = server.accept()
                except TimeoutError:
                    continue
                with peer:
                    peer.recv(100)
                    peer.sendall(answers[len(served) % len(answers)])
                    served.append(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with SyncClient(fast_config(tmp_path, f"mqtt://127.0.0.1:{server.getsockname()[1]}")) as client:
                client.emit("count", {"n": 1})
                wait_until(lambda: len(served) > 4 * len(answers))
                assert client.flush(10)
                assert client.stats().pending == 1
        finally:
            ended.set()
            thread.join()
    assert "unexpected error" not in caplog.text


def test_a_broker_without_mqtt_5_is_used_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        EmbeddedBroker() as broker,
        ingest(tmp_path, broker.url),
        SyncClient(fast_config(tmp_path, broker.url)) as client,
    ):
        client.emit("count", {"n": 1})
        assert client.drain(20)
        assert client.stats().protocol == "MQTT 3.1.1"
    assert "does not speak MQTT 5" in caplog.text


def test_a_record_too_large_for_the_broker_dies_and_the_others_flow(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    url = mosquitto("allow_anonymous true\nmax_packet_size 4000").url
    with ingest(tmp_path, url), SyncClient(fast_config(tmp_path, url)) as client:
        for n in range(60):
            client.emit("count", {"n": n, "f": "x" * (5000 if n in {0, 30, 59} else 200)})
        assert client.drain(20)
        assert client.stats().dead == 3
        assert client.stats().resent == 0
    store = open_store(f"sqlite:///{tmp_path}/fleet.db")
    assert store.count() == 57
    (state,) = store.devices()
    assert state.lost == 3
    assert {loss.reason for loss in store.losses("cam-1")} == {"dead: too large for the broker"}
    assert store.missing("cam-1", state.epoch) == []
    store.close()


def test_a_broker_that_stops_confirming_is_left_and_found_again(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto()
    with ingest(tmp_path, broker.url), SyncClient(fast_config(tmp_path, broker.url)) as client:
        client.emit("count", {"n": 0})
        assert client.drain(20)
        broker.send(signal.SIGSTOP)
        client.emit("count", {"n": 1})
        wait_until(lambda: "no confirmation" in caplog.text)
        broker.send(signal.SIGCONT)
        assert client.drain(20)
    assert count_events(f"sqlite:///{tmp_path}/fleet.db") == 2


def test_nobody_listening_is_said_and_nothing_is_lost(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], caplog: pytest.LogCaptureFixture
) -> None:
    url = mosquitto().url
    with SyncClient(fast_config(tmp_path, url)) as client:
        client.emit("count", {"n": 0})
        wait_until(lambda: "nobody listens" in caplog.text)
        wait_until(lambda: client.stats().resent > 1)
        assert client.stats().at_broker == 1
        with ingest(tmp_path, url):
            assert client.drain(20)


def test_an_access_rule_that_refuses_events_keeps_them(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], caplog: pytest.LogCaptureFixture
) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic read edge/#\n")
    broker = mosquitto(f"allow_anonymous true\nacl_file {rules}")
    with SyncClient(fast_config(tmp_path, broker.url)) as client:
        client.emit("count", {"n": 0})
        wait_until(lambda: "refuses our events" in caplog.text)
        assert client.stats().dead == 0
        rules.write_text("topic readwrite edge/#\n")
        broker.send(signal.SIGHUP)
        with ingest(tmp_path, broker.url):
            assert client.drain(20)


def test_a_refused_password_is_said_without_showing_it(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "cam", "right"], check=True)
    broker = mosquitto(f"allow_anonymous false\npassword_file {passwords}")
    wrong = broker.url.replace("mqtt://", "mqtt://cam:sesame@")
    with SyncClient(fast_config(tmp_path, wrong)) as client:
        client.emit("count", {"n": 0})
        wait_until(lambda: "refuses this client" in caplog.text)
        assert "sesame" not in repr(client._publisher.__dict__)
    assert "sesame" not in caplog.text
    assert "3.1.1" not in caplog.text
    right = broker.url.replace("mqtt://", "mqtt://cam:right@")
    with ingest(tmp_path, right), SyncClient(fast_config(tmp_path, right)) as client:
        assert client.drain(20)


@pytest.fixture
def tls(tmp_path: Path, mosquitto: Callable[..., Mosquitto], request: pytest.FixtureRequest) -> tuple[str, trustme.CA]:
    """A broker that demands certificates: its URL and the authority behind it."""
    authority = trustme.CA()
    server = authority.issue_cert(getattr(request, "param", "127.0.0.1"))
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    server.private_key_pem.write_to_path(tmp_path / "server.key")
    port = free_port()
    lines = [
        f"listener {port} 127.0.0.1",
        f"cafile {tmp_path}/ca.pem",
        f"certfile {tmp_path}/server.pem",
        f"keyfile {tmp_path}/server.key",
        "require_certificate true",
    ]
    mosquitto(listener="allow_anonymous true\n" + "\n".join(lines))
    return f"mqtts://127.0.0.1:{port}", authority


def test_tls_with_the_right_authority_and_certificate_delivers(tmp_path: Path, tls: tuple[str, trustme.CA]) -> None:
    url, authority = tls
    authority.issue_cert("cam-1", common_name="cam-1").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "cam.pem"
    )
    full = f"{url}?ca={tmp_path}/ca.pem&cert={tmp_path}/cam.pem"
    with ingest(tmp_path, full), SyncClient(fast_config(tmp_path, full)) as client:
        for n in range(200):
            client.emit("count", {"n": n})
        assert client.drain(20)


@pytest.mark.parametrize(
    ("flaw", "tls"),
    [
        ("wrong authority", "127.0.0.1"),
        ("no authority", "127.0.0.1"),
        ("no certificate", "127.0.0.1"),
        ("wrong host", "broker.example"),
    ],
    indirect=["tls"],
)
def test_tls_that_cannot_be_trusted_is_refused_and_reported(
    tmp_path: Path, tls: tuple[str, trustme.CA], caplog: pytest.LogCaptureFixture, flaw: str
) -> None:
    url, authority = tls
    authority.issue_cert("cam-1", common_name="cam-1").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "cam.pem"
    )
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    query = {
        "wrong authority": f"?ca={tmp_path}/other.pem&cert={tmp_path}/cam.pem",
        "no authority": f"?cert={tmp_path}/cam.pem",
        "wrong host": f"?ca={tmp_path}/ca.pem&cert={tmp_path}/cam.pem",
        "no certificate": f"?ca={tmp_path}/ca.pem",
    }[flaw]
    with SyncClient(fast_config(tmp_path, url + query)) as client:
        client.emit("count", {"n": 1})
        wait_until(lambda: "no connection" in caplog.text)
        assert not client.stats().connected
        assert client.flush(10)
        assert client.stats().pending == 1


def test_a_missing_certificate_file_stops_the_start_and_leaves_no_lock(tmp_path: Path) -> None:
    with pytest.raises(SyncConfigError, match=r"no\.pem"):
        SyncClient(fast_config(tmp_path, f"mqtts://h?ca={tmp_path}/no.pem")).start()
    with SyncClient(fast_config(tmp_path, None)):
        pass


def test_a_file_that_rots_under_way_costs_its_rows_and_delivery_goes_on(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    url = mosquitto().url
    with ingest(tmp_path, url), SyncClient(fast_config(tmp_path, url)) as client:
        for n in range(10):
            client.emit("count", {"n": n})
        assert client.drain(20)
        path = tmp_path / "outbox.db"
        other = connect_file(path)
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # or the write-ahead log would heal the file
        other.close()
        path.write_bytes(b"rot" * 10_000)
        for n in range(10, 20):
            client.emit("count", {"n": n})
        assert client.drain(20)
    store = open_store(f"sqlite:///{tmp_path}/fleet.db")
    events = list(store.events())
    assert [event.data["n"] for event in sorted(events, key=lambda e: e.created_at) if event.priority] == list(
        range(20)
    )
    assert len({event.epoch for event in events}) == 2
    assert [event.kind for event in events if not event.priority] == ["outbox.reset"]
    store.close()


def test_rot_that_only_the_reader_meets_does_not_halt_delivery(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    """Old pages are read for sending, while the writer touches the newest ones only."""
    with SyncClient(fast_config(tmp_path, None)) as client:
        for n in range(1500):
            client.emit("count", {"n": n, "f": "x" * 300})
            if n % 400 == 0:
                assert client.flush(10)
    url = mosquitto().url
    with SyncClient(fast_config(tmp_path, url)) as client:
        path = tmp_path / "outbox.db"
        with closing(connect_file(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with path.open("r+b") as file:
            file.seek(4096 * 20)
            file.write(b"\xff" * 4096 * 5)
        wait_until(lambda: client.stats().connected)
        with ingest(tmp_path, url):
            for n in range(10):
                client.emit("fire", {"n": n})
                client.flush(10)
            wait_until((tmp_path / "outbox.db.corrupt").exists)
            client.emit("fire", {"n": 10})
            assert client.drain(20)
    store = open_store(f"sqlite:///{tmp_path}/fleet.db")
    events = list(store.events())
    assert 10 in [event.data["n"] for event in events if event.kind == "fire"]
    assert "outbox.reset" in [event.kind for event in events]
    store.close()


def test_rows_evicted_under_way_are_counted_once(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    url = mosquitto().url
    outbox = OutboxConfig(byte_budget=1 << 20, flush_interval_s=0.01, max_record_bytes=16384)
    with ingest(tmp_path, url):
        pass  # the broker keeps for it what comes now
    with SyncClient(fast_config(tmp_path, url, outbox=outbox)) as client:
        wait_until(lambda: client.stats().connected)
        for n in range(2000):
            client.emit("count", {"n": n, "f": "x" * 900})
            if n % 100 == 99:
                assert client.flush(20)
        with ingest(tmp_path, url):
            assert client.drain(30)
        assert client.stats().evicted > 500
    store = open_store(f"sqlite:///{tmp_path}/fleet.db")
    (state,) = store.devices()
    assert store.count() + state.lost == 2000
    assert store.missing("cam-1", state.epoch) == []
    store.close()


def test_alarms_go_first(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    url = mosquitto().url
    with SyncClient(fast_config(tmp_path, None, outbox=OutboxConfig(flush_interval_s=0.01))) as client:
        for n in range(300):
            client.emit("count", {"n": n})
        client.emit("fire", {"n": -1}, priority=Priority.ALARM)
    order: list[Any] = []
    with ingest(tmp_path, url) as service:
        inner = service._parse

        def watch(message: Any) -> Any:
            order.extend(event["kind"] for event in json.loads(message.payload)["events"])
            return inner(message)

        service._parse = watch
        with SyncClient(fast_config(tmp_path, url)) as client:
            assert client.drain(20)
    assert order.index("fire") < 50
    assert len(order) == 301


def test_nothing_is_left_running(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    before = threading.active_count()
    url = mosquitto().url
    with ingest(tmp_path, url), SyncClient(fast_config(tmp_path, url, outbox=FAST_OUTBOX)) as client:
        client.emit("count", {"n": 1})
        client.drain(10)
    assert threading.active_count() == before
