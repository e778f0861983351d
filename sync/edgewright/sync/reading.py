"""Reading the outbox beside the writer: a second connection that never blocks it, thanks to WAL."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from edgewright.sync.changes import table_of
from edgewright.sync.record import Priority, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Reader"]


class Reader:
    """Rows of one outbox file; used by one thread, the one that first reads."""

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        """Opens nothing yet."""
        self._path = path
        self._connect = connect
        self._db: sqlite3.Connection | None = None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = self._connect(self._path)
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


def _record(priority: Priority, row: tuple[int, str, float, bytes]) -> Record:
    return Record(row[0], row[1], priority, row[2], bytes(row[3]))
