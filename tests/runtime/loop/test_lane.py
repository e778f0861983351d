"""A lane loses nothing when it waits, never blocks when it drops, and survives its consumer's failure."""

from __future__ import annotations

import threading
import time

import pytest

from edgewright.bundle.errors import OutputError
from edgewright.runtime.lane import Lane

PATIENCE_S = 10.0


def test_a_waiting_lane_loses_nothing_and_keeps_the_order() -> None:
    got: list[int] = []
    lane: Lane[int] = Lane("test", got.append, capacity=2, wait=True)
    for number in range(200):
        lane.put(number)
    assert lane.close()
    assert got == list(range(200))
    assert lane.dropped == 0


def test_a_dropping_lane_never_waits_for_a_stuck_consumer() -> None:
    gate, got = threading.Event(), list[int]()

    def slow(number: int) -> None:
        gate.wait(PATIENCE_S)
        got.append(number)

    lane: Lane[int] = Lane("test", slow, capacity=4, wait=False)
    for number in range(100):
        lane.put(number)
    assert lane.dropped >= 95
    assert not lane.close(0.01)
    gate.set()
    assert lane.close(PATIENCE_S)
    assert len(got) + lane.dropped == 100
    assert got == sorted(got)


def failing(number: int) -> None:
    message = f"no room for {number}"
    raise OutputError(message)


def test_a_waiting_lane_hands_the_failure_to_the_loop() -> None:
    lane: Lane[int] = Lane("test", failing, capacity=1, wait=True)
    lane.put(0)
    deadline = time.monotonic() + PATIENCE_S
    while lane.error is None and time.monotonic() < deadline:
        time.sleep(0.001)
    with pytest.raises(OutputError, match="no room for 0"):
        lane.put(0)
    assert not lane.close()


def test_a_dropping_lane_keeps_the_failure_and_the_loop_goes_on() -> None:
    lane: Lane[int] = Lane("test", failing, capacity=1, wait=False)
    deadline = time.monotonic() + PATIENCE_S
    while lane.error is None and time.monotonic() < deadline:
        lane.put(0)
        time.sleep(0.001)
    lane.put(1)
    assert isinstance(lane.error, OutputError)
    assert lane.dropped >= 1
    assert not lane.close(PATIENCE_S)
