from __future__ import annotations

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
