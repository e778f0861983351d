from __future__ import annotations

import itertools

import pytest

from edgewright.sync import Priority, ResendConfig
from edgewright.sync.flight import Flight, Shipment

CONFIG = ResendConfig(window_messages=3, window_rows=20, first_s=2.0, cap_s=10.0, stall_s=20.0)


def rows(*seqs: int) -> list[tuple[Priority, int]]:
    return [(Priority.DETECTION, seq) for seq in seqs]


@pytest.fixture
def flight() -> Flight:
    return Flight(CONFIG)


def launch(flight: Flight, mid: int, *seqs: int, now: float = 0.0) -> Shipment:
    shipment = flight.begin(rows(*seqs))
    flight.launch(shipment, mid, now)
    return shipment


def test_a_puback_removes_nothing(flight: Flight) -> None:
    launch(flight, 1, 10, 11)
    flight.puback(1, 0.5)
    assert (flight.rows, flight.rows_at_broker, flight.awaiting) == (2, 2, 0)
    assert flight.stored([(10, 11)]) == rows(10, 11)
    assert flight.rows == 0


def test_an_acknowledgement_is_believed_only_for_what_was_sent(flight: Flight) -> None:
    launch(flight, 1, 10, 12, 14)
    assert flight.stored([(9, 10), (11, 11)]) == rows(10)
    assert flight.stored([(1, 2**60)]) == rows(12, 14)
    assert flight.stored([(10, 12)]) == []


def test_the_windows_hold_and_keep_room_for_alarms(flight: Flight) -> None:
    launch(flight, 1, *range(1, 19))
    assert flight.room(Priority.DETECTION) == 0
    assert flight.room(Priority.ALARM) == 2
    launch(flight, 2, 19)
    launch(flight, 3, 20)
    assert flight.room(Priority.ALARM) == 0
    flight.puback(2, 0.0)
    flight.stored([(19, 19)])
    assert flight.room(Priority.ALARM) == 1


def test_a_row_stored_before_its_puback_still_counts_against_the_broker(flight: Flight) -> None:
    launch(flight, 1, 1)
    flight.stored([(1, 1)])
    assert flight.awaiting == 1
    flight.puback(1, 0.0)
    assert flight.awaiting == 0


def test_resends_slow_down_and_stop_at_the_cap(flight: Flight) -> None:
    shipment = launch(flight, 1, 1)
    now, waits = 0.0, []
    for mid in range(1, 6):
        flight.puback(mid, now)
        due = flight.next_due()
        assert due is not None
        waits.append(due - now)
        assert flight.due(due - 0.01) is None
        assert flight.due(due) is shipment
        now = due
        flight.launch(shipment, mid + 1, now)
    assert waits == [2, 4, 8, 10, 10]
    assert flight.resent == 5


def test_nothing_is_resent_while_its_puback_is_awaited(flight: Flight) -> None:
    launch(flight, 1, 1)
    assert flight.due(10**6) is None
    assert flight.next_due() is None


def test_a_silent_cloud_gets_one_probe_and_its_answer_releases_the_rest(flight: Flight) -> None:
    first, second = launch(flight, 1, 1), launch(flight, 2, 2)
    flight.puback(1, 0.0)
    flight.puback(2, 0.0)
    assert flight.due(5.0) is first
    flight.launch(first, 3, 5.0)
    assert flight.due(5.0) is None
    flight.puback(3, 5.0)
    assert flight.due(8.9) is None  # not even the second: nobody answers
    assert flight.due(9.0) is first
    flight.stored([(1, 1)])
    assert flight.due(9.0) is second


def test_a_sign_of_life_releases_all_that_are_due_at_once(flight: Flight) -> None:
    shipments = [launch(flight, mid, mid) for mid in (1, 2, 3)]
    for mid in (1, 2, 3):
        flight.puback(mid, 0.0)
    flight.stored([(3, 3)])
    for shipment, mid in zip(shipments[:2], (4, 5), strict=True):  # neither waits for the other's answer
        assert flight.due(5.0) is shipment
        flight.launch(shipment, mid, 5.0)
        flight.puback(mid, 5.0)
    assert flight.due(9.0) is shipments[0]  # and if that was all, one probes again
    flight.launch(shipments[0], 6, 9.0)
    assert flight.due(9.0) is None


def test_a_new_connection_sends_all_again_oldest_first(flight: Flight) -> None:
    first, second = launch(flight, 1, 1), launch(flight, 2, 2)
    flight.puback(1, 0.0)
    flight.disconnected(1.0)
    assert (flight.awaiting, flight.rows, flight.rows_at_broker) == (0, 2, 0)
    assert flight.due(1.0) is first
    flight.launch(first, 1, 1.0)
    assert flight.due(1.0) is second


def test_a_broker_that_confirms_nothing_is_noticed(flight: Flight) -> None:
    assert not flight.stalled(10**6)
    launch(flight, 1, 1, now=100.0)
    assert not flight.stalled(119.0)
    assert flight.stalled(121.0)
    launch(flight, 2, 2, now=110.0)
    flight.puback(1, 120.0)
    assert not flight.stalled(139.0)
    assert flight.stalled(141.0)


def test_a_split_shipment_goes_row_by_row(flight: Flight) -> None:
    shipment = launch(flight, 1, 1, 2, 3)
    flight.puback(1, 0.0)
    flight.split(shipment)
    assert flight.rows == 3
    alone = flight.due(0.0)
    assert alone is not None
    assert list(alone.rows) == [1]


def test_a_new_epoch_forgets_everything(flight: Flight) -> None:
    launch(flight, 1, 1)
    flight.clear()
    assert (flight.rows, flight.awaiting, flight.next_due()) == (0, 0, None)
    assert flight.puback(1, 0.0) is None


def silence(flight: Flight, mid: int, now: float) -> tuple[Shipment, float]:
    """One repeat that nobody answers: what was sent, and when."""
    due = flight.next_due()
    assert due is not None
    now = max(now, due)
    shipment = flight.due(now)
    assert shipment is not None
    flight.launch(shipment, mid, now, size=9000)
    flight.puback(mid, now)
    return shipment, now


def test_a_silence_splits_once_slows_down_and_gives_each_its_turn(flight: Flight) -> None:
    """Forty repeats into a dead cloud: few messages, and none is always the first."""
    first, second = launch(flight, 1, 1, 2, 3), launch(flight, 2, 4, 5)
    for mid in (1, 2):
        flight.puback(mid, 0.0)
    now, sent, times = 0.0, [], []
    for mid in range(10, 50):
        shipment, now = silence(flight, mid, now)
        sent.append(tuple(shipment.rows))
        times.append(now)
    assert sent[:3] == [(1, 2, 3)] * 3
    assert first.rows == {}
    assert sent[3:6] == [(1,), (2,), (3,)]
    assert (4, 5) in sent
    assert tuple(second.rows) == (4, 5)  # one split is enough
    assert {(1,), (2,), (3,), (4, 5)} <= set(sent[-12:])
    assert {round(b - a, 6) for a, b in itertools.pairwise(times[4:])} == {10.0}
    assert flight.aim_bytes == 4500


def test_an_answer_after_a_split_releases_the_other_rows(flight: Flight) -> None:
    shipment = launch(flight, 1, 1, 2, 3)
    flight.puback(1, 0.0)
    now = 0.0
    for mid in (2, 3, 4):
        _, now = silence(flight, mid, now)
    alone, now = silence(flight, 5, now)
    assert tuple(alone.rows) == (1,)
    assert shipment.rows == {}
    assert flight.due(now) is None
    assert flight.stored([(1, 1)]) == rows(1)
    for mid, seq in ((6, 2), (7, 3)):
        due = flight.due(now)
        assert due is not None
        assert tuple(due.rows) == (seq,)
        flight.launch(due, mid, now)
        flight.puback(mid, now)
        flight.stored([(seq, seq)])


def test_what_ends_three_connections_is_split_and_then_waits_behind_the_others(flight: Flight) -> None:
    launch(flight, 1, 1, 2)
    launch(flight, 2, 3)
    for _ in range(3):
        flight.disconnected(0.0)
        shipment = flight.due(0.0)
        assert shipment is not None
        flight.launch(shipment, 9, 0.0)
    assert tuple(shipment.rows) == (1,)
    for _ in range(3):
        flight.disconnected(0.0)
        shipment = flight.due(0.0)
        assert shipment is not None
        flight.launch(shipment, 9, 0.0)
    assert tuple(shipment.rows) == (2,)
    flight.puback(9, 0.0)
    flight.disconnected(50.0)
    order = []
    for mid in (11, 12):
        shipment = flight.due(50.0)
        assert shipment is not None
        order.append(tuple(shipment.rows))
        flight.launch(shipment, mid, 50.0)
    assert order == [(2,), (3,)]


def test_a_confirmation_clears_the_suspicion(flight: Flight) -> None:
    launch(flight, 1, 1, 2)
    for mid in range(2, 20):
        flight.disconnected(0.0)
        shipment = flight.due(0.0)
        assert shipment is not None
        assert tuple(shipment.rows) == (1, 2)
        flight.launch(shipment, mid, 0.0)
        if mid % 2:
            flight.puback(mid, 0.0)
