"""The fleet's database: what every implementation must do, and which one a URL means.

The promise behind an acknowledgement is made here: when ``commit`` returns (``insert`` outside a transaction), the records
are on the disk, apart from those that ``Inserted.conflicts`` names. SQLite is the default; PostgreSQL will stand behind the
same protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgewright.cloud.errors import StoreUrlError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgewright.sync.record import Record

__all__ = ["DeviceState", "Inserted", "Loss", "Store", "StoredEvent", "count_events", "open_store", "sqlite_path"]

_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Inserted:
    """What one batch did.

    Attributes:
        new: Records that were not there before.
        duplicates: Records that were, with the same content, and were left alone.
        conflicts: Seqs under which something else was stored before: these records are not in the database.
    """

    new: int
    duplicates: int
    conflicts: tuple[int, ...] = ()


@dataclass(frozen=True)
class StoredEvent:
    """One row of the events table.

    Attributes:
        device: Who sent it.
        epoch: Which outbox file.
        seq: Position in the epoch.
        kind: What happened.
        priority: Its class as a number.
        created_at: The device's wall clock, seconds since 1970.
        received_at: Ours.
        data: The JSON object.
    """

    device: str
    epoch: str
    seq: int
    kind: str
    priority: int
    created_at: float
    received_at: float
    data: dict[str, Any]


@dataclass(frozen=True)
class DeviceState:
    """What is known of one epoch of a device.

    Attributes:
        device: Its name.
        epoch: Which outbox file.
        first_seen: When its first record was stored, seconds since 1970.
        last_seen: When its newest was.
        events: Records stored.
        max_seq: Highest seq stored.
        lost: Rows that its tombstones account for and that have not arrived after all. Where a tombstone gives only a
            count for a range, this is the most that can be.
    """

    device: str
    epoch: str
    first_seen: float
    last_seen: float
    events: int
    max_seq: int
    lost: int


@dataclass(frozen=True)
class Loss:
    """A tombstone's line: ``count`` rows of a class among ``first`` to ``last`` were given up.

    A row that was on its way just then may have arrived all the same. Lines of class 0 name no loss but the seqs that
    belong to the former epoch of an outbox that had to start a new one.
    """

    epoch: str
    first: int
    last: int
    count: int
    priority: int
    reason: str


class Store(Protocol):
    """A fleet database; used by one thread at a time."""

    def insert(self, device: str, epoch: str, records: Sequence[Record], received_at: float) -> Inserted:
        """Adds the records that are not there yet, in one durable transaction of its own or the one ``begin`` started.

        Raises:
            StoreError: Nothing of it was stored.
        """

    def begin(self) -> None:
        """Starts a transaction over several ``insert``.

        Raises:
            StoreError: The database refuses.
        """

    def commit(self) -> None:
        """Ends it; afterwards everything is durable.

        Raises:
            StoreError: Nothing since ``begin`` was stored.
        """

    def rollback(self) -> None:
        """Forgets everything since ``begin``; never raises."""

    def count(self, device: str | None = None) -> int:
        """Number of events, of one device or of all; the outbox's own records are left out.

        Raises:
            StoreError: The database cannot be read.
        """

    def events(self, device: str | None = None) -> Iterator[StoredEvent]:
        """All events with the outbox's own, by device, epoch and seq.

        Raises:
            StoreError: The database cannot be read.
        """

    def devices(self) -> list[DeviceState]:
        """One entry for each device and epoch.

        Raises:
            StoreError: The database cannot be read.
        """

    def losses(self, device: str) -> list[Loss]:
        """What the device's tombstones say.

        Raises:
            StoreError: The database cannot be read.
        """

    def missing(self, device: str, epoch: str) -> list[tuple[int, int]]:
        """Inclusive ranges of seq below the highest stored that are neither stored nor in an exact tombstone.

        Raises:
            StoreError: The database cannot be read.
        """

    def close(self) -> None:
        """Closes the database."""


def sqlite_path(url: str) -> Path:
    """The file that ``sqlite:///PATH`` names; ``sqlite:////abs/path`` is absolute, as in SQLAlchemy.

    Raises:
        StoreUrlError: The URL names no SQLite file, or another database.
    """
    scheme = url.partition(":")[0].lower()
    if scheme in {"postgresql", "postgres"}:
        msg = "PostgreSQL is not supported yet; use sqlite:///fleet.db (the schema is made to be copied later)"
        raise StoreUrlError(msg)
    path = url[len(_SQLITE) :]
    if not url.startswith(_SQLITE) or not path or "?" in path or path == ":memory:":
        # The URL is not repeated: another database's may hold a password.
        raise StoreUrlError(f"the database URL (scheme {scheme!r}) cannot be used; write sqlite:///fleet.db")
    return Path(path)


def open_store(url: str, *, create: bool = True) -> Store:
    """Opens the database that ``url`` names.

    Args:
        url: ``sqlite:///PATH``.
        create: Make the file and its tables when they are missing.

    Raises:
        StoreUrlError: The URL cannot be used.
        StoreError: The database cannot be opened.
    """
    from edgewright.cloud.sqlite_store import SqliteStore

    return SqliteStore(sqlite_path(url), create=create)


def count_events(url: str, device: str | None = None) -> int:
    """Number of events in the database, of one device or of all; the outbox's own records are left out.

    Raises:
        StoreUrlError: The URL cannot be used.
        StoreError: There is no such database, or it cannot be read.
    """
    store = open_store(url, create=False)
    try:
        return store.count(device)
    finally:
        store.close()
