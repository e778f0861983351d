"""What `edgewright doctor --broker` says of real brokers, and that asking leaves nothing behind."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
import pytest
import trustme
from delivery import FAST_LINK, Mosquitto, fast_config, free_port, wait_until
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from told import look

from edgewright.cli.doctor.asking import Children
from edgewright.cli.doctor.broker import begin_broker, broker, read_broker
from edgewright.cli.doctor.findings import Finding
from edgewright.cli.doctor.look import BrokerWish, Look, Wishes
from edgewright.cloud import IngestConfig, IngestService
from edgewright.sync import SyncClient
from edgewright.sync.address import parse_broker
from edgewright.sync.certificate import file_valid_until, valid_until
from edgewright.sync.errors import SyncConfigError
from edgewright.sync.probe import BrokerFacts, Stage, probe_broker, probe_message
from edgewright.sync.wire import decode_events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RULES = (
    "pattern write edge/%u/ev\npattern read edge/%u/ack\nuser ingest\ntopic read edge/+/ev\ntopic write edge/+/ack\n"
)


@pytest.fixture
def confined(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker with the rules of the documentation; each user's password is ``sesame``."""
    with broker_with(tmp_path, RULES) as started:
        yield started


def broker_with(folder: Path, rules: str, *lines: str) -> Mosquitto:
    passwords = folder / "passwords"
    passwords.touch(mode=0o600)
    for user in ("cam-1", "ingest"):
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, "sesame"], check=True, capture_output=True)
    (folder / "acl").write_text(rules)
    settings = ["allow_anonymous false", f"password_file {passwords}", f"acl_file {folder}/acl", *lines]
    return Mosquitto(folder / "broker", "\n".join(settings))


def as_user(mosquitto: Mosquitto, user: str, password: str = "sesame") -> str:
    return mosquitto.url.replace("//", f"//{user}:{password}@")


def ask(url: str, device: str = "cam-1", patience_s: float = 5.0) -> dict[str, Finding]:
    facts = probe_broker(parse_broker(url), device, patience_s)
    return {finding.name: finding for finding in read_broker(as_json(facts))}


def as_json(facts: BrokerFacts) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(facts)))
    return plain


def states(found: dict[str, Finding]) -> set[str]:
    assert all(finding.remedy for finding in found.values() if finding.state != "ok")
    return {finding.state for finding in found.values() if finding.name != "clock"} - {"ok"}


def everything_in(path: Path) -> list[str]:
    with sqlite3.connect(path) as database:
        dump = list(database.iterdump())
    database.close()
    return dump


def ingest(mosquitto: Mosquitto, folder: Path) -> IngestService:
    return IngestService(IngestConfig(f"sqlite:///{folder}/fleet.db", as_user(mosquitto, "ingest"), link=FAST_LINK))


def test_a_broker_as_the_documentation_wants_it(confined: Mosquitto, tmp_path: Path) -> None:
    with ingest(confined, tmp_path) as service:
        assert service.wait_ready(20)
        before = everything_in(tmp_path / "fleet.db")
        found = ask(as_user(confined, "cam-1"))
        wait_until(lambda: service.stats().acknowledged)  # it is counted once it was sent
        after, stats = everything_in(tmp_path / "fleet.db"), service.stats()
    # MQTT tells no time.
    assert {name: finding.state for name, finding in found.items() if finding.state != "ok"} == {"clock": "unknown"}
    assert "has committed" in found["ingest"].text
    assert "Not authorized" in found["forge acknowledgements"].text
    assert "Not authorized" in found["speak for others"].text
    assert found["receive maximum"].text.startswith("20:")
    # The whole way was gone, and nothing is there that was not there before.
    assert (stats.messages, stats.acknowledged) == (1, 1)
    assert (stats.stored, stats.malformed, stats.mismatched) == (0, 0, 0)
    assert before == after


def test_a_running_device_takes_no_notice(
    confined: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = as_user(confined, "cam-1")
    with ingest(confined, tmp_path) as service, SyncClient(fast_config(tmp_path, url)) as client:
        assert service.wait_ready(20)
        client.emit("count", {"n": 0})
        assert client.drain(20)
        assert states(ask(url)) == set()
        client.emit("count", {"n": 1})
        assert client.drain(20)
        assert (client.stats().stored, client.stats().dead, client.stats().resent) == (2, 0, 0)
    assert "client id" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("edgewright.sync")]


def test_nothing_of_the_probe_stays_at_the_broker(confined: Mosquitto) -> None:
    url = as_user(confined, "cam-1")
    assert probe_broker(parse_broker(url), "cam-1").stage == "done"
    flags: list[bool] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="edge-cam-1-doctor", protocol=mqtt.MQTTv5)
    client.username_pw_set("cam-1", "sesame")
    client.on_connect = lambda _c, _u, connected, _code, _p: flags.append(connected.session_present)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 5
    client.connect("127.0.0.1", confined.port, clean_start=False, properties=properties)
    wait_until(lambda: client.loop(0.1) or flags)
    client.disconnect()
    assert flags == [False]


def test_nobody_listens(confined: Mosquitto) -> None:
    found = ask(as_user(confined, "cam-1"))
    assert found["publish events"].state == "ok"
    assert (found["ingest"].state, found["read acknowledgements"].state) == ("warn", "unknown")
    assert "nobody is subscribed" in found["ingest"].text
    assert "edgewright ingest" in found["ingest"].remedy


def test_a_forbidden_topic(confined: Mosquitto) -> None:
    found = ask(as_user(confined, "cam-1"), device="cam-2")
    assert found["publish events"].state == "bad"
    assert "Not authorized" in found["publish events"].text
    assert "--device" in found["publish events"].remedy
    assert found["ingest"].text.startswith("not known")


def test_an_acknowledgement_that_may_not_be_read(tmp_path: Path) -> None:
    rules = "pattern write edge/%u/ev\nuser ingest\ntopic read edge/+/ev\ntopic write edge/+/ack\n"
    with broker_with(tmp_path, rules) as mosquitto, ingest(mosquitto, tmp_path) as service:
        assert service.wait_ready(20)
        found = ask(as_user(mosquitto, "cam-1"), patience_s=1.0)
    # mosquitto accepts every subscription: only that no message comes gives it away.
    assert found["read acknowledgements"].state == "unknown"
    assert "no message has come" in found["read acknowledgements"].text
    assert found["ingest"].state == "warn"
    assert "may not be read" in found["ingest"].text


def test_a_broker_that_lets_everybody_do_everything(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as mosquitto:
        found = ask(mosquitto.url)
    assert found["forge acknowledgements"].state == "warn"
    assert "delete its events" in found["forge acknowledgements"].text
    assert found["speak for others"].state == "warn"
    assert found["read acknowledgements"].state == "ok"  # the forged one came back


@pytest.mark.parametrize(
    ("setting", "name", "state", "says"),
    [
        ("max_packet_size 5000", "maximum packet size", "warn", "5000 bytes"),
        ("max_packet_size 500", "maximum packet size", "bad", "nothing is sent"),
        ("max_packet_size 1000000", "maximum packet size", "ok", "1000000"),
        ("max_inflight_messages 1", "receive maximum", "warn", "up to 1 message of"),
        ("max_keepalive 15", "keepalive", "ok", "15 s, demanded"),
        ("max_topic_alias 0", "topic aliases", "ok", "none"),
        ("retain_available false", "retained messages", "ok", "not needed"),
        ("max_qos 0", "maximum qos", "bad", "nothing can be delivered"),
    ],
)
def test_limits(tmp_path: Path, setting: str, name: str, state: str, says: str) -> None:
    with Mosquitto(tmp_path / "broker", f"allow_anonymous true\n{setting}") as mosquitto:
        found = ask(mosquitto.url)
    assert found[name].state == state, found[name]
    assert says in found[name].text
    assert "30 s of the 30 s" in found["session expiry"].text if state != "bad" else True


def test_an_older_broker_is_told_apart(tmp_path: Path) -> None:
    # In a process of its own: that broker leaves sockets open when it refuses MQTT 5.
    ready = tmp_path / "url"
    command = [sys.executable, "-m", "edgewright.cli.main", "ingest", "--db", f"sqlite:///{tmp_path}/fleet.db"]
    with subprocess.Popen(
        [*command, "--port", "0", "--ready-file", str(ready), "--json"], stdout=subprocess.PIPE
    ) as child:
        wait_until(ready.exists)
        found = ask(ready.read_text().strip())
        child.terminate()
        stats = json.loads(child.communicate()[0])
    assert (stats["messages"], stats["stored"], stats["events_in_database"]) == (1, 0, 0)
    assert found["protocol"].state == "warn"
    assert found["ingest"].state == "ok"
    assert found["publish events"].state == "ok"
    assert found["forge acknowledgements"].text.startswith("not known")


def test_a_wrong_password_is_told_and_not_shown(confined: Mosquitto) -> None:
    found = ask(as_user(confined, "cam-1", "swordfish"))
    assert found["connect"].state == "bad"
    assert "Not authorized" in found["connect"].text
    assert "swordfish" not in repr(found)


def certificates(folder: Path, host: str = "127.0.0.1", **dates: dt.datetime) -> tuple[str, list[str], trustme.CA]:
    """URL and settings of a listener that demands certificates, and the authority behind it."""
    authority = trustme.CA()
    server = authority.issue_cert(host, **dates)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server.cert_chain_pems[0].write_to_path(folder / "server.pem")
    server.private_key_pem.write_to_path(folder / "server.key")
    authority.issue_cert("cam-1", common_name="cam-1", **dates).private_key_and_cert_chain_pem.write_to_path(
        folder / "cam.pem"
    )
    port = free_port()
    files = {"cafile": "ca.pem", "certfile": "server.pem", "keyfile": "server.key"}
    lines = ["allow_anonymous true", f"listener {port} 127.0.0.1", *(f"{k} {folder}/{v}" for k, v in files.items())]
    return f"mqtts://127.0.0.1:{port}", [*lines, "require_certificate true"], authority


def days(count: float) -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=count)


@pytest.mark.parametrize(("left", "state"), [(400, "ok"), (10, "warn")])
def test_tls_and_the_days_left(tmp_path: Path, left: float, state: str) -> None:
    url, lines, _ = certificates(tmp_path, not_after=days(left + 0.5))
    with Mosquitto(tmp_path / "broker", listener="\n".join(lines)):
        found = ask(f"{url}?ca={tmp_path}/ca.pem&cert={tmp_path}/cam.pem")
    assert found["tls"].state == "ok"
    assert found["tls"].text.startswith("TLSv1.")
    for name in ("broker's certificate", "own certificate"):
        assert (found[name].state, found[name].text) == (state, f"expires in {left} days")
    assert found["publish events"].state == "ok"


@pytest.mark.parametrize(
    ("query", "host", "left", "name", "says"),
    [
        ("?ca={0}/other.pem&cert={0}/cam.pem", "127.0.0.1", 9, "tls", "not trusted"),
        ("?cert={0}/cam.pem", "127.0.0.1", 9, "tls", "not trusted"),
        ("?ca={0}/ca.pem&cert={0}/cam.pem", "broker.example", 9, "tls", "127.0.0.1"),
        ("?ca={0}/ca.pem", "127.0.0.1", 9, "tls", "certificate required"),
        ("?ca={0}/ca.pem&cert={0}/cam.pem", "127.0.0.1", -1, "tls", "expired"),
        ("?ca={0}/nowhere.pem", "127.0.0.1", 9, "certificates", "nowhere.pem"),
        ("?ca={0}/ca.pem&cert={0}/server.key", "127.0.0.1", 9, "certificates", "server.key"),
    ],
)
def test_tls_that_cannot_be_trusted(tmp_path: Path, query: str, host: str, left: float, name: str, says: str) -> None:
    url, lines, _ = certificates(tmp_path, host, not_before=days(-20), not_after=days(left))
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with Mosquitto(tmp_path / "broker", listener="\n".join(lines)):
        found = ask(url + query.format(tmp_path))
    assert states(found) >= {"bad"}
    assert says in found[name].text
    assert "publish events" not in found


def test_a_certificate_says_until_when(tmp_path: Path) -> None:
    for year in (2049, 2050, 2051):  # the two ways in which X.509 writes a year
        until = dt.datetime(year, 12, 31, 23, 59, 58, tzinfo=dt.timezone.utc)
        trustme.CA().issue_cert("a", not_after=until).cert_chain_pems[0].write_to_path(tmp_path / "a.pem")
        assert file_valid_until(tmp_path / "a.pem") == until


@pytest.mark.parametrize("data", [b"", b"0", b"\x30\x84\xff\xff\xff\xff", b"\x30\x03\x30\x01\x30", bytes(100)])
def test_what_is_no_certificate(data: bytes) -> None:
    with pytest.raises(SyncConfigError):
        valid_until(data)


def test_a_cut_certificate(tmp_path: Path) -> None:
    whole = ssl.PEM_cert_to_DER_cert(trustme.CA().cert_pem.bytes().decode())
    for length in range(0, len(whole), 7):
        with pytest.raises(SyncConfigError):
            valid_until(whole[:length])


def test_nobody_is_there() -> None:
    found = ask(f"mqtt://127.0.0.1:{free_port()}")
    assert (found["reach"].state, "refused" in found["reach"].text) == ("bad", True)
    found = ask("mqtt://no-such-host.invalid")
    assert "cannot be looked up" in found["reach"].text


def test_somebody_silent_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = ask(f"mqtt://127.0.0.1:{port}", patience_s=0.5)
        assert found["connect"].state == "bad"
        assert "does not answer" in found["connect"].text
        assert "bad" in states(ask(f"mqtts://127.0.0.1:{port}", patience_s=0.5))


def test_no_broker_but_a_web_server() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        found = ask(f"mqtt://127.0.0.1:{server.server_port}", patience_s=0.4)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert found["connect"].state == "bad"
    assert "is it an MQTT broker" in found["connect"].remedy


def test_no_encryption_is_fine_on_this_machine_only() -> None:
    for address, state in (("mqtt://127.0.0.1:1883", "ok"), ("mqtt://10.0.0.2:1883", "warn")):
        facts = BrokerFacts(address, "cam-1", Stage.MQTT, "no answer", tcp_ms=1.0)
        found = {finding.name: finding for finding in read_broker(as_json(facts))}
        assert found["tls"].state == state


def test_the_message_of_the_probe_can_never_be_stored() -> None:
    batch = decode_events(probe_message("cam-1", "0" * 32))
    assert batch.records == ()
    assert [refusal.seq for refusal in batch.rejected] == [1]


def in_a_process(wish: BrokerWish) -> dict[str, Finding]:
    with Children() as children:
        asked = Look(children, Wishes(broker=wish))
        begin_broker(asked)
        assert "sesame" not in str(children._started["broker"].process.args)
        return {finding.name: finding for finding in broker(asked)}


def test_in_a_process_of_its_own(confined: Mosquitto) -> None:
    found = in_a_process(BrokerWish(as_user(confined, "cam-1"), "cam-1"))
    assert found["publish events"].state == "ok"
    assert "sesame" not in repr(BrokerWish(as_user(confined, "cam-1"), "cam-1"))


def test_files_of_the_command_line_go_before_those_of_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url, lines, _ = certificates(tmp_path)
    with Mosquitto(tmp_path / "broker", listener="\n".join(lines)):
        found = in_a_process(BrokerWish(f"{url}?ca=nowhere.pem", "cam-1", (("ca", "ca.pem"), ("cert", "cam.pem"))))
    assert found["tls"].state == "ok", found


@pytest.mark.parametrize(
    ("url", "files", "says"),
    [
        ("mqtt://127.0.0.1", (("ca", "a.pem"),), "mqtts://"),
        ("mqtts://127.0.0.1", (("key", "a.pem"),), "--cert"),
        ("http://127.0.0.1", (), "mqtt"),
    ],
)
def test_a_broker_that_cannot_be_meant(url: str, files: tuple[tuple[str, str], ...], says: str) -> None:
    found = in_a_process(BrokerWish(url, "cam-1", files))
    assert found["address"].state == "bad"
    assert says in found["address"].text


def test_without_a_broker_nothing_is_asked() -> None:
    nothing = look()
    begin_broker(nothing)
    assert list(broker(nothing)) == []
