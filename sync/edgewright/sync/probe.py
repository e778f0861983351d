"""What a broker allows one device, found out by asking it: nothing in the cloud's database changes.

MQTT has no way to ask what one may do, so the probe does it:

- an events message whose only record has a malformed kind goes to ``edge/<device>/ev``. The ingest refuses such a record
  after an empty transaction and says so on ``edge/<device>/ack``: no row is written, not even one that says that the
  device was seen, and yet the answer has gone the whole way that an acknowledgement goes. Its epoch is random, so a
  running device takes no notice, and it expires at the broker after half a minute if nobody takes it;
- an acknowledgement of that epoch, which means nothing to anybody, tries whether this device could forge one;
- the same events message under an invented name tries whether it could speak for others.

The client id is ``edge-<device>-doctor``: that of the device itself would end a running connection.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from edgewright.sync.address import tls_context
from edgewright.sync.certificate import file_valid_until
from edgewright.sync.errors import SyncConfigError, WireError
from edgewright.sync.probe_talk import Limits, Right, Talk
from edgewright.sync.record import check_device
from edgewright.sync.wire import ack_topic, decode_ack, encode_acks, events_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.sync.address import BrokerAddress

__all__ = ["BrokerFacts", "Stage", "probe_broker", "probe_message"]

PROBE_KIND = "?doctor"
"""No kind: the ingest refuses the record and stores nothing."""

_ALERT_S = 0.3
_DAY_S = 86400.0


class Stage(str, Enum):
    """How far the probe came."""

    CERTIFICATES = "certificates"
    TCP = "tcp"
    TLS = "tls"
    MQTT = "mqtt"
    DONE = "done"


@dataclass
class BrokerFacts:
    """What was found out; fields of stages that were not reached are None.

    Attributes:
        address: The URL without credentials.
        device: Whose topics were tried.
        stage: Where it ended.
        problem: Why it ended before ``DONE``.
        refused: The broker answered, and does not let this client in.
        tcp_ms: Time until the connection stood.
        tls: Version of TLS, None for plain TCP.
        server_days: Days until the broker's certificate expires.
        own_days: Days until this device's certificate expires, None without one.
        protocol: ``MQTT 5`` or ``MQTT 3.1.1``.
        limits: What the broker announced.
        subscribe: Its answer to the subscription to the acknowledgements.
        publish: Its answer to an events message.
        listeners: Whether it says that somebody is subscribed to the events; None when it does not say.
        answered_ms: Time until the ingest's answer came, None when none came.
        forge: Its answer to an acknowledgement from this device.
        foreign: Its answer to an events message under another name.
        echoed: The forged acknowledgement came back: what is on that topic can be read.
    """

    address: str
    device: str
    stage: Stage = Stage.CERTIFICATES
    problem: str = ""
    refused: bool = False
    tcp_ms: float | None = None
    tls: str | None = None
    server_days: float | None = None
    own_days: float | None = None
    protocol: str | None = None
    limits: Limits | None = None
    subscribe: Right | None = None
    publish: Right | None = None
    listeners: bool | None = None
    answered_ms: float | None = None
    forge: Right | None = None
    foreign: Right | None = None
    echoed: bool = False


class _Ended(Exception):  # noqa: N818 - it is no error of ours: the probe has found what it looked for
    """The broker cannot be asked further."""


def probe_message(device: str, epoch: str) -> bytes:
    """An events message that every ingest refuses without storing anything."""
    event = {"id": "1", "kind": PROBE_KIND, "class": 4, "time": time.time(), "data": {}}
    return json.dumps({"v": 1, "source": f"edge/{device}/{epoch}", "events": [event]}).encode("ascii")


def probe_broker(
    address: BrokerAddress, device: str, patience_s: float = 5.0, tell: Callable[[str], None] = lambda _: None
) -> BrokerFacts:
    """Connects, asks, tries, and takes its leave.

    Args:
        address: The broker.
        device: Whose topics are tried.
        patience_s: For each step; looking up a name may take longer than this.
        tell: Told what comes next.

    Returns:
        What was found; a broker that cannot be reached is a finding, not an error.

    Raises:
        SyncConfigError: The device's name cannot be used.
    """
    facts = BrokerFacts(str(address), check_device(device))
    try:
        _certificates(facts, address)
        tell(f"connecting to {address}")
        _reach(facts, address, patience_s)
        tell(f"talking MQTT to {address}")
        with _connect(facts, address, patience_s) as talk:
            _rights(facts, talk, patience_s)
        if facts.publish is not None and facts.protocol == "MQTT 5":
            _wrongs(facts, address, patience_s)
        facts.stage = Stage.DONE
    except _Ended as reason:
        facts.problem = str(reason)
    return facts


def _certificates(facts: BrokerFacts, address: BrokerAddress) -> None:
    try:
        tls_context(address)
        if address.cert is not None:
            facts.own_days = (file_valid_until(address.cert).timestamp() - time.time()) / _DAY_S
    except SyncConfigError as error:
        raise _Ended(str(error)) from error


def _reach(facts: BrokerFacts, address: BrokerAddress, patience_s: float) -> None:
    """TCP, then TLS: on a connection of their own, where the reason of a failure is still to be had."""
    facts.stage = Stage.TCP
    began = time.monotonic()
    try:
        link = socket.create_connection((address.host, address.port), timeout=patience_s)
    except socket.gaierror as error:
        raise _Ended(f"the name {address.host} cannot be looked up ({error.strerror})") from error
    except TimeoutError as error:
        raise _Ended(f"no answer from {address.host} port {address.port} within {patience_s:.0f} s") from error
    except OSError as error:
        raise _Ended(f"{address.host} port {address.port}: {error.strerror or error}") from error
    facts.tcp_ms = 1000 * (time.monotonic() - began)
    with link:
        context = tls_context(address)
        if context is None:
            return
        facts.stage = Stage.TLS
        try:
            with context.wrap_socket(link, server_hostname=address.host) as secure:
                facts.tls = secure.version()
                until = (secure.getpeercert() or {}).get("notAfter")
                if isinstance(until, str):
                    facts.server_days = (ssl.cert_time_to_seconds(until) - time.time()) / _DAY_S
                _await_alert(secure)
        except ssl.SSLCertVerificationError as error:
            raise _Ended(f"the broker's certificate is not trusted: {error.verify_message}") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None)
            said = reason.lower().replace("_", " ") if isinstance(reason, str) else str(error)
            raise _Ended(f"TLS fails: {said}") from error


def _await_alert(secure: ssl.SSLSocket) -> None:
    """In TLS 1.3 the refusal of a client's certificate comes after the handshake.

    Raises:
        OSError: It came.
    """
    secure.settimeout(_ALERT_S)
    with suppress(TimeoutError):
        if secure.recv(1) == b"":
            msg = "the broker closed the connection after the handshake"
            raise OSError(msg)


def _connect(facts: BrokerFacts, address: BrokerAddress, patience_s: float) -> Talk:
    """A connection in MQTT 5, else in 3.1.1."""
    facts.stage = Stage.MQTT
    first = ""
    for old in (False, True):
        talk = Talk(address, facts.device, old_protocol=old)
        problem = talk.connect(patience_s)
        if not problem:
            facts.protocol = "MQTT 3.1.1" if old else "MQTT 5"
            facts.limits = talk.limits
            return talk
        talk.close()
        first = first or problem
        if talk.refused:
            facts.refused = True
            raise _Ended(problem)
    raise _Ended(first)


def _rights(facts: BrokerFacts, talk: Talk, patience_s: float) -> None:
    """What the device must be allowed to do, and whether the ingest answers."""
    facts.subscribe = talk.subscribe(ack_topic(facts.device), patience_s)
    if facts.limits is not None and facts.limits.max_qos == 0:
        return
    epoch = uuid.uuid4().hex
    began = time.monotonic()
    facts.publish, facts.listeners = talk.publish(
        events_topic(facts.device), probe_message(facts.device, epoch), patience_s
    )
    if facts.publish.allowed is False or facts.listeners is False:
        return
    if talk.wait(lambda: _answered(talk, epoch), patience_s):
        facts.answered_ms = 1000 * (time.monotonic() - began)


def _answered(talk: Talk, epoch: str) -> bool:
    for payload in talk.received():
        with suppress(WireError):
            if decode_ack(payload).epoch == epoch:
                return True
    return False


def _wrongs(facts: BrokerFacts, address: BrokerAddress, patience_s: float) -> None:
    """What the device should not be allowed to do; some brokers end the connection over it, so each has its own."""
    epoch = uuid.uuid4().hex
    with Talk(address, facts.device) as talk:
        if not talk.connect(patience_s, ask_expiry=True):
            facts.limits = talk.limits
            talk.subscribe(ack_topic(facts.device), patience_s)
            (message,) = encode_acks(epoch, [])
            facts.forge, _ = talk.publish(ack_topic(facts.device), message, patience_s)
            if facts.forge.allowed:
                facts.echoed = talk.wait(lambda: _answered(talk, epoch), 1.0)
    other = f"doctor-{epoch[:12]}"
    with Talk(address, facts.device) as talk:
        if not talk.connect(patience_s):
            facts.foreign, _ = talk.publish(events_topic(other), probe_message(other, epoch), patience_s)
