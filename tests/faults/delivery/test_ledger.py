"""The headline: kill everything in turn, and compare what the device committed with what the database holds.

The negative control deletes on PUBACK and must lose under the same schedule; without it the test would prove nothing.
"""

from __future__ import annotations

import json
import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest
from delivery import FAST_OUTBOX, Child, Mosquitto, ledger, wait_until

from edgewright.cloud import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RATE = 300
EVENTS = 300
# What a killed device may lose: what it emitted in one flush interval. A loaded machine may not let the writer run for a
# while, hence the slack; a device that loses batches loses far more than this.
IN_MEMORY = RATE * (FAST_OUTBOX.flush_interval_s + 0.5)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as running:
        yield running


class World:
    """One device, one ingest, one broker, and what the harness knows about them."""

    def __init__(self, folder: Path, broker: Mosquitto, mode: str) -> None:
        self.folder, self.broker, self.mode = folder, broker, mode
        self.first = 0
        self.device: Child | None = None
        self.ingest: Child | None = None

    def start_device(self, most: int = 10**6, rate: int = RATE) -> None:
        settings = {"mode": self.mode, "first": self.first, "most": most, "rate": rate, "broker": self.broker.url}
        self.device = Child("device", self.folder, **settings)
        self.first += 10**6
        assert self.device.line() == "started"

    def start_ingest(self) -> None:
        self.ingest = Child("ingest", self.folder, broker=self.broker.url)
        assert self.ingest.line() == "ready"

    def more(self, what: Callable[[], int], by: int = 60) -> None:
        """Waits until a count has grown: progress, not seconds, moves the schedule on."""
        goal = what() + by
        wait_until(lambda: what() >= goal)

    def committed(self) -> int:
        return len(ledger(self.folder / "committed"))

    def stored(self) -> int:
        store = open_store(f"sqlite:///{self.folder}/fleet.db", create=False)
        try:
            return store.count()
        finally:
            store.close()

    def waiting(self) -> int:
        return self._outbox("SELECT (SELECT count(*) FROM row_1) + (SELECT count(*) FROM row_2)")

    def last_seq(self) -> int:
        return self._outbox("SELECT value FROM meta WHERE key = 'next_seq'") - 1

    def _outbox(self, query: str) -> int:
        db = sqlite3.connect(self.folder / "outbox.db")
        try:
            return int(db.execute(query).fetchone()[0])
        finally:
            db.close()

    def finish(self) -> dict[str, object]:
        assert self.device is not None
        self.device.tell("drain")
        while not (line := self.device.line()).startswith("{"):
            pass
        self.device.kill(signal.SIGTERM)
        return json.loads(line)

    def close(self) -> None:
        for child in (self.device, self.ingest):
            if child is not None:
                child.kill()


@pytest.fixture
def world(tmp_path: Path, broker: Mosquitto, request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(tmp_path, broker, getattr(request, "param", "stored"))
    try:
        yield made
    finally:
        made.close()


def test_every_kill_in_turn_loses_and_doubles_nothing(world: World, broker: Mosquitto) -> None:
    world.start_ingest()
    world.start_device()
    world.more(world.stored)

    broker.kill()  # the broker dies under load
    world.more(world.committed)
    broker.start()
    world.more(world.stored)

    world.device.kill()  # power cut on the device
    world.start_device()
    world.more(world.stored)

    broker.send(signal.SIGSTOP)  # a broker that hangs
    world.more(world.committed, 150)
    broker.send(signal.SIGCONT)
    world.more(world.stored)

    world.ingest.kill()  # the ingest dies, then the broker with all it holds for it
    world.more(world.committed, 200)
    broker.kill()
    world.more(world.committed)
    broker.start()
    world.more(world.committed)
    world.device.kill()
    world.start_device()
    world.start_ingest()
    world.more(world.stored)

    outcome = world.finish()
    assert (outcome["drained"], outcome["dropped"]) == (True, 0)
    store = open_store(f"sqlite:///{world.folder}/fleet.db", create=False)
    events = [event for event in store.events() if event.priority]
    (state,) = store.devices()
    numbers = [str(event.data["n"]) for event in events]
    emitted, committed = ledger(world.folder / "emitted"), ledger(world.folder / "committed")
    assert {f"{e.epoch}/{e.seq}/{e.data['n']}" for e in events} >= set(committed)
    assert set(numbers) <= set(emitted)
    assert len(numbers) == len(set(numbers))
    # Exactly what was ever committed: the device has numbered its rows without gaps.
    assert {event.seq for event in events} == set(range(1, world.last_seq() + 1))
    assert store.missing("cam-1", state.epoch) == []
    assert world.waiting() == 0
    assert len(emitted) - len(numbers) <= 2 * IN_MEMORY  # it died twice
    store.close()


@pytest.mark.parametrize(("world", "loses"), [("stored", False), ("puback", True)], indirect=["world"])
def test_only_delete_on_puback_loses_when_the_broker_dies_while_the_ingest_is_down(
    world: World, broker: Mosquitto, loses: bool
) -> None:
    world.start_ingest()
    world.ingest.kill()  # its session stands: the broker keeps for it what comes from now on
    world.start_device(most=EVENTS, rate=1000)
    assert [world.device.line() for _ in range(2)] == ["emitted", "confirmed"]  # the broker has confirmed every row
    assert world.waiting() == (0 if loses else EVENTS)  # the control takes that for delivery
    broker.kill()
    broker.start()
    world.start_ingest()
    outcome = world.finish()

    assert outcome["drained"] is True
    assert world.committed() == EVENTS
    assert world.stored() == (0 if loses else EVENTS)
