"""The publisher thread: from the outbox to the broker, and from the cloud's acknowledgement back to the outbox.

All rules about what to send when are in ``flight``, all network I/O in ``link``; here they meet the outbox. A row is
deleted only when the ingest says that its database has it. A PUBACK is a fact about the broker and moves a number in
the statistics (``docs/adr/0003-delivery.md`` has the measurements behind that).
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.sync.connection import Lost, Message, PubAck, Ready, SessionConfig
from edgewright.sync.errors import WireError
from edgewright.sync.flight import Flight
from edgewright.sync.link import Link
from edgewright.sync.opening import is_corruption
from edgewright.sync.record import Priority
from edgewright.sync.transaction import Dead
from edgewright.sync.wire import (
    MAX_MESSAGE_BYTES,
    ack_topic,
    decode_ack,
    encode_events,
    encode_record,
    envelope_bytes,
    events_topic,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.sync.address import BrokerAddress
    from edgewright.sync.config import LinkConfig, ResendConfig
    from edgewright.sync.connection import LinkEvent
    from edgewright.sync.flight import Row, Shipment
    from edgewright.sync.outbox import Outbox
    from edgewright.sync.record import Record

__all__ = ["Publisher", "PublisherStats"]

_log = logging.getLogger(__name__)

_REFUSAL = 0x80
_NO_SUBSCRIBER = 0x10
_SANE_LIMIT = 1024  # a broker that takes less than this is misconfigured: that is no row's fault
_PACKET_EXTRA = 16  # fixed header, topic length, message id and MQTT 5 properties, rounded up
_IDLE_S = 0.5
_PAUSE_AFTER_ERROR_S = 1.0


@dataclass(frozen=True)
class PublisherStats:
    """What the publisher sees.

    Attributes:
        connected: Whether the broker is there now.
        protocol: ``MQTT 5`` or ``MQTT 3.1.1``; empty when never connected.
        at_broker: Rows that the broker has and the cloud has not acknowledged.
        resent: Messages sent again.
    """

    connected: bool = False
    protocol: str = ""
    at_broker: int = 0
    resent: int = 0


class Publisher:
    """Sends what the outbox holds until ``stop()``.

    Args:
        outbox: Where rows come from and acknowledgements go.
        address: The broker.
        link: Timers of the connection.
        resend: Windows and timers of delivery.

    Raises:
        SyncConfigError: A certificate file cannot be loaded.
    """

    def __init__(self, outbox: Outbox, address: BrokerAddress, link: LinkConfig, resend: ResendConfig) -> None:
        """Prepares; ``start()`` begins."""
        self.outbox = outbox
        self._config = resend
        self._topic = events_topic(outbox.device)
        session = SessionConfig(f"edge-{outbox.device}", ack_topic(outbox.device), qos=0)
        self._link = Link(address, link, session)
        self._flight = Flight(resend)
        self._reader = outbox.reader()
        self._epoch = ""
        self._cursor = dict.fromkeys(Priority, 0)
        self._more = True  # rows may wait behind the cursors
        self._limit = MAX_MESSAGE_BYTES  # of one message's payload: the broker's and the ingest's
        self._warned: set[str] = set()
        self._stats = PublisherStats()
        self._protocol = ""
        self._stopping = False
        self._changed = False  # the writer says: new rows
        self._new_epoch: str | None = None
        self._thread = threading.Thread(target=self._run, name="edgewright-publisher", daemon=True)
        outbox.add_listener(self._on_commit)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread; a connection attempt under way is waited for.

        Returns:
            Whether it ended in time.
        """
        self._stopping = True
        self._link.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stats(self) -> PublisherStats:
        """A snapshot, refreshed at every turn of the thread."""
        return self._stats

    def at_broker(self, shipment: Shipment) -> None:
        """Called when the broker has confirmed ``shipment``. Nothing is deleted: the broker is not the database."""

    def _on_commit(self, records: Sequence[Record], epoch: str) -> None:
        """From the writer thread: assignments only."""
        if epoch != self._epoch:
            self._new_epoch = epoch
        if records or self._new_epoch is not None:
            self._changed = True
            self._link.wake()

    def _run(self) -> None:
        while not self._stopping:
            self._guarded_turn()
        self._link.close()
        self._reader.close()
        self._stats = PublisherStats(resent=self._flight.resent, protocol=self._protocol)

    def _guarded_turn(self) -> None:
        try:
            self._turn()
        except sqlite3.Error as error:
            self._warn("read", f"the outbox cannot be read ({error}); delivery waits and tries again")
            self._reader.close()
            if is_corruption(error):
                self.outbox.suspect()
            self._stop_wait()
        except Exception:  # noqa: BLE001 - this thread is the delivery; a defect must cost a connection, not all of it
            _log.exception("the publisher met an unexpected error; it reconnects and goes on")
            self._link.drop("an unexpected error")
            self._stop_wait()

    def _stop_wait(self) -> None:
        end = time.monotonic() + _PAUSE_AFTER_ERROR_S
        while not self._stopping and time.monotonic() < end:
            time.sleep(0.05)

    def _turn(self) -> None:
        if self._epoch == "" or self._new_epoch not in {None, self._epoch}:
            self._begin_epoch()
        for event in self._link.step(self._patience()):
            self._handle(event)
        now = time.monotonic()
        if self._flight.stalled(now):
            self._link.drop(f"no confirmation from the broker for {self._config.stall_s:.0f} s")
        elif self._link.ready:
            self._fill()
        self._stats = PublisherStats(
            connected=self._link.ready,
            protocol=self._protocol,
            at_broker=self._flight.rows_at_broker,
            resent=self._flight.resent,
        )

    def _begin_epoch(self) -> None:
        self._new_epoch = None
        self._reader.close()
        self._epoch = self._reader.epoch()
        self._flight.clear()
        self._cursor = dict.fromkeys(Priority, 0)
        self._more = True

    def _patience(self) -> float:
        if not self._link.ready:
            return _IDLE_S  # the link has its own timers, and nothing else can be done meanwhile
        if self._changed:
            return 0.0
        due = self._flight.next_due()
        return _IDLE_S if due is None else min(_IDLE_S, max(0.0, due - time.monotonic()))

    def _handle(self, event: LinkEvent) -> None:
        if isinstance(event, Ready):
            self._protocol = event.protocol
            self._flight.window_messages = max(1, min(self._config.window_messages, event.receive_maximum))
            overhead = len(self._topic) + _PACKET_EXTRA
            limit = MAX_MESSAGE_BYTES if event.max_packet is None else event.max_packet - overhead
            self._limit = min(MAX_MESSAGE_BYTES, limit)
            if self._limit < _SANE_LIMIT:
                self._warn(
                    "limit",
                    f"the broker takes packets of {event.max_packet} bytes only; events are kept until its limit is "
                    f"raised to at least {_SANE_LIMIT + overhead}",
                )
        elif isinstance(event, Lost):
            self._flight.disconnected(time.monotonic())
        elif isinstance(event, PubAck):
            self._on_puback(event)
        else:
            self._on_ack(event)

    def _on_puback(self, event: PubAck) -> None:
        now = time.monotonic()
        shipment = self._flight.puback(event.mid, now)
        if shipment is None or not shipment.rows:
            return
        if event.code >= _REFUSAL:
            # Most are about this client's rights or the broker's state, and whether one is about the content cannot be
            # known: the rows are kept, and tried again slowly.
            self._warn(
                event.text, f"the broker refuses our events ({event.text}); they are kept; check its access rules"
            )
            self._flight.refused(shipment, now)
        else:
            if event.code == _NO_SUBSCRIBER:
                self._flight.excuse(shipment)
                self._warn("alone", "nobody listens to our events at the broker; they are kept; is the ingest running?")
            self.at_broker(shipment)

    def _on_ack(self, message: Message) -> None:
        if message.retained:  # kept by the broker from some other time: nobody has just answered us
            return
        try:
            ack = decode_ack(message.payload)
        except WireError as error:
            self._warn("ack", f"an acknowledgement on {message.topic} cannot be used: {error}")
            return
        if ack.epoch != self._epoch:
            return
        self._warned.discard("alone")
        rows = self._flight.stored(ack.stored)
        if rows:
            self.outbox.stored(self._epoch, rows)
        for refusal in ack.rejected:
            for priority, seq in self._flight.stored([(refusal.seq, refusal.seq)]):
                self.outbox.kill(self._epoch, [Dead(priority, seq, f"refused by the cloud: {refusal.reason}")])
        if ack.conflict:
            self._warn(
                "conflict",
                f"the cloud has other events of device {self.outbox.device} under the same numbers: the outbox file was "
                "copied or restored, or two processes use one device name; the events here go on in a new epoch",
            )
            self.outbox.renew(self._epoch)

    def _bury(self, shipment: Shipment, reason: str) -> None:
        rows = list(shipment.rows.items())
        self._flight.forget([seq for seq, _ in rows])
        _log.warning("an event cannot be delivered and is put among the dead: %s", reason)
        self.outbox.kill(self._epoch, [Dead(priority, seq, reason) for seq, priority in rows])

    def _fill(self) -> None:
        """Sends all that may be sent now: first what is due again, then new rows, important classes first."""
        if self._limit < _SANE_LIMIT:
            return
        while self._ours() and (shipment := self._flight.due(time.monotonic())) is not None:
            self._repeat(shipment)
        if self._changed:
            self._changed, self._more = False, True
        while self._ours() and self._more and self._launch_new():
            pass

    def _ours(self) -> bool:
        """Whether rows may be sent: the connection stands and the epoch goes on."""
        return self._link.ready and self._new_epoch in {None, self._epoch}

    def _repeat(self, shipment: Shipment) -> None:
        wanted: list[Row] = [(priority, seq) for seq, priority in shipment.rows.items()]
        records = self._reader.named(wanted)
        if self._is_over():
            return
        present = {record.seq for record in records}
        self._flight.forget([seq for _, seq in wanted if seq not in present])  # evicted meanwhile
        if not records:
            return
        encoded = self._pack(records)
        if len(encoded) == len(records):
            self._send(shipment, encoded)
        elif len(records) > 1:  # this broker takes smaller packets than the one before
            self._flight.split(shipment)
        else:
            self._bury(shipment, self._too_large(records[0]))

    def _launch_new(self) -> bool:
        """Sends one message of new rows; whether there may be more, and room for them."""
        rows: list[Record] = []
        full = False
        for priority in Priority:
            free = self._flight.room(priority)
            full = full or free == 0
            room = min(self._config.message_rows, free) - len(rows)
            if room > 0:
                rows += self._reader.after(priority, self._cursor[priority], room)
        if self._is_over():
            return False
        if not rows:
            # Nothing there: a commit brings rows and wakes us. Where room was lacking, rows may wait: whatever makes
            # room, be it an acknowledgement, a PUBACK or an eviction, the next turn looks again.
            self._more = full
            return False
        encoded = self._pack(rows)
        sent = rows[: max(1, len(encoded))]
        for record in sent:
            self._cursor[record.priority] = record.seq
        shipment = self._flight.begin([(record.priority, record.seq) for record in sent])
        if encoded:
            self._send(shipment, encoded)
        else:
            self._bury(shipment, self._too_large(rows[0]))
        return True

    def _is_over(self) -> bool:
        """Whether the epoch has ended by the time that rows were read: they may belong to the next one."""
        epoch = self._reader.epoch()
        if epoch == self._epoch:
            return False
        self._new_epoch, self._more = epoch, False
        return True

    def _pack(self, records: Sequence[Record]) -> list[bytes]:
        """The encoded records that fit into one message, from the front; none when the first alone is too large."""
        encoded: list[bytes] = []
        size = envelope_bytes(self.outbox.device, self._epoch)
        for record in records:
            one = encode_record(record)
            size += len(one) + 1
            if size > (min(self._flight.aim_bytes, self._limit) if encoded else self._limit):
                break
            encoded.append(one)
        return encoded

    def _too_large(self, record: Record) -> str:
        return f"too large for the broker: {len(record.payload)} bytes of data do not fit into its {self._limit}"

    def _send(self, shipment: Shipment, encoded: Sequence[bytes]) -> None:
        message = encode_events(self.outbox.device, self._epoch, encoded)
        mid = self._link.publish(self._topic, message, qos=1)
        if mid is not None:  # else the connection is gone, and the next one begins with this shipment
            self._flight.launch(shipment, mid, time.monotonic(), len(message))

    def _warn(self, key: str, text: str) -> None:
        """Logs one kind of trouble once."""
        if key not in self._warned:
            self._warned.add(key)
            _log.warning("%s", text)
