"""The writer thread: the only one that changes the outbox file.

Every flush interval it takes what ``emit()`` left in memory and what the publisher reported, and commits both in one
transaction. A failure loses nothing: the batch stays in hand and is tried again, and meanwhile the bounded queues in
front of it fill up and count what they must drop.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from edgewright.sync.errors import OutboxError
from edgewright.sync.opening import is_corruption
from edgewright.sync.quiet import Throttle
from edgewright.sync.record import Priority, Record
from edgewright.sync.transaction import Changes

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

    from edgewright.sync.config import OutboxConfig
    from edgewright.sync.queues import Queues
    from edgewright.sync.store import Store
    from edgewright.sync.transaction import Dead, NewRow

__all__ = ["Writer", "WriterHooks"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_ROW_OVERHEAD = 64
_REPORTS = 2000
_RETRY_S = 0.5
_RESERVE_S = 1.0
_PATIENCE_S = 2.0


class WriterHooks(Protocol):
    """What the writer tells the rest."""

    def committed(self, records: Sequence[Record], epoch: str) -> None:
        """These rows are on the disk now; called by the writer thread."""

    def reopen(self) -> Store:
        """The file was found corrupt: put it aside and open a new one.

        Raises:
            OutboxError: That failed too.
        """


class Writer:
    """Moves rows from memory to the file, and deletes what the cloud has.

    Attributes:
        changed: Notified after every turn; ``flush`` and ``drain`` wait on it.
    """

    def __init__(self, store: Store, queues: Queues, config: OutboxConfig, hooks: WriterHooks) -> None:
        """Takes over ``store``: from now on only this thread uses it."""
        self._store = store
        self._queues = queues
        self._config = config
        self._hooks = hooks
        self._batch: list[NewRow] = []
        self._stored: list[tuple[Priority, int]] = []
        self._dead: list[Dead] = []
        self._wake = threading.Event()
        self._stopping = False
        self._suspected = False
        self._failing_since: float | None = None
        self._reserve_due = 0.0
        self._broken = False  # the store is closed and must be opened again
        self._surprised = False
        self._throttle = Throttle()
        self._thread = threading.Thread(target=self._run, name="edgewright-outbox", daemon=True)
        self.changed = threading.Condition()
        self.taken = 0
        self.written = 0
        self.committed = 0
        self.stored = 0
        self.died = 0
        self.evicted = dict.fromkeys(Priority, 0)
        self.commit_failures = 0
        self.pending = store.pending
        self.idle = store.settled

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Asks for a turn now instead of at the end of the interval."""
        self._wake.set()

    def suspect(self) -> None:
        """Asks for a check of the whole file."""
        self._suspected = True
        self._wake.set()

    def target(self) -> int:
        """How many rows ``written`` must reach until everything emitted so far is on the disk."""
        with self.changed:
            return self.taken + self._queues.waiting()

    def stop(self, timeout_s: float) -> bool:
        """Commits what is left and closes the file.

        Returns:
            Whether the thread ended in time; if the disk fails until then, what is in memory is lost.
        """
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        deadline: float | None = None
        while True:
            self._wake.wait(self._config.flush_interval_s)
            self._wake.clear()
            stopping = self._stopping  # read before the turn: what was emitted before stop() is in this turn's batches
            clean = self._guarded_turn()
            if stopping:
                deadline = deadline or time.monotonic() + 2.0
                if clean or time.monotonic() > deadline:
                    break
        with contextlib.suppress(sqlite3.Error):  # the rows are committed; SQLite folds its log at the next opening
            self._store.close()
        with self.changed:
            self.changed.notify_all()

    def _guarded_turn(self) -> bool:
        try:
            return self._turn()
        except Exception:  # noqa: BLE001 - this thread must outlive any defect, or every later event would be lost
            if not self._surprised:
                self._surprised = True
                _log.exception("the outbox writer met an unexpected error; it goes on with the same rows")
            self._wake.wait(_RETRY_S)
            return False

    def _turn(self) -> bool:
        """Works until nothing is left or the disk refuses; says whether nothing is left."""
        self._complain()
        if self._broken and not self._reopen():
            return False
        try:
            while self._collect():
                self._commit()
            self._renew()
            if self._suspected:
                self._suspected = False
                self._store.check()
        except sqlite3.OperationalError as error:
            return self._trouble(error)
        except sqlite3.DatabaseError as error:
            return self._corrupt(error)
        self._hold_reserve()
        return True

    def _renew(self) -> None:
        while self._queues.renew:
            if self._queues.renew.popleft() != self._store.epoch:
                continue
            tombstones = self._store.renew()
            with self.changed:
                self._stored, self._dead = [], []  # they name rows of the former epoch
                self.pending, self.idle = self._store.pending, self._store.settled
            self._hooks.committed(tombstones, self._store.epoch)

    def _collect(self) -> bool:
        """Tops up the batch in hand; says whether there is anything to commit."""
        size = sum(len(row.payload) + _ROW_OVERHEAD for row in self._batch)
        limit = self._store.budget // 32
        with self.changed:
            for priority, queue in self._queues.rows.items():
                while queue and len(self._batch) < self._config.batch_rows and size < limit:
                    row = self._queues.take(priority)
                    size += len(row.payload) + _ROW_OVERHEAD
                    self._batch.append(row)
                    self.taken += 1
        _move(self._queues.stored, self._stored, self._store.epoch)
        _move(self._queues.dead, self._dead, self._store.epoch)
        return bool(self._batch or self._stored or self._dead)

    def _commit(self, evict_share: float = 0.0, *, with_new: bool = True) -> None:
        new = self._batch if with_new else []
        applied = self._store.apply(Changes(new, self._stored, self._dead), evict_share)
        records = [
            Record(seq, row.kind, row.priority, row.created_at, row.payload)
            for seq, row in enumerate(new, applied.first_seq)
            if row.dead is None
        ]
        with self.changed:
            self.written += len(new)
            self.committed += len(records)
            self.stored += applied.stored
            self.died += applied.dead
            for priority, n in applied.evicted.items():
                self.evicted[priority] += n
            self._stored, self._dead = [], []
            if with_new:
                self._batch = []
            self.pending, self.idle = self._store.pending, self._store.settled
            self.changed.notify_all()
        self._hooks.committed([*records, *applied.tombstones], self._store.epoch)

    def _trouble(self, error: sqlite3.OperationalError) -> bool:
        """The disk is full or fails: free what can be freed and try once more; says whether that worked."""
        self.commit_failures += 1
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            _log.warning(
                "the outbox cannot write (%s); events wait in memory and it tries again; free some disk", error
            )
        self._store.relieve()
        self._reserve_due = time.monotonic() + _RESERVE_S
        # First without the new rows: deleting what the cloud has may be all the room that is needed. Old rows are given
        # up only when memory runs out too, or time: a disk is often full for a moment only.
        patient = time.monotonic() - self._failing_since < _PATIENCE_S and not self._stopping
        crowded = self._queues.crowded() or not patient
        for share, with_new in ((0.0, False), (0.0, True), (0.1, False), (0.0, True))[: 4 if crowded else 2]:
            try:
                self._commit(share, with_new=with_new)
            except sqlite3.OperationalError:
                continue
            except sqlite3.DatabaseError as worse:
                return self._corrupt(worse)
            if with_new:
                return True
        self._wake.wait(_RETRY_S)
        return False

    def _corrupt(self, error: sqlite3.DatabaseError) -> bool:
        if not is_corruption(error):  # a defect of ours, such as a constraint that broke
            _log.error("the outbox refused a transaction: %s", error)
            self._wake.wait(_RETRY_S)
            return False
        _log.error("the outbox file seems corrupt (%s); it is opened again, or put aside", error)
        with contextlib.suppress(sqlite3.Error):
            self._store.close()
        self._broken = True
        return False

    def _reopen(self) -> bool:
        epoch = self._store.epoch
        try:
            self._store = self._hooks.reopen()
        except OutboxError as error:
            if self._failing_since is None:
                self._failing_since = time.monotonic()
                _log.error("%s; events wait in memory and it tries again", error)
            self._wake.wait(_RETRY_S)
            return False
        self._broken = False
        if self._store.epoch != epoch:
            self._stored, self._dead = [], []  # they name rows of the old epoch
        self._hooks.committed([], self._store.epoch)
        return True

    def _hold_reserve(self) -> None:
        now = time.monotonic()
        if now >= self._reserve_due:
            self._reserve_due = now + _RESERVE_S
            self._store.hold_reserve()
        if self._failing_since is not None and not self._store.frozen:
            _log.warning("the outbox writes again after %.1f s", now - self._failing_since)
            self._failing_since = None

    def _complain(self) -> None:
        while self._queues.complaints:
            self._throttle.warn(_log, "refused", "an event was refused: %s", self._queues.complaints.popleft())


def _move(source: deque[tuple[str, _T]], target: list[_T], epoch: str) -> None:
    while source and len(target) < _REPORTS:
        of_epoch, report = source.popleft()
        if of_epoch == epoch:
            target.append(report)
