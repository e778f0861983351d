"""What an application uses: one object that keeps and delivers its events."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgewright.sync.address import parse_broker
from edgewright.sync.errors import SyncError
from edgewright.sync.outbox import Outbox
from edgewright.sync.publisher import Publisher, PublisherStats
from edgewright.sync.record import Priority

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from edgewright.sync.address import BrokerAddress
    from edgewright.sync.config import SyncConfig
    from edgewright.sync.record import JSON, Record

__all__ = ["SyncClient", "SyncStats"]

_log = logging.getLogger(__name__)

_EXTRA_STOP_S = 5.0


@dataclass(frozen=True)
class SyncStats:
    """Where the events are. Counts are since ``start()``, except ``pending`` and what is under way.

    Attributes:
        emitted: Calls of ``emit()``.
        committed: Rows on this device's disk; a power cut leaves them.
        pending: Rows on the disk that wait for the cloud, those of earlier runs included.
        at_broker: Of those, how many the broker confirmed; that is not yet the cloud.
        stored: Rows that the cloud's database has committed.
        dropped: Not kept because memory was full while the disk failed.
        invalid: Not kept because they were no JSON object or had a malformed kind.
        evicted: Given up for space; tombstones tell the cloud which.
        dead: Too large or refused for good; tombstones tell the cloud which.
        resent: Messages sent more than once.
        connected: Whether the broker is there now.
        protocol: ``MQTT 5``, ``MQTT 3.1.1``, or empty.
        dropped_by_class: ``dropped`` by name of the class.
        evicted_by_class: ``evicted`` by name of the class.
    """

    emitted: int = 0
    committed: int = 0
    pending: int = 0
    at_broker: int = 0
    stored: int = 0
    dropped: int = 0
    invalid: int = 0
    evicted: int = 0
    dead: int = 0
    resent: int = 0
    connected: bool = False
    protocol: str = ""
    dropped_by_class: Mapping[str, int] = field(default_factory=dict)
    evicted_by_class: Mapping[str, int] = field(default_factory=dict)


class SyncClient:
    """Keeps events in the outbox and delivers them; a context manager.

    ``start()`` reports what is wrong with the settings or the file. After it nothing raises: an unreachable broker is
    warned about once and tried again, while ``emit()`` goes on keeping events.

    Args:
        config: Device, broker and outbox.
        on_commit: Called by the writer thread with each batch that reached the disk and its epoch; must be quick.
    """

    def __init__(self, config: SyncConfig, *, on_commit: Callable[[Sequence[Record], str], None] | None = None) -> None:
        """Opens nothing yet."""
        self._config = config
        self._on_commit = on_commit
        self._outbox: Outbox | None = None
        self._publisher: Publisher | None = None
        self._final: SyncStats | None = None

    def start(self) -> None:
        """Opens the outbox and starts delivery; does not wait for the broker.

        Raises:
            SyncConfigError: A certificate file of the broker URL cannot be loaded.
            OutboxError: The outbox cannot be opened.
            OutboxBusyError: Another process has it open.
            SyncError: The client was started before.
        """
        if self._outbox is not None:
            raise SyncError("this SyncClient was started before; make a new one")
        config = self._config
        outbox = Outbox(config.outbox_path, config.device, config.outbox, self._on_commit)
        try:
            if config.broker is not None:
                self._publisher = self._make_publisher(outbox, parse_broker(config.broker))
                self._publisher.start()
        except BaseException:
            outbox.close()
            raise
        self._outbox = outbox

    def _make_publisher(self, outbox: Outbox, address: BrokerAddress) -> Publisher:
        return Publisher(outbox, address, self._config.link, self._config.resend)

    def emit(self, kind: str, data: Mapping[str, JSON], *, priority: Priority = Priority.DETECTION) -> None:
        """Takes one event; never waits: no lock, no file, no socket. Safe from any thread, the camera's above all.

        Args:
            kind: What happened: 1 to 64 letters, digits and ``._:-``.
            data: A JSON object; it is copied now. What cannot be kept is counted and logged, never raised.
            priority: Its class: smaller is sent first and evicted last.

        Raises:
            SyncError: The client was never started.
        """
        self._opened().emit(kind, data, priority=priority)

    def drain(self, timeout_s: float) -> bool:
        """Waits until the cloud's database has everything; not for the camera thread.

        Args:
            timeout_s: Longest wait.

        Returns:
            Whether it has. Without a broker that is only so when there is nothing to deliver.

        Raises:
            SyncError: The client was never started.
        """
        return self._opened().drain(timeout_s)

    def flush(self, timeout_s: float) -> bool:
        """Waits until everything emitted so far is on this device's disk; not for the camera thread.

        Returns:
            Whether it is.

        Raises:
            SyncError: The client was never started.
        """
        return self._opened().flush(timeout_s)

    def stats(self) -> SyncStats:
        """A snapshot of the counts; all zero before ``start()``, the last ones after ``close()``."""
        if self._final is not None:
            return self._final
        if self._outbox is None:
            return SyncStats()
        kept = self._outbox.stats()
        sent = PublisherStats() if self._publisher is None else self._publisher.stats()
        return SyncStats(
            emitted=kept.emitted,
            committed=kept.committed,
            pending=kept.pending,
            at_broker=sent.at_broker,
            stored=kept.stored,
            dropped=sum(kept.dropped.values()),
            invalid=kept.invalid,
            evicted=sum(kept.evicted.values()),
            dead=kept.dead,
            resent=sent.resent,
            connected=sent.connected,
            protocol=sent.protocol,
            dropped_by_class={p.name.lower(): n for p, n in kept.dropped.items() if n},
            evicted_by_class={p.name.lower(): n for p, n in kept.evicted.items() if n},
        )

    def close(self) -> None:
        """Commits what is in memory and ends both threads; undelivered rows wait in the file. Harmless when repeated."""
        if self._outbox is None or self._final is not None:
            return
        # The publisher first: what it learnt until now still goes into the last commit.
        if self._publisher is not None and not self._publisher.stop(
            self._config.link.connect_timeout_s + _EXTRA_STOP_S
        ):
            _log.error("the publisher is stuck in a connection attempt and was left behind")
        self._outbox.close()
        self._final = self.stats()

    def _opened(self) -> Outbox:
        if self._outbox is None:
            raise SyncError("this SyncClient was not started; call start() first")
        return self._outbox

    def __enter__(self) -> SyncClient:  # noqa: PYI034 - Self needs Python 3.11
        """Starts."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes."""
        self.close()
