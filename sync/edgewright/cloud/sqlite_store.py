"""The fleet's database in one SQLite file: WAL and ``synchronous=FULL``, because an acknowledgement promises the disk."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

from edgewright.cloud.errors import StoreError
from edgewright.cloud.store import DeviceState, Inserted, Loss, StoredEvent
from edgewright.cloud.tombstones import read_tombstone
from edgewright.sync.record import KIND_TOMBSTONE, Priority

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgewright.sync.record import Record

__all__ = ["SqliteStore"]

_SCHEMA = 1
_TABLES = (
    """CREATE TABLE events (
        device TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL,
        kind TEXT NOT NULL, priority INTEGER NOT NULL, created_at REAL NOT NULL, received_at REAL NOT NULL,
        payload TEXT NOT NULL, PRIMARY KEY (device, epoch, seq)) WITHOUT ROWID""",
    """CREATE TABLE devices (
        device TEXT NOT NULL, epoch TEXT NOT NULL, first_seen REAL NOT NULL, last_seen REAL NOT NULL,
        events INTEGER NOT NULL, max_seq INTEGER NOT NULL, PRIMARY KEY (device, epoch)) WITHOUT ROWID""",
    """CREATE TABLE tombstones (
        device TEXT NOT NULL, epoch TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        count INTEGER NOT NULL, priority INTEGER NOT NULL, reason TEXT NOT NULL,
        PRIMARY KEY (device, epoch, first, last, priority, reason)) WITHOUT ROWID""",
)
_INSERT = """INSERT INTO events (device, epoch, seq, kind, priority, created_at, payload, received_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device, epoch, seq) DO NOTHING"""
# A line's rows that have arrived after all are no loss. total() and not sum(): a device may claim anything, and sum() fails
# on what does not fit into 64 bits.
_DEVICES = """SELECT device, epoch, first_seen, last_seen, events, max_seq, CAST(
    (SELECT total(max(0, min(count, last - first + 1 - (SELECT count(*) FROM events e
        WHERE e.device = t.device AND e.epoch = t.epoch AND e.seq BETWEEN t.first AND t.last))))
     FROM tombstones t WHERE t.device = d.device AND t.epoch = d.epoch AND t.priority <> 0) AS INTEGER)
    FROM devices d ORDER BY device, first_seen"""
_SEEN = """INSERT INTO devices VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (device, epoch) DO UPDATE SET
    last_seen = max(last_seen, excluded.last_seen), events = events + excluded.events,
    max_seq = max(max_seq, excluded.max_seq)"""


class SqliteStore:
    """One open database file.

    Args:
        path: The file.
        create: Make it when it is missing.

    Raises:
        StoreError: It cannot be opened, or was made by a newer edgewright.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Opens the file and makes the tables that are missing."""
        self._path = path
        self._create = create
        if not create and not path.exists():
            raise StoreError(f"there is no database {path}; start 'edgewright ingest --db sqlite:///{path}' first")
        self._open()

    def _open(self) -> None:
        try:
            if self._create:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10.0)
        except (OSError, sqlite3.Error) as error:
            raise self._failed("open", error) from error
        try:
            self._prepare(create=self._create)
            self._file = _identity(self._path)
        except sqlite3.Error as error:
            self._db.close()
            raise self._failed("open", error) from error
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, *, create: bool) -> None:
        if create:
            self._db.execute("PRAGMA journal_mode=WAL").fetchall()
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("BEGIN IMMEDIATE")  # before looking: two ingests may start together
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if create:
            if version == 0:
                for table in _TABLES:
                    self._db.execute(table)
                self._db.execute(f"PRAGMA user_version={_SCHEMA}")
                version = _SCHEMA
            self._db.execute("COMMIT")
        if version != _SCHEMA:
            msg = f"the database {self._path} has schema {version}, this edgewright reads {_SCHEMA}; update edgewright"
            raise StoreError(msg)

    def _failed(self, what: str, error: Exception) -> StoreError:
        return StoreError(
            f"cannot {what} the database {self._path}: {error}; check the folder, its owner and free space"
        )

    @contextlib.contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._failed(what, error) from error

    def begin(self) -> None:
        """See ``Store``."""
        if _identity(self._path) != self._file:
            # Deleted or replaced under us: what goes into the old file is lost when we end.
            self._db.close()
            self._open()
        with self._guard("write"):
            self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """See ``Store``."""
        if _identity(self._path) != self._file:
            raise self._failed("write", FileNotFoundError("the file was deleted or replaced by another"))
        with self._guard("write"):
            self._db.execute("COMMIT")

    def rollback(self) -> None:
        """See ``Store``."""
        # SQLite has rolled back by itself after some errors, and then says that there is nothing to roll back.
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("ROLLBACK")

    def insert(self, device: str, epoch: str, records: Sequence[Record], received_at: float) -> Inserted:
        """See ``Store``."""
        if not records:
            return Inserted(0, 0)
        if self._db.in_transaction:
            return self._insert(device, epoch, records, received_at)
        self.begin()
        try:
            done = self._insert(device, epoch, records, received_at)
            self.commit()
        except BaseException:
            self.rollback()
            raise
        return done

    def _insert(self, device: str, epoch: str, records: Sequence[Record], received_at: float) -> Inserted:
        rows = ((device, epoch, r.seq, *_content(r), received_at) for r in records)
        with self._guard("write"):
            # ON CONFLICT names the key: any other broken constraint must fail loudly, not be ignored.
            new = self._db.executemany(_INSERT, rows).rowcount
            conflicts = self._conflicts(device, epoch, records) if new < len(records) else ()
            highest = max(r.seq for r in records)
            self._db.execute(_SEEN, (device, epoch, received_at, received_at, new, highest))
            for record in records:
                own = record.priority == Priority.CONTROL and record.seq not in conflicts
                if own and record.kind == KIND_TOMBSTONE:
                    self._bury(device, epoch, record)
        return Inserted(new, len(records) - new - len(conflicts), conflicts)

    def _conflicts(self, device: str, epoch: str, records: Sequence[Record]) -> tuple[int, ...]:
        """Seqs whose row in the table is not the record: two outboxes count in one epoch."""
        query = "SELECT kind, priority, created_at, payload FROM events WHERE device = ? AND epoch = ? AND seq = ?"
        found = ((r, self._db.execute(query, (device, epoch, r.seq)).fetchone()) for r in records)
        return tuple(record.seq for record, row in found if row != _content(record))

    def _bury(self, device: str, epoch: str, record: Record) -> None:
        lines = [(device, epoch, *line) for line in read_tombstone(record.payload)]
        self._db.executemany("INSERT OR IGNORE INTO tombstones VALUES (?, ?, ?, ?, ?, ?, ?)", lines)

    def count(self, device: str | None = None) -> int:
        """See ``Store``."""
        query = "SELECT count(*) FROM events WHERE priority <> ? AND device = coalesce(?, device)"
        return int(self._rows(query, int(Priority.CONTROL), device)[0][0])

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._guard("read"):
            return self._db.execute(query, values).fetchall()

    def events(self, device: str | None = None) -> Iterator[StoredEvent]:
        """See ``Store``."""
        query = "SELECT * FROM events WHERE device = coalesce(?, device) ORDER BY device, epoch, seq"
        with self._guard("read"):
            for row in self._db.execute(query, (device,)):
                device_, epoch, seq, kind, priority, created_at, received_at, payload = row
                data = json.loads(payload)
                yield StoredEvent(device_, epoch, seq, kind, priority, created_at, received_at, data)

    def devices(self) -> list[DeviceState]:
        """See ``Store``."""
        return [DeviceState(*row) for row in self._rows(_DEVICES)]

    def losses(self, device: str) -> list[Loss]:
        """See ``Store``."""
        query = (
            "SELECT epoch, first, last, count, priority, reason FROM tombstones WHERE device = ? ORDER BY epoch, first"
        )
        return [Loss(*row) for row in self._rows(query, device)]

    def missing(self, device: str, epoch: str) -> list[tuple[int, int]]:
        """See ``Store``."""
        # What covers: each stored seq, and each tombstone line whose count fills its range.
        query = """SELECT seq, seq FROM events WHERE device = :d AND epoch = :e
            UNION ALL SELECT first, last FROM tombstones
            WHERE device = :d AND epoch = :e AND count = last - first + 1 ORDER BY 1, 2"""
        gaps: list[tuple[int, int]] = []
        with self._guard("read"):
            expected = 1
            for first, last in self._db.execute(query, {"d": device, "e": epoch}):
                if first > expected:
                    gaps.append((expected, first - 1))
                expected = max(expected, last + 1)
        return gaps

    def close(self) -> None:
        """See ``Store``."""
        self._db.close()


def _content(record: Record) -> tuple[str, int, float, str]:
    return record.kind, int(record.priority), record.created_at, record.payload.decode("ascii")


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a name stands for, None when for none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
