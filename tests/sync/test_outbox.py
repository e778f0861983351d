from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest
from delivery import FAST_OUTBOX, wait_until

from edgewright.sync import (
    LinkConfig,
    Outbox,
    OutboxBusyError,
    OutboxConfig,
    OutboxError,
    Priority,
    Record,
    ResendConfig,
    SyncConfigError,
)
from edgewright.sync.store import Store, connect_file
from edgewright.sync.transaction import Dead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MIB = 1024 * 1024
SMALL = OutboxConfig(byte_budget=MIB, flush_interval_s=0.01, max_record_bytes=16 * 1024)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "outbox.db"


@pytest.fixture
def open_outbox(path: Path) -> Iterator[Callable[..., Outbox]]:
    opened: list[Outbox] = []

    def make(config: OutboxConfig = FAST_OUTBOX, **more: Any) -> Outbox:
        opened.append(Outbox(more.pop("path", path), more.pop("device", "cam-1"), config, **more))
        return opened[-1]

    yield make
    for outbox in opened:
        outbox.close()


def everything(outbox: Outbox) -> list[Record]:
    reader = outbox.reader()
    try:
        return [record for p in Priority for record in reader.after(p, 0, 10**6)]
    finally:
        reader.close()


def epoch_of(outbox: Outbox) -> str:
    reader = outbox.reader()
    try:
        return reader.epoch()
    finally:
        reader.close()


def numbers(outbox: Outbox) -> list[int]:
    return [json.loads(record.payload)["n"] for record in everything(outbox) if record.priority]


def tombstoned(outbox: Outbox) -> dict[tuple[int, str], int]:
    """Rows that the tombstones under way account for, by class and reason."""
    sums: dict[tuple[int, str], int] = {}
    for record in everything(outbox):
        if record.kind == "outbox.tombstone":
            data = json.loads(record.payload)
            assert data["count"] == sum(line[2] for line in data["ranges"])
            key = (data["class"], data["reason"])
            sums[key] = sums.get(key, 0) + data["count"]
    return sums


def test_events_survive_in_order_with_gapless_numbers(path: Path, open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    for n in range(120):
        outbox.emit("count", {"n": n, "text": "é\n\ud800"})
    assert outbox.flush(10)
    stats = outbox.stats()
    assert (stats.emitted, stats.committed, stats.pending) == (120, 120, 120)
    epoch = epoch_of(outbox)
    outbox.close()

    again = open_outbox()
    assert again.stats().pending == 120
    again.emit("count", {"n": 120})
    assert again.flush(10)
    assert numbers(again) == list(range(121))
    assert [record.seq for record in everything(again)] == list(range(1, 122))
    assert epoch_of(again) == epoch
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "outbox.db",
        "outbox.db-shm",
        "outbox.db-wal",
        "outbox.db.lock",
        "outbox.db.reserve",
    ]


def test_numbers_are_not_reused_after_everything_was_delivered(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    outbox.emit("a", {"n": 0})
    outbox.flush(10)
    outbox.stored(epoch_of(outbox), [(Priority.DETECTION, 1)])
    assert outbox.drain(10)
    outbox.close()
    again = open_outbox()
    again.emit("a", {"n": 1})
    again.flush(10)
    assert [record.seq for record in everything(again)] == [2]


def test_emit_does_not_wait_for_a_writer_that_waits_for_the_disk(
    path: Path, open_outbox: Callable[..., Outbox]
) -> None:
    outbox = open_outbox()
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")  # now no commit can succeed
    for n in range(1000):
        outbox.emit("count", {"n": n})
    # We are here, and the lock is still ours: emit() cannot have waited for the file.
    assert lock.in_transaction
    assert outbox.stats().committed == 0
    lock.execute("ROLLBACK")
    lock.close()
    assert outbox.flush(20)
    assert outbox.stats().committed == 1000


def test_emit_takes_no_lock_that_another_thread_can_hold(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    camera = threading.Thread(target=lambda: [outbox.emit("count", {"n": n}) for n in range(100)], daemon=True)
    with outbox._writer.changed:  # the only lock there is; it is ours while the camera emits
        camera.start()
        camera.join(10)
        assert not camera.is_alive()
    assert outbox.flush(10)


def test_every_commit_is_durable(open_outbox: Callable[..., Outbox]) -> None:
    db = open_outbox()._writer._store._db
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_full_queue_drops_and_counts_by_class(path: Path, open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox(OutboxConfig(flush_interval_s=0.01, queue_rows=50, batch_rows=10))
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    for n in range(200):
        outbox.emit("count", {"n": n})
    outbox.emit("fire", {"n": -1}, priority=Priority.ALARM)
    lock.execute("ROLLBACK")
    lock.close()
    assert outbox.flush(20)
    stats = outbox.stats()
    assert stats.dropped[Priority.ALARM] == 0
    assert stats.dropped[Priority.DETECTION] >= 140
    assert stats.emitted == 201
    assert stats.committed + sum(stats.dropped.values()) == 201
    assert -1 in numbers(outbox)


def test_many_threads_may_emit(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    threads = [
        threading.Thread(target=lambda k=k: [outbox.emit("count", {"n": k * 1000 + n}) for n in range(300)])
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outbox.flush(10)
    assert sorted(numbers(outbox)) == sorted(k * 1000 + n for k in range(4) for n in range(300))


class Hostile(dict[str, object]):
    def __iter__(self) -> Iterator[str]:
        raise KeyError("boo")

    def keys(self) -> Any:
        raise KeyError("boo")


LOOP: list[object] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "data",
    [{"x": float("nan")}, {"x": object()}, {"x": {1, 2}}, {"x": LOOP}, None, 5, "text", {b"x": 1}, Hostile(a=1)],
    ids=range(9),
)
def test_what_is_no_json_object_is_counted_and_the_rest_flows(
    open_outbox: Callable[..., Outbox], data: Any, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = open_outbox()
    outbox.emit("count", data)
    outbox.emit("count", {"n": 1})
    assert outbox.flush(10)
    assert outbox.stats().invalid == 1
    assert numbers(outbox) == [1]
    assert "was refused" in caplog.text


@pytest.mark.parametrize(
    ("kind", "priority"), [("a b", 2), ("", 2), (7, 2), ("k" * 65, 2), ("ok", 0), ("ok", 9), ("ok", "x")]
)
def test_a_malformed_kind_or_class_is_counted(open_outbox: Callable[..., Outbox], kind: Any, priority: Any) -> None:
    outbox = open_outbox()
    outbox.emit(kind, {}, priority=priority)
    outbox.flush(10)
    assert (outbox.stats().invalid, outbox.stats().pending) == (1, 0)


def test_the_callers_object_may_change_afterwards(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    data = {"n": 1}
    outbox.emit("count", data)
    data["n"] = 2
    outbox.flush(10)
    assert numbers(outbox) == [1]


def test_an_oversized_record_dies_with_a_reason_and_a_tombstone(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox(SMALL)
    outbox.emit("big", {"n": 1, "x": "y" * 20_000})
    outbox.emit("small", {"n": 2})
    assert outbox.flush(10)
    assert numbers(outbox) == [2]
    assert outbox.stats().dead == 1
    assert tombstoned(outbox) == {(2, "dead: too large"): 1}


def test_a_killed_row_leaves_a_tombstone_and_a_late_report_touches_nothing(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    for n in range(3):
        outbox.emit("count", {"n": n})
    outbox.flush(10)
    outbox.kill("f" * 32, [Dead(Priority.DETECTION, 1, "refused: of another epoch")])
    outbox.stored("f" * 32, [(Priority.DETECTION, 2)])
    outbox.kill(epoch_of(outbox), [Dead(Priority.DETECTION, 3, "refused by the cloud: because")])
    wait_until(lambda: outbox.stats().dead)
    assert numbers(outbox) == [0, 1]
    assert tombstoned(outbox) == {(2, "dead: refused by the cloud"): 1}


def test_a_small_budget_evicts_by_class_and_accounts_for_every_row(
    path: Path, open_outbox: Callable[..., Outbox]
) -> None:
    outbox = open_outbox(SMALL)
    filler = "x" * 900
    sizes: list[int] = []
    for n in range(3000):
        for kind, priority in (("bulk", 4), ("metric", 3), ("count", 2)):
            outbox.emit(kind, {"n": n, "f": filler}, priority=Priority(priority))
        if n % 30 == 0:
            outbox.emit("fire", {"n": n, "f": filler}, priority=Priority.ALARM)
        if n % 100 == 99:
            assert outbox.flush(20)
            sizes.append(sum(p.stat().st_size for p in path.parent.iterdir()))
    assert max(sizes) <= SMALL.byte_budget
    stats = outbox.stats()
    assert sum(stats.dropped.values()) == 0
    assert stats.commit_failures == 0
    assert stats.evicted[Priority.ALARM] == 0
    assert min(stats.evicted[Priority.BULK], stats.evicted[Priority.METRIC]) > 2900
    assert 2000 < stats.evicted[Priority.DETECTION] < 2900
    kept = [record for record in everything(outbox) if record.priority]
    assert len([r for r in kept if r.priority is Priority.ALARM]) == 100
    # What is kept is the newest of its class, and what is gone is written down.
    assert len(kept) + sum(stats.evicted.values()) == 9100
    reader = outbox.reader()
    gone = delivered = 0
    while True:
        control = [r for r in reader.after(Priority.CONTROL, 0, 100) if r.kind == "outbox.tombstone"]
        if not control:
            break
        gone += sum(json.loads(r.payload)["count"] for r in control)
        delivered += len(control)
        outbox.stored(reader.epoch(), [(Priority.CONTROL, r.seq) for r in control])
        wait_until(lambda: outbox.stats().stored == delivered)  # noqa: B023 - waited for before it changes
    reader.close()
    assert gone == sum(stats.evicted.values())


class Faulty(sqlite3.Connection):
    """A connection whose disk can be full: no row goes in, but rows go out."""

    full = False
    nothing_works = False
    no_pragma = False

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        if Faulty.no_pragma and sql.startswith("PRAGMA max_page_count="):
            raise sqlite3.OperationalError("disk I/O error")
        if (Faulty.full and sql.startswith("INSERT INTO row_")) or (Faulty.nothing_works and sql == "COMMIT"):
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, *args)


def faulty(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Faulty)


@pytest.fixture
def mend() -> Iterator[None]:
    yield
    Faulty.full = Faulty.nothing_works = Faulty.no_pragma = False


@pytest.mark.usefixtures("mend")
def test_a_full_disk_loses_nothing_that_fits_in_memory(
    open_outbox: Callable[..., Outbox], caplog: pytest.LogCaptureFixture
) -> None:
    outbox = open_outbox(FAST_OUTBOX, connect=faulty)
    outbox.emit("count", {"n": 0})
    outbox.flush(10)
    Faulty.full = True
    for n in range(1, 100):
        outbox.emit("count", {"n": n})
    wait_until(lambda: outbox.stats().commit_failures)
    # Deleting what the cloud has goes on although nothing can be added.
    outbox.stored(epoch_of(outbox), [(Priority.DETECTION, 1)])
    wait_until(lambda: outbox.stats().stored == 1)
    assert outbox.stats().committed == 1
    Faulty.full = False
    assert outbox.flush(10)
    assert numbers(outbox) == list(range(1, 100))
    wait_until(lambda: "writes again" in caplog.text)
    messages = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(messages) == 2
    assert "cannot write" in messages[0]
    assert "writes again" in messages[1]


@pytest.mark.usefixtures("mend")
def test_closing_on_a_dead_disk_ends(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox(FAST_OUTBOX, connect=faulty)
    Faulty.nothing_works = True
    outbox.emit("count", {"n": 0})
    outbox.close()
    assert not any(t.name == "edgewright-outbox" for t in threading.enumerate())


@pytest.mark.usefixtures("mend")
def test_no_defect_of_a_listener_or_the_disk_ends_the_writer(
    open_outbox: Callable[..., Outbox], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    def boom(records: object, epoch: str) -> None:
        raise RuntimeError("the application's defect")

    outbox = open_outbox(FAST_OUTBOX, connect=faulty, on_commit=boom)
    outbox.add_listener(lambda records, _: seen.extend(record.seq for record in records))
    Faulty.nothing_works = True
    outbox.emit("count", {"n": 0})
    wait_until(lambda: outbox.stats().commit_failures)
    Faulty.nothing_works = False
    for n in range(1, 4):
        outbox.emit("count", {"n": n})
        assert outbox.flush(10)
    assert numbers(outbox) == [0, 1, 2, 3]
    assert seen == [1, 2, 3, 4]
    assert len([r for r in caplog.records if "on_commit raised" in r.getMessage()]) == 1


@pytest.mark.usefixtures("mend")
def test_a_disk_that_fails_while_the_reserve_is_held_does_not_end_the_writer(
    open_outbox: Callable[..., Outbox], caplog: pytest.LogCaptureFixture
) -> None:
    outbox = open_outbox(FAST_OUTBOX, connect=faulty)
    store = outbox._writer._store
    Faulty.no_pragma, store.frozen = True, True
    outbox._writer._reserve_due = 0.0
    outbox._writer.wake()
    wait_until(lambda: outbox._writer._reserve_due)
    Faulty.no_pragma = False
    outbox.emit("count", {"n": 0})
    assert outbox.flush(10)
    assert numbers(outbox) == [0]
    assert "unexpected error" not in caplog.text


def test_a_surprise_in_the_writer_is_survived(
    open_outbox: Callable[..., Outbox], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = open_outbox()
    left = [3]
    inner = Store.apply

    def apply(store: Store, *args: Any, **more: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise sqlite3.OperationalError("full") if left[0] % 2 else RuntimeError("a defect of ours")
        return inner(store, *args, **more)

    def relieve(_store: Store) -> None:
        raise RuntimeError("inside the handling of a full disk")

    monkeypatch.setattr(Store, "apply", apply)
    monkeypatch.setattr(Store, "relieve", relieve)
    outbox.emit("count", {"n": 0})
    assert outbox.flush(10)
    assert numbers(outbox) == [0]
    assert caplog.text.count("unexpected error") == 1


def test_waiting_events_are_bounded_by_bytes_too(path: Path, open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox(OutboxConfig(flush_interval_s=0.01, queue_bytes=100_000))
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    for n in range(500):
        outbox.emit("count", {"n": n, "f": "x" * 10_000})
    outbox.emit("fire", {"n": -1, "f": "x" * 10_000}, priority=Priority.ALARM)
    held = sum(len(row.payload) for row in [*outbox._queues.rows[Priority.DETECTION], *outbox._writer._batch])
    assert held <= 100_000 + 2 * 1024 * 1024  # the queue, and what the writer has in hand: at most 1/32 of the budget
    lock.execute("ROLLBACK")
    lock.close()
    assert outbox.flush(20)
    stats = outbox.stats()
    assert stats.dropped[Priority.DETECTION] > 200
    assert stats.dropped[Priority.ALARM] == 0
    assert stats.committed + sum(stats.dropped.values()) == 501
    for n in range(500):  # what was taken out makes room again
        outbox.emit("count", {"n": n, "f": "x" * 10_000})
        assert outbox.flush(20)
        if n > 30:
            break
    assert outbox.stats().dropped == stats.dropped


def test_a_new_epoch_keeps_the_rows_and_accounts_for_the_others(open_outbox: Callable[..., Outbox]) -> None:
    told: list[str] = []
    outbox = open_outbox(on_commit=lambda _, epoch: told.append(epoch))
    for n in range(10):
        outbox.emit("count", {"n": n})
    assert outbox.flush(10)
    before = epoch_of(outbox)
    outbox.stored(before, [(Priority.DETECTION, seq) for seq in (1, 2, 3, 6)])
    outbox.renew("f" * 32)  # of another epoch: nothing
    outbox.renew(before)
    wait_until(lambda: epoch_of(outbox) != before)
    wait_until(lambda: len(set(told)) == 2)
    assert numbers(outbox) == [3, 4, 6, 7, 8, 9]
    (tombstone,) = [record for record in everything(outbox) if record.kind == "outbox.tombstone"]
    said = json.loads(tombstone.payload)
    assert (said["class"], said["reason"], said["ranges"]) == (0, f"in epoch {before}", [[1, 3, 3], [6, 6, 1]])
    outbox.emit("count", {"n": 10})
    assert outbox.flush(10)
    assert [record.seq for record in everything(outbox)] == [11, 4, 5, 7, 8, 9, 10, 12]


def test_very_scattered_seqs_of_a_former_epoch_are_joined(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox(OutboxConfig(flush_interval_s=0.01, queue_rows=5000))
    for n in range(3000):
        outbox.emit("count", {"n": n})
    assert outbox.flush(10)
    before = epoch_of(outbox)
    outbox.stored(before, [(Priority.DETECTION, seq) for seq in range(1, 3000, 2)])
    wait_until(lambda: outbox.stats().stored == 1500)
    outbox.renew(before)
    wait_until(lambda: epoch_of(outbox) != before)
    ranges = [
        tuple(line)
        for record in everything(outbox)
        if record.kind == "outbox.tombstone"
        for line in json.loads(record.payload)["ranges"]
    ]
    assert sum(n for _, _, n in ranges) == 1500
    assert len(ranges) == 500


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mount.returncode:
        assert not os.environ.get("CI"), f"this must run in CI: {mount.stderr.decode()}"
        pytest.skip("mounting a small disk needs root; the full-disk tests above run everywhere")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_on_a_really_full_disk_old_rows_make_room_and_delivery_goes_on(
    tiny_disk: Path, open_outbox: Callable[..., Outbox]
) -> None:
    outbox = open_outbox(
        OutboxConfig(flush_interval_s=0.01, queue_rows=200), path=tiny_disk / "outbox.db"
    )  # 64 MiB are promised
    for n in range(3000):
        outbox.emit("count", {"n": n, "f": "x" * 900})
        if n == 500:
            outbox.flush(10)
            fill_up(tiny_disk / "of somebody else")
        if n % 100 == 99:
            assert outbox.flush(30)
    stats = outbox.stats()
    assert stats.commit_failures > 0
    assert stats.evicted[Priority.DETECTION] > 0
    kept = numbers(outbox)
    assert kept[-1] == 2999
    assert len(kept) + stats.evicted[Priority.DETECTION] == 3000
    seqs = [record.seq for record in everything(outbox) if record.priority][:100]
    outbox.stored(epoch_of(outbox), [(Priority.DETECTION, seq) for seq in seqs])
    wait_until(lambda: outbox.stats().stored == 100)


@pytest.mark.parametrize("damage", ["garbage", "torn"])
def test_a_corrupt_file_is_put_aside_and_a_new_epoch_begins(
    path: Path, open_outbox: Callable[..., Outbox], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = open_outbox()
    for n in range(500):
        outbox.emit("count", {"n": n, "f": "x" * 100})
    outbox.flush(10)
    epoch = epoch_of(outbox)
    outbox.close()
    content = path.read_bytes()
    path.write_bytes(
        b"not a database at all" * 1000 if damage == "garbage" else content[:20_000] + bytes(30_000) + content[50_000:]
    )

    again = open_outbox()
    again.emit("count", {"n": 1})
    again.flush(10)
    assert epoch_of(again) != epoch
    reset, event = everything(again)
    assert (reset.kind, reset.seq) == ("outbox.reset", 1)
    assert json.loads(reset.payload)["kept_as"] == "outbox.db.corrupt"
    assert event.seq == 2
    assert path.with_name("outbox.db.corrupt").exists()
    assert "corrupt" in caplog.text


def test_corruption_while_running_starts_a_new_epoch_too(path: Path, open_outbox: Callable[..., Outbox]) -> None:
    told: list[str] = []

    class Rotting(sqlite3.Connection):
        rotten = False

        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if Rotting.rotten and sql.startswith("BEGIN"):
                Rotting.rotten = False
                raise sqlite3.DatabaseError("database disk image is malformed")
            return super().execute(sql, *args)

    connect = lambda p: sqlite3.connect(p, isolation_level=None, check_same_thread=False, factory=Rotting)  # noqa: E731
    outbox = open_outbox(connect=connect, on_commit=lambda _, epoch: told.append(epoch))
    outbox.emit("count", {"n": 0})
    outbox.flush(10)
    other = connect_file(path)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # or the write-ahead log would heal the file
    other.close()
    path.write_bytes(b"rot" * 10_000)
    Rotting.rotten = True
    outbox.emit("count", {"n": 1})
    assert outbox.flush(10)
    assert numbers(outbox) == [1]  # the row in hand survived
    assert len(set(told)) == 2


def test_one_process_one_device_one_schema(path: Path, open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    with pytest.raises(OutboxBusyError, match="in use"):
        open_outbox()
    outbox.close()
    with pytest.raises(OutboxError, match="cam-1"):
        open_outbox(device="cam-2")
    db = connect_file(path)
    db.execute("PRAGMA user_version=9")
    db.close()
    with pytest.raises(OutboxError, match="schema 9"):
        open_outbox()
    db = connect_file(path)
    db.execute("PRAGMA user_version=1")
    db.close()
    open_outbox()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, open_outbox: Callable[..., Outbox]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match="cannot make the outbox"):
        open_outbox(path=tmp_path / "file" / "outbox.db")
    with pytest.raises(OutboxError, match="cannot open the outbox"):
        open_outbox(path=tmp_path)


def test_after_close_events_are_counted_not_kept(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    outbox.close()
    outbox.emit("count", {"n": 1})
    assert outbox.stats().dropped[Priority.DETECTION] == 1
    outbox.close()


@pytest.mark.parametrize(
    "settings",
    [
        *({"byte_budget": 1000}, {"max_record_bytes": 0}, {"byte_budget": MIB}, {"flush_interval_s": 0}),
        *({"queue_rows": 0}, {"queue_bytes": 1000}, {"flush_interval_s": float("nan")}),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SyncConfigError):
        OutboxConfig(**settings)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *((LinkConfig, {name: 0}) for name in ("keepalive_s", "connect_timeout_s", "backoff_base_s", "reprobe_s")),
        *((LinkConfig, {"backoff_cap_s": value}) for value in (-1.0, float("nan"), float("inf"))),
        (LinkConfig, {"keepalive_s": 70_000}),
        *((ResendConfig, {name: 0}) for name in ("window_messages", "window_rows", "message_rows", "message_bytes")),
        *((ResendConfig, {name: -1.0}) for name in ("first_s", "cap_s", "stall_s")),
        *((ResendConfig, {"message_rows": 1001}), (ResendConfig, {"message_bytes": 2**21})),
    ],
    ids=str,
)
def test_settings_of_the_network_are_checked_too(kind: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(SyncConfigError, match=next(iter(settings))):
        kind(**settings)
