"""One MQTT connection that keeps coming back, driven by the thread that calls ``step()``.

paho-mqtt's own threads, queue, reconnect loop and resend are not used: each has a way to lose or double messages, or to
make a caller wait. Every attempt gets a fresh client object, and ``step()`` runs its network turn; callbacks only append
to a list that ``step()`` returns. So there is one thread, which is also the one that publishes, and a defect inside paho
costs a connection instead of silence.

MQTT 5 is tried first. A broker that refuses it is spoken to in 3.1.1 from then on, with a warning, because 3.1.1 can
neither report a message that an access rule dropped nor announce its limits. One that only stays silent is used in 3.1.1
for a while: it may have been a proxy that was starting, so MQTT 5 is tried again.
"""

from __future__ import annotations

import contextlib
import logging
import random
import select
import socket
import threading
import time
from enum import Enum
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt

from edgewright.sync.address import tls_context
from edgewright.sync.connection import (
    MAX_PACKET,
    Inbox,
    LinkEvent,
    Lost,
    Message,
    PubAck,
    Ready,
    SessionConfig,
    incoming_bytes,
    make_client,
    session_properties,
)
from edgewright.sync.quiet import Throttle

if TYPE_CHECKING:
    from edgewright.sync.address import BrokerAddress
    from edgewright.sync.config import LinkConfig

__all__ = ["Link"]

_log = logging.getLogger(__name__)

_READS_IN_A_STEP = 64
_SILENCES = 2
_FAILURE = 0x80
_WRONG_PROTOCOL = {0x84, 0x01}
_MAX_REPROBE_S = 24 * 3600.0


class _State(Enum):
    WAITING = 0  # for the next attempt
    OPENING = 1  # TCP is up, the broker has not answered yet
    SUBSCRIBING = 2
    READY = 3


class Link:
    """A connection to one broker.

    Use it from one thread; only ``wake()`` may be called from others.

    Args:
        address: The broker.
        config: Timers.
        session: Who connects.

    Raises:
        SyncConfigError: A certificate file cannot be loaded.
    """

    def __init__(self, address: BrokerAddress, config: LinkConfig, session: SessionConfig) -> None:
        """Loads certificates; connects at the first ``step()``."""
        self._address = address
        self._config = config
        self._session = session
        self._tls = tls_context(address)
        self._state = _State.WAITING
        self._client: mqtt.Client | None = None
        self._inbox = Inbox()
        self._only_old = session.known_old  # the broker has said that it does not speak MQTT 5
        self._old_protocol = session.known_old
        self._speaks_5 = False
        self._warned_protocol = session.known_old
        self._warned_down = False
        self._throttle = Throttle()
        self._failures = 0
        self._silences = 0
        self._reached = False  # on this attempt: TCP and TLS stand
        self._reprobe_s = config.reprobe_s
        self._reprobe_at: float | None = None
        self._next_attempt = 0.0
        self._deadline = 0.0
        self._ready_at = 0.0
        self._limits: tuple[int, int | None] = (65535, None)
        self._wake_r, self._wake_w = socket.socketpair()
        self._wake_r.setblocking(False)
        self._wake_w.setblocking(False)
        self._wake_lock = threading.Lock()  # close() against wake(); never held during I/O that can wait

    @property
    def ready(self) -> bool:
        """Whether messages can be published now."""
        return self._state is _State.READY and self._inbox.ended is None

    def wake(self) -> None:
        """Makes a waiting ``step()`` return soon; for any thread."""
        with self._wake_lock, contextlib.suppress(OSError):
            self._wake_w.send(b"\0")

    def publish(self, topic: str, payload: bytes, qos: int) -> int | None:
        """Hands one message to the broker.

        Returns:
            Its message id, None when there is no connection.
        """
        if self._client is None or not self.ready:
            return None
        try:
            return int(self._client.publish(topic, payload, qos=qos).mid)
        except (ValueError, RuntimeError, OSError) as error:
            self._inbox.ended = f"publishing failed: {error}"
            return None

    def ack(self, message: Message) -> None:
        """Confirms a message to the broker, where the session asks for that and its connection still stands."""
        current = self.ready and message.connection == self._inbox.connection
        if self._client is not None and current and self._session.manual_ack and message.qos:
            with contextlib.suppress(OSError):
                self._client.ack(message.mid, message.qos)

    def drop(self, reason: str) -> None:
        """Ends a connection that has gone wrong; the next ``step()`` reports it and a new attempt follows."""
        if self._client is not None:
            self._inbox.ended = self._inbox.ended or reason

    def step(self, timeout_s: float) -> list[LinkEvent]:
        """Runs one turn: connects when it is time, moves bytes, waits up to ``timeout_s`` for something to happen.

        Returns:
            What happened, in order. Never raises for anything a network or a broker does.
        """
        if self._state is _State.WAITING:
            pause = self._next_attempt - time.monotonic()
            if pause > 0:
                self._sleep(min(pause, timeout_s))
                return []
            self._open()
        if self._client is not None:
            self._turn(timeout_s)
        if self.ready and self._reprobe_at is not None and time.monotonic() > self._reprobe_at:
            return self._reprobe()
        return self._settle()

    def _reprobe(self) -> list[LinkEvent]:
        """Leaves a 3.1.1 connection in order to try MQTT 5 again."""
        events = self._settle()
        if self._client is not None:
            events.append(Lost("trying MQTT 5 again"))
            self._dispose()
            self._next_attempt = time.monotonic()
        self._old_protocol, self._reprobe_at = False, None
        self._reprobe_s = min(_MAX_REPROBE_S, 2 * self._reprobe_s)
        return events

    def close(self) -> None:
        """Says goodbye to the broker if there is one, and frees the sockets."""
        if self._client is not None:
            with contextlib.suppress(OSError, ValueError):
                self._client.disconnect()
            self._dispose()
        with self._wake_lock:
            self._wake_r.close()
            self._wake_w.close()

    def _sleep(self, seconds: float) -> None:
        if select.select([self._wake_r], [], [], max(0.0, seconds))[0]:
            self._swallow_wakes()

    def _swallow_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_r.recv(4096):
                pass

    def _open(self) -> None:
        self._inbox = inbox = Inbox(self._inbox.connection + 1)
        self._client = client = make_client(inbox, self._session, self._address, old_protocol=self._old_protocol)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.connect_timeout = self._config.connect_timeout_s
        keepalive = self._config.keepalive_s
        self._reached = False
        try:
            if self._old_protocol:
                client.connect(self._address.host, self._address.port, keepalive)
            else:
                client.connect(
                    self._address.host,
                    self._address.port,
                    keepalive,
                    clean_start=not self._session.persistent,
                    properties=session_properties(self._session, speaks_5=self._speaks_5),
                )
            self._reached = True
        except (OSError, ValueError) as error:  # ValueError: the TLS layer's answer to some host names
            inbox.ended = _describe(error)
        self._state = _State.OPENING
        self._deadline = time.monotonic() + self._config.connect_timeout_s

    def _turn(self, timeout_s: float) -> None:
        """Reads and writes what the socket allows; every way to fail ends in ``inbox.ended``."""
        client, inbox = self._client, self._inbox
        if client is None or inbox.ended is not None:
            return
        try:
            self._wait(client, timeout_s)
            for _ in range(_READS_IN_A_STEP):
                if not _readable(client):
                    break
                if client.loop_read() != mqtt.MQTT_ERR_SUCCESS:
                    break
                if incoming_bytes(client) > MAX_PACKET:
                    inbox.ended = (
                        f"a packet of {incoming_bytes(client)} bytes is coming, over our limit of {MAX_PACKET}"
                    )
                    return
            if client.socket() is not None and client.want_write():
                client.loop_write()
            if client.socket() is not None:
                client.loop_misc()
        except Exception as error:  # noqa: BLE001 - paho decodes bytes of a stranger; a defect there ends a connection
            inbox.ended = inbox.ended or f"{type(error).__name__}: {error}"
        if client.socket() is None:
            inbox.ended = inbox.ended or "the broker closed the connection"

    def _wait(self, client: mqtt.Client, timeout_s: float) -> None:
        sock = client.socket()
        if sock is None or _buffered(sock):
            return
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        poll.register(self._wake_r.fileno(), select.POLLIN)
        if self._state is not _State.READY:
            timeout_s = min(timeout_s, max(0.0, self._deadline - time.monotonic()))
        if self._inbox.events:
            timeout_s = 0.0
        ready = {descriptor for descriptor, _ in poll.poll(timeout_s * 1000)}
        if self._wake_r.fileno() in ready:
            self._swallow_wakes()

    def _settle(self) -> list[LinkEvent]:
        """Moves the state on by what the callbacks saw, and hands their events over."""
        inbox = self._inbox
        if self._state is _State.OPENING and inbox.connack is not None:
            self._connected(*inbox.connack)
        if self._state is _State.SUBSCRIBING and inbox.suback is not None:
            self._subscribed(inbox.suback)
        if self._state in {_State.OPENING, _State.SUBSCRIBING} and time.monotonic() > self._deadline:
            inbox.ended = inbox.ended or "the broker did not answer in time"
        events, inbox.events = inbox.events, []
        if any(isinstance(event, (PubAck, Message)) for event in events):
            self._failures = 0  # not before: a broker may accept us and end the connection over what we send
        if inbox.ended is not None and self._client is not None:
            events.append(Lost(inbox.ended))
            self._failed(inbox.ended)
        return events

    def _connected(self, code: int, text: str, properties: object) -> None:
        if code in _WRONG_PROTOCOL:
            self._inbox.ended = f"the broker refuses the protocol: {text}"
            return
        if code:
            self._inbox.ended = f"the broker refuses this client: {text}"
            self._state = _State.SUBSCRIBING  # an answer in this protocol: no reason to try the other
            return
        self._limits = (
            int(getattr(properties, "ReceiveMaximum", 65535)),
            getattr(properties, "MaximumPacketSize", None),
        )
        self._state = _State.SUBSCRIBING
        if self._client is not None:
            self._client.subscribe(self._session.subscription, self._session.qos)

    def _subscribed(self, answer: list[tuple[int, str]]) -> None:
        refused = [text for code, text in answer if code >= _FAILURE]
        if refused:
            what = self._session.subscription
            self._inbox.ended = f"the broker refuses the subscription to {what}: {refused[0]}; check its access rules"
            return
        self._state = _State.READY
        self._ready_at = time.monotonic()
        self._silences = 0
        protocol = "MQTT 3.1.1" if self._old_protocol else "MQTT 5"
        if self._old_protocol:
            self._accept_old()
        else:
            self._speaks_5 = True
            self._reprobe_s = self._config.reprobe_s
        _log.log(
            logging.WARNING if self._warned_down else logging.INFO, "connected to %s by %s", self._address, protocol
        )
        self._warned_down = False
        self._inbox.events.insert(0, Ready(protocol, *self._limits))

    def _accept_old(self) -> None:
        if not self._only_old:
            self._reprobe_at = time.monotonic() + self._reprobe_s
        if not self._warned_protocol:
            self._warned_protocol = True
            found = "does not speak" if self._only_old else "has not answered"
            later = "" if self._only_old else f" for now, trying MQTT 5 again in {self._reprobe_s:.0f} s"
            _log.warning(
                "%s %s MQTT 5; using 3.1.1%s, which cannot tell when an access rule or a size limit "
                "drops a message: such rows stay in the outbox and are sent again",
                self._address,
                found,
                later,
            )

    def _failed(self, reason: str) -> None:
        silent = self._state is _State.OPENING and self._inbox.connack is None and self._reached
        refused = self._inbox.connack is not None and self._inbox.connack[0] in _WRONG_PROTOCOL
        self._silences = self._silences + 1 if silent else 0
        now = time.monotonic()
        if self._state is _State.READY and now - self._ready_at > self._config.backoff_cap_s:
            self._failures = 0
        self._dispose()
        if not self._old_protocol and (refused or self._silences >= _SILENCES):
            # Refused, or reached twice without an answer, in MQTT 5: at once, once, in the older protocol. One silence is
            # no proof: a broker that is just starting or dying is silent too.
            self._only_old = self._only_old or refused
            self._old_protocol = True
            self._silences = 0
            self._next_attempt = now
            return
        if refused and not self._session.known_old:  # in 3.1.1, and in MQTT 5 before that: it may be another broker now
            self._only_old = False
        self._old_protocol, self._reprobe_at = self._only_old, None
        text = "no connection to %s: %s; %s and it tries again"
        values = (self._address, reason, self._session.meanwhile)
        if self._warned_down or not self._throttle.warn(_log, reason, text, *values):
            _log.debug(text, *values)
        else:
            self._warned_down = True
        bound = min(self._config.backoff_cap_s, self._config.backoff_base_s * 2 ** min(self._failures, 16))
        self._failures += 1
        self._next_attempt = now + random.uniform(0, bound)  # noqa: S311 - spreads a fleet, hides nothing

    def _dispose(self) -> None:
        client, self._client = self._client, None
        self._state = _State.WAITING
        if client is None:
            return
        sock = client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()


def _describe(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    verify = getattr(error, "verify_message", None)
    return f"cannot reach it: {reason}" + (f" ({verify})" if verify and verify not in reason else "")


def _buffered(sock: object) -> bool:
    """Whether the TLS layer holds decrypted bytes that no poll would show."""
    pending = getattr(sock, "pending", None)
    return bool(pending is not None and pending())


def _readable(client: mqtt.Client) -> bool:
    sock = client.socket()
    if sock is None:
        return False
    if _buffered(sock):
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))
