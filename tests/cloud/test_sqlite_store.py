from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from edgewright.cloud import Inserted, StoreError, StoreUrlError, count_events, open_store
from edgewright.cloud.store import sqlite_path
from edgewright.sync import Priority, Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgewright.cloud import Store

A, B = "a" * 32, "b" * 32


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/deep/fleet.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


def records(*seqs: int, kind: str = "count", priority: Priority = Priority.DETECTION) -> list[Record]:
    return [Record(seq, kind, priority, 1.5, json.dumps({"n": seq}).encode()) for seq in seqs]


def tombstone(seq: int, *lines: list[int]) -> Record:
    data = {"class": 2, "reason": "evicted", "count": sum(line[2] for line in lines), "ranges": lines}
    return Record(seq, "outbox.tombstone", Priority.CONTROL, 1.5, json.dumps(data).encode())


def test_repeats_are_told_from_news(store: Store) -> None:
    assert store.insert("cam", A, records(1, 2, 3), 10.0) == Inserted(3, 0)
    assert store.insert("cam", A, records(2, 3, 4), 11.0) == Inserted(1, 2)
    assert store.insert("cam", A, records(4, 4), 11.0) == Inserted(0, 2)
    assert store.insert("cam", A, [], 11.0) == Inserted(0, 0)
    assert [(e.seq, e.received_at, e.data) for e in store.events()] == [
        (1, 10.0, {"n": 1}),
        (2, 10.0, {"n": 2}),
        (3, 10.0, {"n": 3}),
        (4, 11.0, {"n": 4}),
    ]


def test_other_content_under_a_known_number_is_a_conflict_not_a_repeat(store: Store) -> None:
    """A copied or restored outbox counts in the same epoch: what it sends is not in the database."""
    store.insert("cam", A, records(1, 2, 3), 10.0)
    changed = [Record(2, "count", Priority.DETECTION, 1.5, b'{"n":"other"}'), *records(3, 4)]
    assert store.insert("cam", A, changed, 11.0) == Inserted(1, 1, (2,))
    for other in (
        Record(1, "fire", Priority.DETECTION, 1.5, b'{"n": 1}'),
        Record(1, "count", Priority.ALARM, 1.5, b'{"n": 1}'),
        Record(1, "count", Priority.DETECTION, 1.25, b'{"n": 1}'),
        tombstone(1, [1, 1, 1]),
    ):
        assert store.insert("cam", A, [other], 12.0) == Inserted(0, 0, (1,))
    twice = [Record(9, "count", Priority.DETECTION, 1.5, payload) for payload in (b'{"a":1}', b'{"a":2}', b'{"a":1}')]
    assert store.insert("cam", A, twice, 13.0).conflicts == (9,)
    assert [event.data for event in store.events()] == [*({"n": n} for n in (1, 2, 3, 4)), {"a": 1}]
    assert store.losses("cam") == []


def test_a_row_that_was_given_up_and_arrived_all_the_same_is_no_loss(store: Store) -> None:
    store.insert("cam", A, [*records(1, 3, 6), tombstone(20, [2, 4, 3], [5, 8, 4], [9, 19, 2])], 1.0)
    assert store.devices()[0].lost == 2 + 3 + 2


def test_seqs_of_a_former_epoch_are_neither_missing_nor_lost(store: Store) -> None:
    data = {"class": 0, "reason": f"in epoch {B}", "count": 4, "ranges": [[1, 4, 4]]}
    before = Record(6, "outbox.tombstone", Priority.CONTROL, 1.5, json.dumps(data).encode())
    store.insert("cam", A, [*records(5), before], 1.0)
    assert store.missing("cam", A) == []
    assert store.devices()[0].lost == 0


def test_no_claim_of_a_device_breaks_the_sums(store: Store) -> None:
    lines = [[n, 2**62, 2**62 - n + 1] for n in range(1, 20)]
    store.insert("cam", A, [tombstone(2**62, *lines)], 1.0)
    assert store.devices()[0].lost > 2**62


def test_a_file_that_was_deleted_or_replaced_under_us_is_noticed_before_the_promise(store: Store, url: str) -> None:
    path = sqlite_path(url)
    store.insert("cam", A, records(1), 1.0)
    store.begin()
    store.insert("cam", A, records(2), 1.0)
    for found in path.parent.glob("fleet.db*"):
        found.unlink()
    with pytest.raises(StoreError, match="deleted or replaced"):
        store.commit()
    store.rollback()
    assert store.insert("cam", A, records(2), 1.0) == Inserted(1, 0)
    assert count_events(url) == 1


def test_epochs_and_devices_are_apart(store: Store, url: str) -> None:
    store.insert("cam", A, records(1, 2), 10.0)
    store.insert("cam", B, records(1), 12.0)
    store.insert("other", A, records(1), 11.0)
    assert (store.count(), store.count("cam"), store.count("nobody")) == (4, 3, 0)
    assert count_events(url, "other") == 1
    assert [(d.device, d.epoch, d.events, d.max_seq, d.first_seen, d.last_seen) for d in store.devices()] == [
        ("cam", A, 2, 2, 10.0, 10.0),
        ("cam", B, 1, 1, 12.0, 12.0),
        ("other", A, 1, 1, 11.0, 11.0),
    ]


def test_the_outboxs_own_records_are_kept_but_not_counted(store: Store) -> None:
    store.insert("cam", A, [*records(1), *records(2, kind="outbox.reset", priority=Priority.CONTROL)], 1.0)
    assert store.count() == 1
    assert [event.kind for event in store.events()] == ["count", "outbox.reset"]


def test_gaps_are_those_that_no_tombstone_explains(store: Store) -> None:
    store.insert("cam", A, [*records(1, 2, 5, 9, 20), tombstone(21, [3, 4, 2], [10, 15, 3])], 1.0)
    assert store.missing("cam", A) == [(6, 8), (10, 19)]  # the coarse line 10..15 does not say which three
    assert [(loss.first, loss.last, loss.count) for loss in store.losses("cam")] == [(3, 4, 2), (10, 15, 3)]
    assert store.devices()[0].lost == 5
    store.insert("cam", A, [tombstone(21, [3, 4, 2], [10, 15, 3])], 1.0)  # a repeat counts nothing twice
    assert store.devices()[0].lost == 5
    assert store.missing("cam", B) == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"class": 2, "reason": "x", "ranges": "no"},
        {"class": 2, "reason": "x", "ranges": [[2, 1, 1], [1], [1, 2, 9]]},
        {"class": 2, "reason": "\ud800", "ranges": [[1, 1, 1]]},
        {"class": 2, "reason": "\0", "ranges": [[1, 1, 1]]},
    ],
    ids=str,
)
def test_a_strange_tombstone_is_an_event_like_any_other(store: Store, data: dict[str, object]) -> None:
    record = Record(1, "outbox.tombstone", Priority.CONTROL, 1.0, json.dumps(data).encode())
    assert store.insert("cam", A, [record], 1.0) == Inserted(1, 0)
    assert store.losses("cam") == []


def test_a_tombstone_too_deep_to_read_is_an_event_like_any_other(store: Store) -> None:
    payload = b'{"a":' * 5000 + b"{}" + b"}" * 5000
    record = Record(1, "outbox.tombstone", Priority.CONTROL, 1.0, payload)
    assert store.insert("cam", A, [record], 1.0) == Inserted(1, 0)
    assert store.losses("cam") == []


def test_only_the_outbox_itself_may_bury(store: Store) -> None:
    data = {"class": 2, "reason": "x", "count": 1, "ranges": [[1, 1, 1]]}
    store.insert("cam", A, [Record(2, "outbox.tombstone", Priority.ALARM, 1.0, json.dumps(data).encode())], 1.0)
    assert store.losses("cam") == []


def test_a_rolled_back_batch_leaves_nothing(store: Store) -> None:
    store.begin()
    store.insert("cam", A, records(1), 1.0)
    store.rollback()
    assert store.count() == 0
    assert store.devices() == []
    store.rollback()


def test_reading_goes_on_beside_a_writer(store: Store, url: str) -> None:
    store.insert("cam", A, records(1), 1.0)
    store.begin()
    store.insert("cam", A, records(2), 1.0)
    assert count_events(url) == 1
    store.commit()
    assert count_events(url) == 2


def test_the_file_is_durable_at_every_commit(store: Store) -> None:
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_locked_database_is_an_error_that_says_what_to_do(store: Store, url: str) -> None:
    store._db.execute("PRAGMA busy_timeout=10")
    other = sqlite3.connect(sqlite_path(url), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"cannot write .*fleet\.db"):
        store.insert("cam", A, records(1), 1.0)
    other.close()
    assert store.insert("cam", A, records(1), 1.0) == Inserted(1, 0)


def test_paths_follow_the_usual_form() -> None:
    assert str(sqlite_path("sqlite:///fleet.db")) == "fleet.db"
    assert str(sqlite_path("sqlite:////var/lib/fleet.db")) == "/var/lib/fleet.db"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://me:sesame@h/fleet", "not supported yet"),
        ("postgres://h/fleet", "not supported yet"),
        ("sqlite://fleet.db", "sqlite:///fleet.db"),
        ("sqlite:///", "sqlite:///fleet.db"),
        ("sqlite:///:memory:", "sqlite:///fleet.db"),
        ("sqlite:///f.db?mode=ro", "sqlite:///fleet.db"),
        ("mysql://me:sesame@h/fleet", "sqlite:///fleet.db"),
        ("fleet.db", "sqlite:///fleet.db"),
        ("", "sqlite:///fleet.db"),
    ],
)
def test_other_urls_are_refused_with_the_form_that_works(url: str, says: str) -> None:
    with pytest.raises(StoreUrlError, match=says) as caught:
        open_store(url)
    assert "sesame" not in str(caught.value)


def test_what_cannot_be_opened_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(StoreError, match="there is no database"):
        count_events(url)
    assert not (tmp_path / "deep").exists()
    (tmp_path / "deep").write_text("a file")
    with pytest.raises(StoreError, match="cannot open"):
        open_store(url)
    (tmp_path / "garbage.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreError, match="cannot open"):
        open_store(f"sqlite:///{tmp_path}/garbage.db")
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version=7")
    newer.close()
    for create in (True, False):
        with pytest.raises(StoreError, match="schema 7"):
            open_store(f"sqlite:///{tmp_path}/newer.db", create=create)
