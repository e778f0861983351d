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
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.sync.config import MIN_BUDGET
from edgewright.sync.ledger import add_lost, fold_lost, lost_waiting
from edgewright.sync.record import KIND_TOMBSTONE, Priority, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edgewright.sync.config import OutboxConfig

__all__ = ["Applied", "Changes", "Dead", "NewRow", "Store", "connect_file", "table_of"]

_PAGE = 4096
_SCHEMA = 1
_DEAD_PAYLOAD = 512
_HIGH, _LOW = 0.85, 0.80  # shares of max_page_count: where eviction begins and ends
_CONTROL_ROWS = 8  # tombstones under way at a time; later losses are merged while they wait


@dataclass(frozen=True)
class NewRow:
    """A record on its way into the file.

    Attributes:
        kind: As in ``Record``.
        priority: As in ``Record``.
        created_at: As in ``Record``.
        payload: As in ``Record``; cut short when ``dead`` is set.
        dead: Why the row must not be sent at all, None for a good row.
    """

    kind: str
    priority: Priority
    created_at: float
    payload: bytes
    dead: str | None = None


@dataclass(frozen=True)
class Dead:
    """A committed row that must never be sent again.

    Attributes:
        priority: Its class.
        seq: Which one.
        reason: One of a few fixed phrases, a colon, then the details.
    """

    priority: Priority
    seq: int
    reason: str


@dataclass(frozen=True)
class Changes:
    """What one transaction shall do.

    Attributes:
        new: Rows to insert, in order.
        stored: Rows the cloud has committed, to delete.
        dead: Rows to move to the dead table.
    """

    new: Sequence[NewRow] = ()
    stored: Sequence[tuple[Priority, int]] = ()
    dead: Sequence[Dead] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.new or self.stored or self.dead)


@dataclass(frozen=True)
class Applied:
    """What one transaction did.

    Attributes:
        first_seq: Seq of the first of the new rows; the others follow without gaps.
        stored: How many rows were deleted because the cloud has them.
        dead: How many rows died.
        evicted: How many rows of each class were given up for space.
        tombstones: Records that were added to say what is lost; they follow the new rows.
    """

    first_seq: int
    stored: int
    dead: int
    evicted: dict[Priority, int]
    tombstones: tuple[Record, ...]


def table_of(priority: Priority) -> str:
    """Name of the table that holds a class."""
    return f"row_{int(priority)}"


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
        work = _Work(self._db, dict(self._counts), self._next_seq, self._config.dead_rows)
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


class _Work:
    """The inside of one transaction; its counts become the store's only after the commit."""

    def __init__(self, db: sqlite3.Connection, counts: dict[Priority, int], next_seq: int, dead_rows: int) -> None:
        self._db = db
        self._dead_rows = dead_rows
        self.counts = counts
        self.next_seq = next_seq
        self.died = 0
        self.evicted: dict[Priority, int] = {}
        self.tombstones: list[Record] = []

    def delete(self, priority: Priority, seq: int) -> int:
        gone = self._db.execute(f"DELETE FROM {table_of(priority)} WHERE seq = ?", (seq,)).rowcount  # noqa: S608
        self.counts[priority] -= gone
        return int(gone)

    def insert(self, row: NewRow) -> None:
        seq, self.next_seq = self.next_seq, self.next_seq + 1
        if row.dead is not None:
            self._bury(Dead(row.priority, seq, row.dead), (row.kind, row.created_at, row.payload))
            return
        self._db.execute(
            f"INSERT INTO {table_of(row.priority)} VALUES (?, ?, ?, ?)",  # noqa: S608
            (seq, row.kind, row.created_at, row.payload),
        )
        self.counts[row.priority] += 1

    def kill(self, dead: Dead) -> None:
        table = table_of(dead.priority)
        found = self._db.execute(f"SELECT kind, created, payload FROM {table} WHERE seq = ?", (dead.seq,)).fetchone()  # noqa: S608
        if found is not None:
            self.delete(dead.priority, dead.seq)
            self._bury(dead, found)

    def _bury(self, dead: Dead, row: tuple[str, float, bytes]) -> None:
        kind, created, payload = row
        values = (dead.seq, kind, created, payload[:_DEAD_PAYLOAD], int(dead.priority), dead.reason, time.time())
        self._db.execute("INSERT OR REPLACE INTO dead VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        self._db.execute(
            "DELETE FROM dead WHERE seq IN (SELECT seq FROM dead ORDER BY died DESC, seq DESC LIMIT -1 OFFSET ?)",
            (self._dead_rows,),
        )
        self.died += 1
        if dead.priority is not Priority.CONTROL:  # a tombstone that is refused must not give birth to another
            add_lost(self._db, dead.priority, f"dead: {dead.reason.partition(':')[0]}", [dead.seq])

    def evict(self, target_pages: int, used_pages: Callable[[], int]) -> None:
        while used_pages() > target_pages:
            victim = next((p for p in reversed(Priority) if p is not Priority.CONTROL and self.counts[p]), None)
            if victim is None:
                return
            share = max(16, self.counts[victim] // 16)
            table = table_of(victim)
            found = self._db.execute(f"SELECT seq FROM {table} ORDER BY seq LIMIT ?", (share,))  # noqa: S608
            seqs = [int(row[0]) for row in found]
            self._db.execute(f"DELETE FROM {table} WHERE seq <= ?", (seqs[-1],))  # noqa: S608
            self.counts[victim] -= len(seqs)
            self.evicted[victim] = self.evicted.get(victim, 0) + len(seqs)
            add_lost(self._db, victim, "evicted", seqs)

    def fold(self) -> None:
        while self.counts[Priority.CONTROL] < _CONTROL_ROWS:
            payload = fold_lost(self._db)
            if payload is None:
                return
            record = Record(self.next_seq, KIND_TOMBSTONE, Priority.CONTROL, time.time(), payload)
            self.insert(NewRow(record.kind, record.priority, record.created_at, record.payload))
            self.tombstones.append(record)
