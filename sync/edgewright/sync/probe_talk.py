"""One short conversation with a broker, step by step, each with a bound: what ``probe`` asks its questions by."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgewright.sync.address import tls_context
from edgewright.sync.connection import MAX_PACKET, Inbox, Message, PubAck, SessionConfig, incoming_bytes, make_client
from edgewright.sync.wire import ack_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.sync.address import BrokerAddress

__all__ = ["ASKED_EXPIRY_S", "Limits", "Right", "Talk"]

ASKED_EXPIRY_S = 30
"""For how long the broker is asked to keep the session, only in order to see what it grants; ended on leaving."""

_KEEPALIVE_S = 20
_MESSAGE_EXPIRY_S = 30
_TURN_S = 0.2
_REFUSAL = 0x80
_NO_SUBSCRIBER = 0x10
_WRONG_PROTOCOL = {0x84, 0x01}


@dataclass(frozen=True)
class Limits:
    """What a broker announces when it accepts a connection; MQTT's defaults where it says nothing.

    Attributes:
        receive_maximum: Messages of QoS 1 that it takes without having confirmed them.
        max_packet: Bytes of its largest packet, None when it sets no limit.
        topic_alias_maximum: How many topics may be shortened.
        keepalive_s: Which it demands, None when ours will do.
        session_expiry_s: For how long it keeps a session that asks for ``ASKED_EXPIRY_S``; None when it was not asked.
        max_qos: The highest that it takes.
        retain: Whether it keeps retained messages.
    """

    receive_maximum: int = 65535
    max_packet: int | None = None
    topic_alias_maximum: int = 0
    keepalive_s: int | None = None
    session_expiry_s: int | None = None
    max_qos: int = 2
    retain: bool = True


@dataclass(frozen=True)
class Right:
    """A broker's answer to something that was tried.

    Attributes:
        allowed: None when it did not say.
        text: Its words.
    """

    allowed: bool | None
    text: str


class Talk:
    """One connection; a context manager that ends it."""

    def __init__(self, address: BrokerAddress, device: str, *, old_protocol: bool = False) -> None:
        """Connects nothing yet.

        Raises:
            SyncConfigError: A certificate file cannot be loaded.
        """
        self._address = address
        self._old = old_protocol
        self._inbox = Inbox()
        session = SessionConfig(f"edge-{device}-doctor", ack_topic(device))
        self._client = make_client(self._inbox, session, address, old_protocol=old_protocol)
        context = tls_context(address)
        if context is not None:
            self._client.tls_set_context(context)
        self.limits = Limits()
        self.refused = False

    def connect(self, patience_s: float, *, ask_expiry: bool = False) -> str:
        """Connects.

        Args:
            patience_s: For TCP, TLS and the broker's answer, each.
            ask_expiry: Ask for a session that outlives the connection; only where MQTT 5 is known to be spoken, for some
                older brokers hang on the question.

        Returns:
            Why it failed, empty when it did not.
        """
        client, inbox = self._client, self._inbox
        client.connect_timeout = patience_s
        settings: dict[str, Any] = {}
        if not self._old:
            settings = {"clean_start": True}
        if ask_expiry:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = ASKED_EXPIRY_S
            settings["properties"] = properties
        try:
            client.connect(self._address.host, self._address.port, _KEEPALIVE_S, **settings)
        except (OSError, ValueError) as error:
            return f"cannot connect: {getattr(error, 'strerror', None) or error}"
        if not self.wait(lambda: inbox.connack is not None, patience_s):
            return inbox.ended or f"the broker accepts the connection and does not answer within {patience_s:.0f} s"
        code, text, properties_back = inbox.connack or (_REFUSAL, "", None)
        if code:
            self.refused = code not in _WRONG_PROTOCOL
            return f"the broker refuses this client: {text}"
        if not self._old:
            self.limits = _limits(properties_back, asked=ask_expiry)
        return ""

    def subscribe(self, topic: str, patience_s: float) -> Right:
        """Subscribes; on MQTT 3.1.1 and on brokers that check only later, an answer of yes means little."""
        self._client.subscribe(topic, 0)
        self.wait(lambda: bool(self._inbox.suback), patience_s)
        answer = self._inbox.suback
        if not answer:
            return _closed(self._inbox.ended)
        code, text = answer[0]
        return Right(code < _REFUSAL, text)

    def publish(self, topic: str, payload: bytes, patience_s: float) -> tuple[Right, bool | None]:
        """Publishes with QoS 1, to be forgotten after half a minute.

        Returns:
            The broker's answer, and whether it says that somebody is subscribed.
        """
        properties = None
        if not self._old:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = _MESSAGE_EXPIRY_S
        try:
            mid = self._client.publish(topic, payload, qos=1, properties=properties).mid
        except (ValueError, RuntimeError, OSError) as error:
            return Right(None, str(error)), None
        if not self.wait(lambda: self._puback(mid) is not None, patience_s):
            return _closed(self._inbox.ended), None
        answer = self._puback(mid)
        if answer is None or self._old:  # 3.1.1 confirms what it drops, too
            return Right(None, "MQTT 3.1.1 does not say"), None
        allowed = answer.code < _REFUSAL
        return Right(allowed, answer.text), (answer.code != _NO_SUBSCRIBER if allowed else None)

    def received(self) -> list[bytes]:
        """Payloads that arrived, retained ones left out."""
        return [event.payload for event in self._inbox.events if isinstance(event, Message) and not event.retained]

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Moves bytes until ``done``, the end of the connection, or the end of the time; says whether it is done."""
        deadline = time.monotonic() + seconds
        while not done() and self._inbox.ended is None and time.monotonic() < deadline:
            try:
                code = self._client.loop(_TURN_S)
                if incoming_bytes(self._client) > MAX_PACKET:
                    self._inbox.ended = "the broker sends a packet over our limit"
            except Exception as error:  # noqa: BLE001 - paho decodes bytes of a stranger
                self._inbox.ended = f"{type(error).__name__}: {error}"
                break
            if code != mqtt.MQTT_ERR_SUCCESS:
                self._inbox.ended = self._inbox.ended or "the broker closed the connection"
        return done()

    def close(self) -> None:
        """Ends the session at the broker, and the connection."""
        properties = None
        if self.limits.session_expiry_s is not None:
            properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0
        with suppress(OSError, ValueError):
            self._client.disconnect(properties=properties)
            self._client.loop(_TURN_S)
        sock = self._client.socket()
        if sock is not None:
            with suppress(OSError):
                sock.close()

    def __enter__(self) -> Talk:  # noqa: PYI034 - Self needs Python 3.11
        """As it is."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes."""
        self.close()

    def _puback(self, mid: int) -> PubAck | None:
        return next((event for event in self._inbox.events if isinstance(event, PubAck) and event.mid == mid), None)


def _closed(ended: str | None) -> Right:
    return Right(None, "no answer") if ended is None else Right(False, f"the connection was ended over it: {ended}")


def _limits(properties: object, *, asked: bool) -> Limits:
    plain = Limits()
    return Limits(
        receive_maximum=getattr(properties, "ReceiveMaximum", plain.receive_maximum),
        max_packet=getattr(properties, "MaximumPacketSize", None),
        topic_alias_maximum=getattr(properties, "TopicAliasMaximum", 0),
        keepalive_s=getattr(properties, "ServerKeepAlive", None),
        session_expiry_s=getattr(properties, "SessionExpiryInterval", ASKED_EXPIRY_S) if asked else None,
        max_qos=getattr(properties, "MaximumQoS", plain.max_qos),
        retain=bool(getattr(properties, "RetainAvailable", 1)),
    )
