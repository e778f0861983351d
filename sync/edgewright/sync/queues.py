"""What waits in memory between the threads, and counters that no thread has to wait for."""

from __future__ import annotations

from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING

from edgewright.sync.record import Priority

if TYPE_CHECKING:
    from edgewright.sync.config import OutboxConfig
    from edgewright.sync.transaction import Dead, NewRow

__all__ = ["Counter", "Queues"]


class Counter:
    """Counts without ever waiting: each thread has a cell of its own, and no two threads write to the same one."""

    def __init__(self) -> None:
        """Starts at zero."""
        self._cells: dict[int, int] = {}

    def add(self, n: int = 1) -> None:
        """Counts ``n`` more."""
        me = get_ident()
        self._cells[me] = self._cells.get(me, 0) + n

    @property
    def value(self) -> int:
        """The sum so far."""
        return sum(list(self._cells.values()))


class Queues:
    """What waits in memory for the writer: appended to by any thread, emptied by the writer alone."""

    def __init__(self, config: OutboxConfig) -> None:
        """Makes empty queues."""
        self.limit = config.queue_rows
        self.rows: dict[Priority, deque[NewRow]] = {p: deque() for p in Priority}
        self.dropped = {p: Counter() for p in Priority}
        self.invalid = Counter()
        self.complaints: deque[str] = deque(maxlen=4)
        # Reports of the publisher, each with the epoch it speaks of: a late one must not touch a newer epoch's rows.
        self.stored: deque[tuple[str, tuple[Priority, int]]] = deque()
        self.dead: deque[tuple[str, Dead]] = deque()
        self.renew: deque[str] = deque()  # epochs that somebody else counts in too
        self._byte_limit = config.queue_bytes
        self._offered = {p: Counter() for p in Priority}
        self._taken = dict.fromkeys(Priority, 0)  # by the writer alone

    def offer(self, row: NewRow) -> None:
        """Keeps ``row`` if its class has room, else counts it as dropped; never waits."""
        queue = self.rows[row.priority]
        if len(queue) >= self.limit or self._bytes(row.priority) + len(row.payload) > self._byte_limit:
            self.dropped[row.priority].add()
        else:
            self._offered[row.priority].add(len(row.payload))
            queue.append(row)

    def take(self, priority: Priority) -> NewRow:
        """The oldest row of a class; for the writer."""
        row = self.rows[priority].popleft()
        self._taken[priority] += len(row.payload)
        return row

    def _bytes(self, priority: Priority) -> int:
        return self._offered[priority].value - self._taken[priority]

    def crowded(self) -> bool:
        """Whether some class has used up half of its room."""
        return any(
            2 * len(queue) >= self.limit or 2 * self._bytes(p) >= self._byte_limit for p, queue in self.rows.items()
        )

    def waiting(self) -> int:
        """Rows not yet taken by the writer."""
        return sum(len(queue) for queue in self.rows.values())
