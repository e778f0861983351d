"""The outbox's SQLite file: what one transaction does, and how the file stays inside its budget.

One table a class, keyed by seq: rows of one class lie together, so that evicting a class frees whole pages. The seq is
counted in ``meta`` inside the same transaction as the rows, which makes it gapless and never reused.

Invariants:

- WAL with ``synchronous=FULL``: what ``apply`` returned is on the disk.
- Every seq ever committed is in a class table, in the cloud, or named by a tombstone. A row that was evicted while it
  was under way may be both of the latter; the cloud then counts it as stored.
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

from edgewright.sync.config import MIN_BUDGET
from edgewright.sync.record import Priority, Record
from edgewright.sync.transaction import Applied, Work, lost_waiting, table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edgewright.sync.config import OutboxConfig
    from edgewright.sync.transaction import Changes

__all__ = ["Reader", "Store", "connect_file"]

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
        self.check()
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
            lost = self._conclude(work)
        first = self._next_seq
        self._counts, self._next_seq, self._lost = work.counts, work.next_seq, lost
        return Applied(first, stored, work.died, work.evicted, tuple(work.tombstones))

    def _conclude(self, work: Work) -> bool:
        """The end of every transaction; says whether losses still wait for their tombstone."""
        work.fold()
        self._db.execute("UPDATE meta SET value = ? WHERE key = 'next_seq'", (str(work.next_seq),))
        return lost_waiting(self._db)

    def renew(self) -> tuple[Record, ...]:
        """Gives what is in the file a new epoch: somebody else counts in the present one.

        Rows keep their seqs. Those that are not here any more belong to the former epoch, and tombstones say so.

        Returns:
            Those tombstones.

        Raises:
            sqlite3.Error: Nothing was changed.
        """
        work = Work(self._db, dict(self._counts), self._next_seq, self._config.dead_rows)
        epoch = uuid.uuid4().hex
        with self._transaction():
            work.leave_epoch(self.epoch)
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (epoch,))
            lost = self._conclude(work)
        self.epoch = epoch
        self._counts, self._next_seq, self._lost = work.counts, work.next_seq, lost
        return tuple(work.tombstones)

    def check(self) -> None:
        """Looks for damage in the whole file.

        Raises:
            sqlite3.DatabaseError: There is some.
        """
        verdict = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(str(verdict))

    def _used_pages(self) -> int:
        pages = int(self._db.execute("PRAGMA page_count").fetchone()[0])
        return pages - int(self._db.execute("PRAGMA freelist_count").fetchone()[0])

    def hold_reserve(self) -> None:
        """Sets bytes aside so that a full disk can still be worked free, and lets the file grow again if it may."""
        size = self._reserve_pages * _PAGE
        try:
            if not self._reserve.exists() and shutil.disk_usage(self._path.parent).free > 4 * size:
                self._reserve.write_bytes(bytes(size))
            if self.frozen and self._reserve.exists():
                self._db.execute(f"PRAGMA max_page_count={self._max_pages}").fetchall()
                self.frozen = False
        except (OSError, sqlite3.Error):
            # Somebody was faster in filling the disk, or it fails: the next call tries again.
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


class Reader:
    """Rows of one outbox file beside its writer, which WAL never blocks; used by one thread, the one that first reads."""

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        """Opens nothing yet."""
        self._path = path
        self._connect = connect
        self._db: sqlite3.Connection | None = None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = self._connect(self._path)
            # A name that rot has made unreadable must not hide the rows behind it; the cloud will refuse it by seq.
            self._db.text_factory = lambda raw: raw.decode("ascii", "replace").replace("\ufffd", "?")
            self._db.execute("PRAGMA query_only=1")
        return self._db

    def epoch(self) -> str:
        """The epoch of the file as it is now.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        return str(self._open().execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])

    def after(self, priority: Priority, seq: int, limit: int) -> list[Record]:
        """The next rows of one class behind ``seq``, oldest first.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        query = f"SELECT seq, kind, created, payload FROM {table_of(priority)} WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
        return [_record(priority, row) for row in self._open().execute(query, (seq, limit)).fetchall()]

    def named(self, rows: Sequence[tuple[Priority, int]]) -> list[Record]:
        """Those of ``rows`` that are still there, in their order.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        db = self._open()
        found: list[Record] = []
        for priority, seq in rows:
            query = f"SELECT seq, kind, created, payload FROM {table_of(priority)} WHERE seq = ?"  # noqa: S608
            row = db.execute(query, (seq,)).fetchone()
            if row is not None:
                found.append(_record(priority, row))
        return found

    def close(self) -> None:
        """Closes the connection; the next read opens a new one."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None


def _affordable(path: Path, byte_budget: int) -> int:
    """The budget, or four fifths of what the disk has for us when that is less; never under the smallest budget."""
    mine = sum(p.stat().st_size for p in path.parent.glob(path.name + "*"))
    free = shutil.disk_usage(path.parent).free
    return min(byte_budget, max(MIN_BUDGET, (mine + free) * 4 // 5))


def _record(priority: Priority, row: tuple[int, str, float, bytes]) -> Record:
    return Record(row[0], row[1], priority, row[2], bytes(row[3]))
