"""The cloud's consumer: a message goes into the database, the database commits, and only then is it acknowledged.

Invariants:

- An acknowledgement is published after ``commit`` returned, never before; the broker's own acknowledgement too.
- What cannot be parsed or stored is counted and logged, and never stops the others.
- Seqs under which the database has something else are not acknowledged: the device is told of the conflict.
- A device speaks for itself only: the name in the payload must be the name in the topic.
- A failing database is waited for: nothing is acknowledged meanwhile, so the devices keep their rows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgewright.cloud.embedded import EmbeddedBroker
from edgewright.cloud.errors import IngestError, StoreError
from edgewright.cloud.store import open_store
from edgewright.sync.address import parse_broker
from edgewright.sync.config import LinkConfig
from edgewright.sync.connection import Message, Ready, SessionConfig
from edgewright.sync.errors import WireError
from edgewright.sync.link import Link
from edgewright.sync.quiet import Throttle
from edgewright.sync.wire import ALL_EVENTS, ack_topic, decode_events, device_of, encode_acks

if TYPE_CHECKING:
    from types import TracebackType

    from edgewright.cloud.store import Inserted, Store
    from edgewright.sync.wire import EventBatch

__all__ = ["IngestConfig", "IngestService", "IngestStats"]

_log = logging.getLogger(__name__)

_IDLE_S = 0.5
_GATHER_S = 0.01
_STOP_S = 15.0
_COUNTS = (
    *("messages", "stored", "duplicates", "conflicts", "rejected"),
    *("malformed", "mismatched", "acknowledged", "failures"),
)
_WEEK_S = 7 * 24 * 3600


@dataclass(frozen=True)
class IngestConfig:
    """How the ingest runs.

    Attributes:
        db: ``sqlite:///PATH``.
        broker: Broker URL; None starts an embedded broker on 127.0.0.1.
        port: Of the embedded broker; 0 takes a free one.
        client_id: MQTT client id; the broker keeps the session under it.
        batch_messages: Most messages in one transaction.
        retry_s: Pause before a failed transaction is tried again.
        link: Timers of the connection.
    """

    db: str
    broker: str | None = field(default=None, repr=False)  # it may hold a password
    port: int = 0
    client_id: str = "edgewright-ingest"
    batch_messages: int = 200
    retry_s: float = 1.0
    link: LinkConfig = field(default_factory=LinkConfig)


@dataclass(frozen=True)
class IngestStats:
    """What the ingest did since it started.

    Attributes:
        messages: Messages received.
        stored: Records that are new in the database.
        duplicates: Records that were there already.
        conflicts: Records under whose seq another record was there: a copied or restored outbox; not stored.
        rejected: Records refused for good; their devices were told.
        malformed: Messages that could not be used at all.
        mismatched: Messages whose payload names another device than their topic.
        acknowledged: Acknowledgements published.
        failures: Transactions that the database refused.
        connected: Whether the broker is there now.
        last_message_at: Monotonic seconds of the newest message; when there was none, of the first connection.
    """

    messages: int = 0
    stored: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    malformed: int = 0
    mismatched: int = 0
    acknowledged: int = 0
    failures: int = 0
    connected: bool = False
    last_message_at: float = 0.0


class IngestService:
    """Runs the ingest in a thread; a context manager.

    Example::

        with IngestService(IngestConfig("sqlite:///fleet.db")) as ingest:
            print(ingest.broker_url)

    Args:
        config: How.
    """

    def __init__(self, config: IngestConfig) -> None:
        """Opens nothing yet."""
        self._config = config
        self._store: Store | None = None
        self._broker: EmbeddedBroker | None = None
        self._link: Link | None = None
        self._url = config.broker
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgewright-ingest", daemon=True)
        self._ready = threading.Event()
        # All keys from the start: stats() reads it from another thread.
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._last_message_at = time.monotonic()
        self._throttle = Throttle()
        self._surprised = False
        self._closed = False

    @property
    def broker_url(self) -> str:
        """Where devices connect; may hold credentials when the configured URL does.

        Raises:
            IngestError: It was not started and has no broker yet.
        """
        if self._url is None:
            raise IngestError("the ingest has no broker before start()")
        return self._url

    def start(self) -> None:
        """Opens the database, starts the embedded broker if one is wanted, and begins to consume.

        Raises:
            StoreUrlError: The database URL cannot be used.
            StoreError: The database cannot be opened.
            SyncConfigError: The broker URL cannot be used.
            BrokerError: The embedded broker cannot start.
            MissingExtraError: amqtt is not installed.
            IngestError: It was started before.
        """
        if self._store is not None:
            raise IngestError("this IngestService was started before; make a new one")
        if self._config.broker is not None:
            parse_broker(self._config.broker)  # before anything is opened
        store = open_store(self._config.db)
        try:
            if self._config.broker is None:
                self._broker = EmbeddedBroker(self._config.port)
                self._broker.start()
                self._url = self._broker.url
            own = self._broker is not None  # such a broker ends with us: it can keep no session
            session = SessionConfig(
                self._config.client_id,
                ALL_EVENTS,
                persistent=not own,
                expiry_s=_WEEK_S,
                manual_ack=True,
                known_old=own,
                meanwhile="devices keep their events",
            )
            self._link = Link(parse_broker(self.broker_url), self._config.link, session)
        except BaseException:
            if self._broker is not None:
                self._broker.stop()
            store.close()
            raise
        self._store = store
        self._last_message_at = time.monotonic()
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> bool:
        """Waits until the subscription stands for the first time; says whether it does."""
        return self._ready.wait(timeout_s)

    def stats(self) -> IngestStats:
        """A snapshot."""
        connected = self._link is not None and self._link.ready and not self._closed
        return IngestStats(**self._counts, connected=connected, last_message_at=self._last_message_at)

    def stop(self) -> None:
        """Finishes the batch in hand and closes everything; harmless when repeated."""
        if self._closed or self._store is None or self._link is None:
            return
        self._closed = True
        self._stop.set()
        self._link.wake()
        self._thread.join(_STOP_S)
        if self._broker is not None:
            self._broker.stop()
        if self._thread.is_alive():
            _log.error("the ingest is stuck and was left behind; what it acknowledged is in the database")
            return
        self._store.close()

    def _run(self) -> None:
        link, store = self._link, self._store
        if link is None or store is None:
            raise IngestError("the ingest was run without start()")
        while not self._stop.is_set():
            self._turn(link, store)
        link.close()

    def _turn(self, link: Link, store: Store) -> None:
        try:
            batch = self._gather(link)
            if batch:
                self._ingest(link, store, batch)
        except Exception:  # noqa: BLE001 - one batch that hits a defect must not end the ingest of a fleet
            if not self._surprised:
                self._surprised = True
                _log.exception("the ingest met an unexpected error; the batch is left to be sent again")
            link.drop("an unexpected error")
            self._stop.wait(self._config.retry_s)

    def _gather(self, link: Link) -> list[Message]:
        """The messages of one transaction: all that is there, and what follows within a moment."""
        batch: list[Message] = []
        deadline: float | None = None
        while len(batch) < self._config.batch_messages:
            patience = _IDLE_S if deadline is None else deadline - time.monotonic()
            if patience <= 0:
                break
            for event in link.step(patience):
                if isinstance(event, Message):
                    batch.append(event)
                elif isinstance(event, Ready):
                    if not self._ready.is_set():
                        self._last_message_at = time.monotonic()
                    self._ready.set()
            if self._stop.is_set():
                break
            if not batch:
                return batch
            if deadline is None:
                deadline = time.monotonic() + _GATHER_S
        return batch

    def _ingest(self, link: Link, store: Store, batch: list[Message]) -> None:
        self._last_message_at = time.monotonic()
        self._counts["messages"] += len(batch)
        parsed = [one for message in batch if (one := self._parse(message)) is not None]
        if parsed:
            done = self._commit(store, parsed)
            if done is None:
                return  # stopping while the database fails: nothing is acknowledged, the devices keep their rows
            for effect in filter(None, done):
                self._counts["stored"] += effect.new
                self._counts["duplicates"] += effect.duplicates
                self._counts["conflicts"] += len(effect.conflicts)
            self._acknowledge(link, list(zip(parsed, done, strict=True)))
        for message in batch:
            link.ack(message)

    def _parse(self, message: Message) -> EventBatch | None:
        device = device_of(message.topic)
        try:
            batch = decode_events(message.payload)
        except (
            WireError,
            ValueError,
            RecursionError,
        ) as error:  # the latter two would be our defect, and are contained
            self._counts["malformed"] += 1
            self._throttle.warn(_log, "malformed", "a message on %.100r is ignored: %s", message.topic, error)
            return None
        if batch.device != device:
            self._counts["mismatched"] += 1
            text = "a message on the topic of device %s claims to be of %.64r; it is ignored"
            self._throttle.warn(_log, "mismatched", text, device, batch.device)
            return None
        self._counts["rejected"] += len(batch.rejected)
        for one in batch.rejected[:1]:
            text = "record %d of device %s is refused: %s"
            self._throttle.warn(_log, "rejected", text, one.seq, device, one.reason)
        return batch

    def _commit(self, store: Store, batches: list[EventBatch]) -> list[Inserted | None] | None:
        """Stores all of it, trying until it works.

        Returns:
            What each batch did, None for one that cannot be stored at all; None when the service is stopped first.
        """
        received_at = time.time()
        failed = False
        while True:
            try:
                return list(_store_all(store, batches, received_at))
            except StoreError as error:
                self._counts["failures"] += 1
                if not failed:
                    _log.error("%s; nothing is acknowledged, devices keep their rows, trying again", error)
                failed = True
            except Exception as error:  # noqa: BLE001 - a record that hits a defect of ours must not stop the fleet's
                return self._commit_each(store, batches, error)
            if self._stop.wait(self._config.retry_s):
                return None

    def _commit_each(self, store: Store, batches: list[EventBatch], error: Exception) -> list[Inserted | None] | None:
        """Something in ``batches`` cannot be stored: finds out which, and stores the others."""
        if len(batches) == 1:
            self._counts["malformed"] += 1
            self._throttle.warn(
                _log, "defect", "a message of device %s cannot be stored, it is left out: %r", batches[0].device, error
            )
            return [None]
        done: list[Inserted | None] = []
        for batch in batches:
            one = self._commit(store, [batch])
            if one is None:
                return None
            done += one
        return done

    def _acknowledge(self, link: Link, batches: list[tuple[EventBatch, Inserted | None]]) -> None:
        """Tells each device what the database has; of a batch that could not be stored nothing is said."""
        epochs: dict[tuple[str, str], list[tuple[EventBatch, Inserted]]] = defaultdict(list)
        for batch, done in batches:
            if done is not None:
                epochs[batch.device, batch.epoch].append((batch, done))
        for (device, epoch), group in epochs.items():
            stored = [r.seq for batch, done in group for r in batch.records if r.seq not in done.conflicts]
            rejected = [refusal for batch, _ in group for refusal in batch.rejected]
            conflict = any(done.conflicts for _, done in group)
            if conflict:
                text = (
                    "ALARM: device %s sends other events under numbers that are in the database: its outbox was copied "
                    "or restored, or two processes use its name; it is told to begin a new epoch"
                )
                self._throttle.warn(_log, "conflict", text, device)
            for ack in encode_acks(epoch, stored, rejected, conflict=conflict):
                # QoS 0 is enough: a lost acknowledgement is made good by the device's resend timer.
                if link.publish(ack_topic(device), ack, qos=0) is not None:
                    self._counts["acknowledged"] += 1

    def __enter__(self) -> IngestService:  # noqa: PYI034 - Self needs Python 3.11
        """Starts."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops."""
        self.stop()


def _store_all(store: Store, batches: list[EventBatch], received_at: float) -> list[Inserted]:
    """One transaction: all of it is durable, or nothing of it.

    Raises:
        StoreError: The database refused.
    """
    try:
        store.begin()
        done = [store.insert(b.device, b.epoch, b.records, received_at) for b in batches]
        store.commit()
    except BaseException:
        store.rollback()
        raise
    return done
