"""The outbox, the flight rules and the cloud's key as one state machine against a dict.

Whatever the order of commits, losses, crashes and acknowledgements: no committed row disappears. It is in the outbox, in
the cloud, or named by a tombstone.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgewright.cloud.tombstones import read_tombstone
from edgewright.sync import OutboxConfig, Priority, ResendConfig
from edgewright.sync.flight import Flight, Shipment
from edgewright.sync.store import Reader, Store, connect_file
from edgewright.sync.transaction import Changes, Dead, NewRow

CONFIG = OutboxConfig(byte_budget=1024 * 1024, max_record_bytes=32 * 1024)
RESEND = ResendConfig(window_messages=4, window_rows=40, message_rows=5, first_s=1.0, cap_s=4.0)


def unsynced(path: Path) -> sqlite3.Connection:
    """The same rules without waiting for a disk: power cuts are tested elsewhere, here the logic is."""

    class Quick(sqlite3.Connection):
        def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
            return super().execute("PRAGMA synchronous=OFF" if sql == "PRAGMA synchronous=FULL" else sql, *args)

    return sqlite3.connect(path, isolation_level=None, factory=Quick)


class Delivery(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "outbox.db"
        self.now = 0.0
        self.mid = 0
        self.committed: dict[int, bytes] = {}  # the model: seq to payload
        self.cloud: dict[int, bytes] = {}
        self.broker: list[tuple[int, dict[int, bytes]]] = []  # messages on the way to the cloud, and their mids
        self.pubacks: list[int] = []
        self.acks: list[list[tuple[int, int]]] = []
        self.dead: set[int] = set()

    @initialize()
    def open(self) -> None:
        self.store = Store(self.path, "cam", CONFIG, unsynced)
        self.reader = Reader(self.path, connect_file)
        self.flight = Flight(RESEND)
        self.cursor = dict.fromkeys(Priority, 0)

    def apply(self, **changes: object) -> None:
        rows = changes.get("new", [])
        applied = self.store.apply(Changes(**changes))
        for seq, row in enumerate(rows, applied.first_seq):
            self.committed[seq] = row.payload
        for record in self.reader.after(Priority.CONTROL, 0, 100):
            self.committed[record.seq] = record.payload

    @rule(
        priorities=st.lists(st.sampled_from([p for p in Priority if p]), min_size=1, max_size=4),
        size=st.sampled_from([10, 1000, 30_000]),
    )
    def commit(self, priorities: list[Priority], size: int) -> None:
        filler = "x" * size
        rows = [NewRow("k", p, 0.0, json.dumps({"p": p, "f": filler}).encode()) for p in priorities]
        self.in_batches(rows)

    def in_batches(self, rows: list[NewRow]) -> None:
        """As the writer does: a batch is far smaller than what eviction keeps free."""
        step = max(1, CONFIG.byte_budget // 32 // len(rows[0].payload))
        for start in range(0, len(rows), step):
            self.apply(new=rows[start : start + step])

    @rule(priority=st.sampled_from([p for p in Priority if p]))
    def burst(self, priority: Priority) -> None:
        """A third of the budget at once: soon something must be given up."""
        self.in_batches([NewRow("k", priority, 0.0, json.dumps({"f": "x" * 30_000}).encode()) for _ in range(9)])

    @rule()
    def publish(self) -> None:
        while (shipment := self.flight.due(self.now)) is not None:
            wanted = [(p, seq) for seq, p in shipment.rows.items()]
            found = self.reader.named(wanted)
            self.flight.forget([seq for _, seq in wanted if seq not in {r.seq for r in found}])
            if found:
                self.send(shipment, {r.seq: r.payload for r in found})
        for priority in Priority:
            room = min(RESEND.message_rows, self.flight.room(priority))
            rows = self.reader.after(priority, self.cursor[priority], room) if room else []
            if rows:
                self.cursor[priority] = rows[-1].seq
                self.send(self.flight.begin([(priority, r.seq) for r in rows]), {r.seq: r.payload for r in rows})

    def send(self, shipment: Shipment, content: dict[int, bytes]) -> None:
        self.mid += 1
        self.flight.launch(shipment, self.mid, self.now)
        self.broker.append((self.mid, content))
        self.pubacks.append(self.mid)
        assert self.flight.awaiting <= RESEND.window_messages
        assert self.flight.rows <= RESEND.window_rows

    @precondition(lambda self: self.pubacks)
    @rule(data=st.data())
    def puback(self, data: st.DataObject) -> None:
        mid = self.pubacks.pop(data.draw(st.integers(0, len(self.pubacks) - 1)))
        rows = self.flight.rows
        self.flight.puback(mid, self.now)
        assert self.flight.rows == rows

    @precondition(lambda self: self.broker)
    @rule(data=st.data(), keep=st.booleans())
    def cloud_stores(self, data: st.DataObject, keep: bool) -> None:
        index = data.draw(st.integers(0, len(self.broker) - 1))
        _, content = self.broker[index] if keep else self.broker.pop(index)  # kept: it will come twice
        for seq, payload in content.items():
            assert self.cloud.setdefault(seq, payload) == payload
        self.acks.append([(seq, seq) for seq in content])

    @precondition(lambda self: self.acks)
    @rule(data=st.data(), lost=st.booleans())
    def ack(self, data: st.DataObject, lost: bool) -> None:
        ranges = self.acks.pop(data.draw(st.integers(0, len(self.acks) - 1)))
        if not lost:
            self.apply(stored=self.flight.stored(ranges))

    @precondition(lambda self: self.broker)
    @rule()
    def broker_dies(self) -> None:
        self.broker.clear()
        self.pubacks.clear()
        self.flight.disconnected(self.now)

    @precondition(lambda self: self.flight.rows)
    @rule(data=st.data())
    def row_dies(self, data: st.DataObject) -> None:
        seq, shipment = data.draw(st.sampled_from(sorted(self.flight._by_seq.items())))
        priority = shipment.rows[seq]
        if priority:
            self.flight.forget([seq])
            self.dead.add(seq)
            self.apply(dead=[Dead(priority, seq, "refused: why")])

    @rule()
    def conflict(self) -> None:
        """Somebody else counts in this epoch: what is in the file goes on in a new one."""
        before = self.store.epoch
        self.store.renew()
        assert self.reader.epoch() == self.store.epoch != before
        self.apply()
        self.flight.clear()
        self.cursor = dict.fromkeys(Priority, 0)
        self.broker.clear()
        self.pubacks.clear()
        self.acks.clear()

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def crash(self) -> None:
        self.reader.close()
        self.store._db.close()
        self.pubacks.clear()
        self.open()

    def in_outbox(self) -> set[int]:
        return {r.seq for p in Priority for r in self.reader.after(p, 0, 10**6)}

    def lost(self) -> set[int]:
        lines = self.store._db.execute("SELECT first, last, n FROM lost WHERE class <> 0").fetchall()
        for payload in (self.committed | self.cloud).values():
            if payload.startswith(b'{"class":'):
                lines += [line[:3] for line in read_tombstone(payload) if line[3]]  # of class 0 nothing is lost
        return {seq for first, last, _ in lines for seq in range(first, last + 1)}

    @invariant()
    def nothing_committed_disappears(self) -> None:
        if hasattr(self, "store"):
            kept = self.in_outbox()
            assert set(self.committed) == kept | set(self.cloud) | (self.lost() & set(self.committed))
            assert max(self.committed, default=0) == self.store._next_seq - 1
            assert self.store.pending == len(kept)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.drain()
            self.reader.close()
            self.store.close()
        self.folder.cleanup()

    def drain(self) -> None:
        """With everything healthy again all that was not given up arrives."""
        self.broker.clear()
        self.pubacks.clear()
        self.flight.disconnected(self.now)
        for _ in range(2000):
            if self.store.settled:
                break
            self.publish()
            while self.pubacks:
                self.flight.puback(self.pubacks.pop(), self.now)
            for _, content in self.broker:
                self.cloud.update(content)
                self.apply(stored=self.flight.stored([(seq, seq) for seq in content]))
            self.broker.clear()
            self.now += 1.0
        assert self.store.settled
        assert set(self.cloud) | self.lost() == set(self.committed)


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
