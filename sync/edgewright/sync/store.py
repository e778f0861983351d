"""The outbox's SQLite file: what one transaction does, and how the file stays inside its budget.

One table a class, keyed by seq: rows of one class lie together, so that evicting a class frees whole pages. The seq is
counted in ``meta`` inside the same transaction as the rows, which makes it gapless and never reused.

Invariants:

- WAL with ``synchronous=FULL``: what ``apply`` returned is on the disk.
- Every seq ever committed is in exactly one place: a class table, the cloud, ``dead`` or a tombstone.
- Pages stay under ``max_page_count``, and rows are evicted before that is reached, because a full SQLite file refuses
  even DELETE. A reserve file beside it is given up when the *disk* is full, for the same reason.

Not thread-safe: one thread at a time (the writer's) uses a ``Store``.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import uuid
from typing import TYPE_CHECKING

from edgewright.sync.changes import Applied, table_of
from edgewright.sync.config import MIN_BUDGET
from edgewright.sync.ledger import lost_waiting
from edgewright.sync.record import Priority
from edgewright.sync.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgewright.sync.changes import Changes
    from edgewright.sync.config import OutboxConfig

__all__ = ["Store", "connect_file"]

_PAGE = 4096
_SCHEMA = 1
_HIGH, _LOW = 0.85, 0.80  # shares of max_page_count: where eviction begins and ends


def connect_file(path: Path) -> sqlite3.Connection:
    """The default way to open the file; tests put a faulty disk here."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)


class Store:
    """One open outbox file.

    Args:
        path: The database file.
        device: Whose rows these are.
        config: Budget and limits.
        connect: Opens a connection in autocommit mode.

    Raises:
        sqlite3.Error: The file cannot be opened, or is corrupt (then exactly ``sqlite3.DatabaseError``).
    """

    def __init__(
        self,
        path: Path,
        device: str,
        config: OutboxConfig,
        connect: Callable[[Path], sqlite3.Connection] = connect_file,
    ) -> None:
        """Opens the file, checks it and makes what is missing."""
        self._path = path
        self._config = config
        self._reserve = path.with_name(path.name + ".reserve")
        self.budget = _affordable(path, config.byte_budget)
        pages = self.budget // _PAGE
        self._wal_pages = max(16, min(250, pages // 16))
        # What a checkpoint may need: a log that cannot be folded into the file can never be shortened.
        self._reserve_pages = self._wal_pages + 16
        self._max_pages = pages - 2 * self._wal_pages - self._reserve_pages
        self._db = connect(path)
        try:
            self._prepare(device)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, device: str) -> None:
        for pragma in (
            f"page_size={_PAGE}",
            "journal_mode=WAL",
            "synchronous=FULL",
            f"wal_autocheckpoint={self._wal_pages}",
            f"journal_size_limit={self._wal_pages * _PAGE}",
            f"max_page_count={self._max_pages}",
            "temp_store=MEMORY",
        ):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        verdict = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(str(verdict))
        self.schema = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if self.schema == 0:
            with self._transaction():
                self._create(device)
            self.schema = _SCHEMA
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        self.device: str = meta["device"]
        self.epoch: str = meta["epoch"]
        self._next_seq = int(meta["next_seq"])
        self._counts = {p: self._count(table_of(p)) for p in Priority}
        self._dead_count = self._count("dead")
        self._lost = lost_waiting(self._db)
        self.frozen = False
        self.hold_reserve()

    def _create(self, device: str) -> None:
        self._db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        columns = "seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, created REAL NOT NULL, payload BLOB NOT NULL"
        for priority in Priority:
            self._db.execute(f"CREATE TABLE {table_of(priority)} ({columns})")
        self._db.execute(
            f"CREATE TABLE dead ({columns}, class INTEGER NOT NULL, reason TEXT NOT NULL, died REAL NOT NULL)"
        )
        self._db.execute(
            "CREATE TABLE lost (class INTEGER NOT NULL, reason TEXT NOT NULL, first INTEGER NOT NULL,"
            " last INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (class, reason, first)) WITHOUT ROWID"
        )
        rows = [("device", device), ("epoch", uuid.uuid4().hex), ("next_seq", "1")]
        self._db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        self._db.execute(f"PRAGMA user_version={_SCHEMA}")

    def _count(self, table: str) -> int:
        return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 (our own names)

    @property
    def newest_schema(self) -> int:
        """The newest schema this code can read."""
        return _SCHEMA

    @property
    def pending(self) -> int:
        """Rows that wait for the cloud."""
        return sum(self._counts.values())

    @property
    def settled(self) -> bool:
        """Whether nothing at all waits: no rows, and no tombstones to be."""
        return self.pending == 0 and not self._lost

    @property
    def dead(self) -> int:
        """Rows in the dead table."""
        return self._dead_count

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back by itself after some errors, and then says that there is nothing to roll back.
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def apply(self, changes: Changes, evict_share: float = 0.0) -> Applied:
        """Does ``changes`` in one durable transaction, evicting what the budget demands.

        Args:
            changes: What to do.
            evict_share: Give up this share of the used pages first, for a disk that is full before the budget is.

        Returns:
            What was done; all of it is on the disk.

        Raises:
            sqlite3.OperationalError: The disk is full or fails; nothing was changed.
            sqlite3.DatabaseError: The file is corrupt.
        """
        work = Work(self._db, dict(self._counts), self._next_seq, self._config.dead_rows)
        with self._transaction():
            stored = sum(work.delete(priority, seq) for priority, seq in changes.stored)
            for dead in changes.dead:
                work.kill(dead)
            if evict_share:
                work.evict(int(self._used_pages() * (1 - evict_share)), self._used_pages)
            for row in changes.new:
                work.insert(row)
            if self._used_pages() > self._max_pages * _HIGH:
                work.evict(int(self._max_pages * _LOW), self._used_pages)
            work.fold()
            lost = lost_waiting(self._db)
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'next_seq'", (str(work.next_seq),))
        first = self._next_seq
        self._counts, self._next_seq, self._lost = work.counts, work.next_seq, lost
        self._dead_count = min(self._dead_count + work.died, self._config.dead_rows)
        return Applied(first, stored, work.died, work.evicted, tuple(work.tombstones))

    def _used_pages(self) -> int:
        pages = int(self._db.execute("PRAGMA page_count").fetchone()[0])
        return pages - int(self._db.execute("PRAGMA freelist_count").fetchone()[0])

    def dead_rows(self) -> list[tuple[int, str, str]]:
        """The dead rows kept for inspection as (seq, kind, reason), oldest first."""
        return list(self._db.execute("SELECT seq, kind, reason FROM dead ORDER BY died, seq"))

    def hold_reserve(self) -> None:
        """Sets bytes aside so that a full disk can still be worked free, and lets the file grow again if it may."""
        size = self._reserve_pages * _PAGE
        try:
            if not self._reserve.exists() and shutil.disk_usage(self._path.parent).free > 4 * size:
                self._reserve.write_bytes(bytes(size))
            if self.frozen and self._reserve.exists():
                self._db.execute(f"PRAGMA max_page_count={self._max_pages}").fetchall()
                self.frozen = False
        except OSError:
            # Somebody was faster in filling the disk.
            self._release_reserve()

    def relieve(self) -> None:
        """Makes what room can be made on a full disk.

        The reserve goes back to the file system, and the file may not grow into it: those bytes are for the write-ahead
        log, without which not even a DELETE can happen.
        """
        self._release_reserve()
        with contextlib.suppress(sqlite3.Error):
            # RESTART and not TRUNCATE: the log's own bytes stay ours.
            self._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            if not self.frozen:
                self._db.execute("PRAGMA max_page_count=1").fetchall()  # means: no more than there are now
                self.frozen = True

    def _release_reserve(self) -> None:
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file; SQLite then folds the write-ahead log into it."""
        self._release_reserve()
        self._db.close()


def _affordable(path: Path, byte_budget: int) -> int:
    """The budget, or four fifths of what the disk has for us when that is less; never under the smallest budget."""
    mine = sum(p.stat().st_size for p in path.parent.glob(path.name + "*"))
    free = shutil.disk_usage(path.parent).free
    return min(byte_budget, max(MIN_BUDGET, (mine + free) * 4 // 5))
