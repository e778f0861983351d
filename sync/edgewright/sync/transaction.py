"""The inside of one transaction of the outbox: insert, delete, bury, evict, and account for what is lost.

Each line of the table ``lost`` says "``n`` rows of this class among seq ``first`` to ``last`` are gone, for this reason",
merged while it waits and then sent as a tombstone record. Lines are exact (``n`` fills the range) until there are too many
of them; then the oldest are joined into a coarser one, which keeps the count right. A row that is evicted while it is under
way is counted although it may still arrive; the cloud subtracts those that did.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.sync.record import KIND_TOMBSTONE, Priority, Record
from edgewright.sync.wire import to_ranges

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

__all__ = ["Applied", "Changes", "Dead", "NewRow", "Work", "lost_waiting", "table_of"]

_MAX_LINES = 1000
_LINES_IN_TOMBSTONE = 200
_DEAD_PAYLOAD = 512
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
            _add_lost(self._db, dead.priority, f"dead: {dead.reason.partition(':')[0]}", [dead.seq])

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
            _add_lost(self._db, victim, "evicted", seqs)

    def leave_epoch(self, epoch: str) -> None:
        """Accounts for every seq that is not in the file, so that the new epoch has no gaps that nobody explains."""
        union = " UNION ALL ".join(f"SELECT seq FROM {table_of(p)}" for p in Priority)  # noqa: S608
        gaps: list[tuple[int, int]] = []
        expected = 1
        for (seq,) in self._db.execute(f"{union} ORDER BY 1"):
            if seq > expected:
                gaps.append((expected, seq - 1))
            expected = seq + 1
        if expected < self.next_seq:
            gaps.append((expected, self.next_seq - 1))
        _add_elsewhere(self._db, epoch, gaps)

    def fold(self) -> None:
        """Turns waiting losses into tombstone records, as far as few enough of those are under way."""
        while self.counts[Priority.CONTROL] < _CONTROL_ROWS:
            payload = _fold_lost(self._db)
            if payload is None:
                return
            record = Record(self.next_seq, KIND_TOMBSTONE, Priority.CONTROL, time.time(), payload)
            self.insert(NewRow(record.kind, record.priority, record.created_at, record.payload))
            self.tombstones.append(record)


def _add_lost(db: sqlite3.Connection, priority: Priority, reason: str, seqs: Sequence[int]) -> None:
    """Notes that the rows ``seqs`` of one class will never arrive."""
    for first, last in to_ranges(seqs):
        joined = db.execute(
            "UPDATE lost SET last = ?, n = n + ? WHERE class = ? AND reason = ? AND last = ?",
            (last, last - first + 1, int(priority), reason, first - 1),
        ).rowcount
        if not joined:
            values = (int(priority), reason, first, last, last - first + 1)
            db.execute("INSERT INTO lost VALUES (?, ?, ?, ?, ?)", values)
    if db.execute("SELECT count(*) FROM lost").fetchone()[0] > _MAX_LINES:
        _coarsen(db)


def _add_elsewhere(db: sqlite3.Connection, epoch: str, ranges: Sequence[tuple[int, int]]) -> None:
    """Notes that the seqs in ``ranges`` (ascending) were used in ``epoch``, the file's former one: none is lost."""
    spare = max(0, len(ranges) - _MAX_LINES // 2)
    lines = [(first, last, last - first + 1) for first, last in ranges]
    if spare:
        oldest = lines[: spare + 1]
        lines = [(oldest[0][0], oldest[-1][1], sum(line[2] for line in oldest)), *lines[spare + 1 :]]
    rows = [(int(Priority.CONTROL), f"in epoch {epoch}", *line) for line in lines]
    db.executemany("INSERT INTO lost VALUES (?, ?, ?, ?, ?)", rows)


def _coarsen(db: sqlite3.Connection) -> None:
    group = "SELECT class, reason FROM lost GROUP BY class, reason ORDER BY count(*) DESC LIMIT 1"
    key = db.execute(group).fetchone()
    oldest = "SELECT first, last, n FROM lost WHERE class = ? AND reason = ? ORDER BY first LIMIT ?"
    lines = db.execute(oldest, (*key, _MAX_LINES // 2)).fetchall()
    db.execute("DELETE FROM lost WHERE class = ? AND reason = ? AND first <= ?", (*key, lines[-1][0]))
    total = sum(line[2] for line in lines)
    db.execute("INSERT INTO lost VALUES (?, ?, ?, ?, ?)", (*key, lines[0][0], max(line[1] for line in lines), total))


def lost_waiting(db: sqlite3.Connection) -> bool:
    """Whether some losses are not yet in a tombstone record."""
    return db.execute("SELECT 1 FROM lost LIMIT 1").fetchone() is not None


def _fold_lost(db: sqlite3.Connection) -> bytes | None:
    """Takes the oldest losses of one class out of the table.

    Returns:
        The payload of a tombstone record, None when there are none.
    """
    key = db.execute("SELECT class, reason FROM lost ORDER BY first LIMIT 1").fetchone()
    if key is None:
        return None
    oldest = "SELECT first, last, n FROM lost WHERE class = ? AND reason = ? ORDER BY first LIMIT ?"
    lines = db.execute(oldest, (*key, _LINES_IN_TOMBSTONE)).fetchall()
    db.execute("DELETE FROM lost WHERE class = ? AND reason = ? AND first <= ?", (*key, lines[-1][0]))
    data = {"class": key[0], "reason": key[1], "count": sum(line[2] for line in lines), "ranges": lines}
    return json.dumps(data, separators=(",", ":")).encode("ascii")
