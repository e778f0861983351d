"""One paho-mqtt client object for one connection, and what its callbacks saw.

The callbacks run inside paho, under its locks: they only append and assign.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgewright.sync.wire import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

    from edgewright.sync.address import BrokerAddress

__all__ = [
    "MAX_PACKET",
    "Inbox",
    "LinkEvent",
    "Lost",
    "Message",
    "PubAck",
    "Ready",
    "SessionConfig",
    "incoming_bytes",
    "make_client",
    "session_properties",
]

MAX_PACKET = MAX_MESSAGE_BYTES + 4096
"""Largest packet that anybody may send us."""

_TAKEN_OVER = 0x8E


@dataclass(frozen=True)
class SessionConfig:
    """Who connects, and for what.

    Attributes:
        client_id: The MQTT client id.
        subscription: One topic filter, renewed on every connection.
        qos: Of the subscription.
        persistent: Whether the broker shall keep the session between connections.
        expiry_s: For how long it shall (MQTT 5).
        manual_ack: Whether ``Link.ack`` confirms messages, not their mere receipt.
        known_old: The broker is known to speak 3.1.1 only: MQTT 5 is not tried and nobody is warned.
        meanwhile: What a warning says of the time without a connection.
    """

    client_id: str
    subscription: str
    qos: int = 1
    persistent: bool = False
    expiry_s: int = 0
    manual_ack: bool = False
    known_old: bool = False
    meanwhile: str = "events are kept"


@dataclass(frozen=True)
class Ready:
    """Connected and subscribed.

    Attributes:
        protocol: ``MQTT 5`` or ``MQTT 3.1.1``.
        receive_maximum: How many unconfirmed messages the broker takes.
        max_packet: Largest packet the broker takes, None when it does not say.
    """

    protocol: str
    receive_maximum: int
    max_packet: int | None


@dataclass(frozen=True)
class Lost:
    """The connection ended, or an attempt failed."""

    reason: str


@dataclass(frozen=True)
class PubAck:
    """The broker's answer to a QoS 1 message; ``code`` from 128 up is a refusal."""

    mid: int
    code: int
    text: str


@dataclass(frozen=True)
class Message:
    """A message that arrived, on the connection of that number: its id means nothing on another."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    connection: int
    retained: bool = False


LinkEvent: TypeAlias = Ready | Lost | PubAck | Message


@dataclass
class Inbox:
    """What the callbacks of one client object saw."""

    connection: int = 0
    events: list[LinkEvent] = field(default_factory=list)
    connack: tuple[int, str, Any] | None = None
    suback: list[tuple[int, str]] | None = None
    ended: str | None = None


def session_properties(session: SessionConfig, *, speaks_5: bool) -> Properties | None:
    """The properties of CONNECT.

    None where the protocol's defaults do and ``speaks_5`` is not known yet: some 3.1.1 brokers hang on properties instead
    of refusing MQTT 5.
    """
    if not session.persistent and not speaks_5:
        return None
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = MAX_PACKET  # the broker keeps larger ones from us
    if session.persistent:
        properties.SessionExpiryInterval = session.expiry_s
    return properties


def incoming_bytes(client: mqtt.Client) -> int:
    """The announced size of the packet that ``client`` is reading now; paho itself would take up to 256 MB."""
    return int(client._in_packet["remaining_length"])  # noqa: SLF001 - there is no public way to bound it


def make_client(inbox: Inbox, session: SessionConfig, address: BrokerAddress, *, old_protocol: bool) -> mqtt.Client:
    """A client that has not connected yet and reports into ``inbox``."""
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=session.client_id,
        clean_session=(not session.persistent) if old_protocol else None,
        protocol=mqtt.MQTTv311 if old_protocol else mqtt.MQTTv5,
        reconnect_on_failure=False,
        manual_ack=session.manual_ack,
    )
    client.suppress_exceptions = True
    client.max_inflight_messages_set(0)  # the window is held by the publisher; paho's cannot follow the broker's
    if address.username is not None:
        client.username_pw_set(address.username, address.password)

    def on_connect(_c: object, _u: object, _f: object, code: ReasonCode, properties: object) -> None:
        inbox.connack = (code.value, str(code), properties)

    def on_disconnect(_c: object, _u: object, flags: mqtt.DisconnectFlags, code: ReasonCode, _p: object) -> None:
        who = "the broker ended the connection" if flags.is_disconnect_packet_from_server else "the connection broke"
        if code.value == _TAKEN_OVER:
            who = f"another process uses the client id {session.client_id}, which must be used by one only"
        inbox.ended = inbox.ended or f"{who}: {code}"

    def on_subscribe(_c: object, _u: object, _mid: int, codes: list[ReasonCode], _p: object) -> None:
        inbox.suback = [(code.value, str(code)) for code in codes]

    def on_publish(_c: object, _u: object, mid: int, code: ReasonCode, _p: object) -> None:
        inbox.events.append(PubAck(mid, code.value, str(code)))

    def on_message(_c: object, _u: object, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        inbox.events.append(
            Message(topic, bytes(message.payload), message.mid, message.qos, inbox.connection, message.retain)
        )

    client.on_connect = on_connect
    client.on_disconnect = on_disconnect
    client.on_subscribe = on_subscribe
    client.on_publish = on_publish
    client.on_message = on_message
    return client
