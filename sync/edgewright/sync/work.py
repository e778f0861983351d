"""The statements inside one transaction of the outbox: insert, delete, bury, evict, and account for what is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgewright.sync.changes import Dead, NewRow, table_of
from edgewright.sync.ledger import add_lost, fold_lost
from edgewright.sync.record import KIND_TOMBSTONE, Priority, Record

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

__all__ = ["Work"]

_DEAD_PAYLOAD = 512
_CONTROL_ROWS = 8  # tombstones under way at a time; later losses are merged while they wait


class Work:
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
        """Takes out one row that the cloud has; says how many that were."""
        gone = self._db.execute(f"DELETE FROM {table_of(priority)} WHERE seq = ?", (seq,)).rowcount  # noqa: S608
        self.counts[priority] -= gone
        return int(gone)

    def insert(self, row: NewRow) -> None:
        """Adds one row under the next seq; a row that is dead on arrival is buried at once."""
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
        """Moves one row to the dead, if it is still there."""
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
        """Gives up rows, the oldest of the least important class first, until no more pages than that are used."""
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
        """Turns waiting losses into tombstone records, as far as few enough of those are under way."""
        while self.counts[Priority.CONTROL] < _CONTROL_ROWS:
            payload = fold_lost(self._db)
            if payload is None:
                return
            record = Record(self.next_seq, KIND_TOMBSTONE, Priority.CONTROL, time.time(), payload)
            self.insert(NewRow(record.kind, record.priority, record.created_at, record.payload))
            self.tombstones.append(record)
