"""The account of rows that were given up: merged while it waits, then sent as a tombstone record.

Each line of the table ``lost`` says "``n`` rows of this class among seq ``first`` to ``last`` are gone, for this reason".
Lines are exact (``n`` fills the range) until there are too many of them; then the oldest are joined into a coarser one,
which keeps the count right.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgewright.sync.wire import to_ranges

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from edgewright.sync.record import Priority

__all__ = ["add_lost", "fold_lost", "lost_waiting"]

_MAX_LINES = 1000
_LINES_IN_TOMBSTONE = 200


def add_lost(db: sqlite3.Connection, priority: Priority, reason: str, seqs: Sequence[int]) -> None:
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


def fold_lost(db: sqlite3.Connection) -> bytes | None:
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
