"""The durable queue of one device: ``emit()`` in front, a writer thread, a SQLite file.

Loss window: a power cut or SIGKILL loses what was emitted in the last flush interval, nothing that was committed.
What is given up on purpose is counted in ``stats()`` by class; what had a seq also leaves a tombstone.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgewright.sync.opening import OutboxLock, open_store
from edgewright.sync.queues import Queues
from edgewright.sync.record import Priority, encode_data, is_kind
from edgewright.sync.store import Reader, connect_file
from edgewright.sync.transaction import NewRow
from edgewright.sync.writer import Writer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgewright.sync.config import OutboxConfig
    from edgewright.sync.record import JSON, Record
    from edgewright.sync.store import Store
    from edgewright.sync.transaction import Dead

__all__ = ["Outbox", "OutboxStats"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OutboxStats:
    """Where the events went; all but ``pending`` count since the outbox was opened.

    Attributes:
        emitted: Calls of ``emit()``.
        committed: Events that reached the disk.
        pending: Rows on the disk that wait for the cloud, those of earlier runs included.
        stored: Rows that the cloud's database has, deleted here.
        dropped: Not kept because memory was full, by class.
        invalid: Not kept because they were no JSON object or had a malformed kind.
        evicted: Given up for space, by class; tombstones say which.
        dead: Too large, or refused for good; tombstones say which.
        commit_failures: How often the disk refused.
    """

    emitted: int = 0
    committed: int = 0
    pending: int = 0
    stored: int = 0
    dropped: Mapping[Priority, int] = field(default_factory=dict)
    invalid: int = 0
    evicted: Mapping[Priority, int] = field(default_factory=dict)
    dead: int = 0
    commit_failures: int = 0


class Outbox:
    """An open outbox. Closing it commits what is in memory.

    Args:
        path: The SQLite file.
        device: Whose events these are.
        config: Memory and disk.
        on_commit: Called by the writer thread with every batch of rows that reached the disk, and its epoch.
        connect: Opens a SQLite connection in autocommit mode.

    Raises:
        OutboxError: The file cannot be opened or belongs to another device.
        OutboxBusyError: Another process has it open.
    """

    def __init__(
        self,
        path: Path,
        device: str,
        config: OutboxConfig,
        on_commit: Callable[[Sequence[Record], str], None] | None = None,
        connect: Callable[[Path], sqlite3.Connection] = connect_file,
    ) -> None:
        """Opens the file and starts the writer thread."""
        self._path = path
        self._device = device
        self._config = config
        self._connect = connect
        self._listeners = [on_commit] if on_commit is not None else []
        self._listener_failed = False
        self._queues = Queues(config)
        self._lock = OutboxLock(path)
        try:
            store, trouble = open_store(path, device, config, connect)
        except BaseException:
            self._lock.release()
            raise
        if trouble is not None:
            _log.error(
                "the outbox %s was corrupt (%s) and is kept beside as .corrupt; a new epoch begins", path, trouble
            )
        self._writer = Writer(store, self._queues, config, self)
        self._closed = False
        self._writer.start()

    @property
    def device(self) -> str:
        """Whose events these are."""
        return self._device

    def emit(self, kind: str, data: Mapping[str, JSON], *, priority: Priority = Priority.DETECTION) -> None:
        """Takes one event; never waits and never raises.

        Args:
            kind: What happened: 1 to 64 letters, digits and ``._:-``.
            data: A JSON object; copied now, so the caller may change it afterwards.
            priority: Its class.
        """
        try:
            payload = encode_data(data)
            level = Priority(priority)
        except Exception as error:  # noqa: BLE001 - whatever a caller's mapping does, the camera goes on
            self._refuse(f"{kind!r:.80} has data that is no JSON object, or an unknown class: {error}")
            return
        if not is_kind(kind) or level is Priority.CONTROL:
            self._refuse(f"{kind!r:.80} is malformed, or its class {level.name} is not for applications")
            return
        dead = None
        if len(payload) > self._config.max_record_bytes:
            dead = f"too large: {len(payload)} bytes are over the limit of {self._config.max_record_bytes}"
            payload = payload[:512]
        if self._closed:
            self._queues.dropped[level].add()
            return
        self._queues.offer(NewRow(kind, level, time.time(), payload, dead))

    def _refuse(self, why: str) -> None:
        self._queues.invalid.add()
        self._queues.complaints.append(why)

    def add_listener(self, on_commit: Callable[[Sequence[Record], str], None]) -> None:
        """Has ``on_commit`` called by the writer thread after every commit, before the others; it must be quick."""
        self._listeners.insert(0, on_commit)

    def reader(self) -> Reader:
        """A reader for another thread."""
        return Reader(self._path, self._connect)

    def stored(self, epoch: str, rows: Sequence[tuple[Priority, int]]) -> None:
        """The cloud's database has these rows of ``epoch``: delete them at the next commit."""
        self._queues.stored.extend((epoch, row) for row in rows)

    def kill(self, epoch: str, dead: Sequence[Dead]) -> None:
        """These rows of ``epoch`` must never be sent again: bury them at the next commit."""
        self._queues.dead.extend((epoch, one) for one in dead)

    def renew(self, epoch: str) -> None:
        """Somebody else counts in ``epoch`` too: if it is still ours, what is in the file goes on in a new one."""
        self._queues.renew.append(epoch)
        self._writer.wake()

    def suspect(self) -> None:
        """A reader has met damage in the file: have the whole of it checked, and put aside if that is so."""
        self._writer.suspect()

    def flush(self, timeout_s: float) -> bool:
        """Waits until everything emitted before this call is on the disk; not for the camera thread.

        Returns:
            Whether it is.
        """
        target = self._writer.target()
        self._writer.wake()
        with self._writer.changed:
            return self._writer.changed.wait_for(lambda: self._writer.written >= target, timeout_s)

    def drain(self, timeout_s: float) -> bool:
        """Waits until nothing is left to deliver; not for the camera thread.

        Returns:
            Whether every row, tombstones included, is in the cloud's database.
        """
        deadline = time.monotonic() + timeout_s
        if not self.flush(timeout_s):
            return False
        with self._writer.changed:
            left = max(0.0, deadline - time.monotonic())
            return self._writer.changed.wait_for(lambda: self._writer.idle, left)

    def stats(self) -> OutboxStats:
        """A snapshot of the counts."""
        writer, queues = self._writer, self._queues
        dropped = {p: queues.dropped[p].value for p in Priority}
        with writer.changed:
            return OutboxStats(
                emitted=writer.taken + queues.waiting() + sum(dropped.values()) + queues.invalid.value,
                committed=writer.committed,
                pending=writer.pending,
                stored=writer.stored,
                dropped=dropped,
                invalid=queues.invalid.value,
                evicted=dict(writer.evicted),
                dead=writer.died,
                commit_failures=writer.commit_failures,
            )

    def committed(self, records: Sequence[Record], epoch: str) -> None:
        """The writer's report; not for others."""
        for listener in self._listeners:
            self._tell(listener, records, epoch)

    def _tell(self, listener: Callable[[Sequence[Record], str], None], records: Sequence[Record], epoch: str) -> None:
        try:
            listener(records, epoch)
        except Exception:  # noqa: BLE001 - an application's defect must not stop the writer
            if not self._listener_failed:
                self._listener_failed = True
                _log.exception("on_commit raised; the rows are safe, and it is called again for the next ones")

    def reopen(self) -> Store:
        """The writer's request after a corruption; not for others."""
        store, _ = open_store(self._path, self._device, self._config, self._connect)
        return store

    def close(self, timeout_s: float = 10.0) -> None:
        """Commits what is in memory and closes the file; harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        if not self._writer.stop(timeout_s):
            waiting = self._queues.waiting()
            _log.error("the outbox could not be closed in %.0f s; %d events in memory are lost", timeout_s, waiting)
            return
        self._lock.release()
