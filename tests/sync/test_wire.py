from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.sync import Priority, Record, WireError
from edgewright.sync.record import encode_data, too_deep
from edgewright.sync.wire import (
    MAX_MESSAGE_BYTES,
    Rejected,
    decode_ack,
    decode_events,
    device_of,
    encode_acks,
    encode_events,
    encode_record,
    envelope_bytes,
    events_topic,
    to_ranges,
)

EPOCH = "0123456789abcdef" * 2

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.builds(
    Record,
    seq=st.integers(1, 2**62),
    kind=st.from_regex(r"[a-z][a-z0-9._:-]{0,20}", fullmatch=True),
    priority=st.sampled_from(Priority),
    created_at=st.floats(0, 1e10),
    payload=st.dictionaries(st.text(), JSON_VALUES, max_size=4).map(encode_data),
)


@given(st.lists(RECORDS, min_size=1, max_size=20))
def test_events_survive_the_wire(records: list[Record]) -> None:
    encoded = [encode_record(record) for record in records]
    message = encode_events("cam-1", EPOCH, encoded)
    assert len(message) == envelope_bytes("cam-1", EPOCH) + sum(len(one) + 1 for one in encoded) - 1
    batch = decode_events(message)
    assert (batch.device, batch.epoch, batch.rejected) == ("cam-1", EPOCH, ())
    assert batch.records == tuple(records)


@given(st.sets(st.integers(1, 10**6), max_size=300), st.lists(st.integers(1, 100), max_size=5, unique=True))
def test_acknowledgements_survive_the_wire(stored: set[int], rejected: list[int]) -> None:
    acks = [decode_ack(message) for message in encode_acks(EPOCH, stored, [Rejected(seq, "why") for seq in rejected])]
    assert {seq for ack in acks for first, last in ack.stored for seq in range(first, last + 1)} == stored
    assert [one.seq for ack in acks for one in ack.rejected] == rejected


def test_many_scattered_ranges_go_in_several_acknowledgements() -> None:
    acks = encode_acks(EPOCH, range(1, 5000, 2))
    assert len(acks) == 3
    assert sum(len(decode_ack(ack).stored) for ack in acks) == 2500


@given(st.sets(st.integers(1, 200)))
def test_ranges_cover_exactly(seqs: set[int]) -> None:
    ranges = to_ranges(seqs)
    assert [seq for first, last in ranges for seq in range(first, last + 1)] == sorted(seqs)
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(ranges))


@given(st.binary(max_size=200) | JSON_VALUES.map(lambda v: json.dumps(v).encode()))
def test_strange_bytes_are_refused_and_nothing_else_happens(message: bytes) -> None:
    for decode in (decode_events, decode_ack):
        with pytest.raises(WireError):
            decode(message)


def events(*changed: dict[str, Any], **envelope: Any) -> bytes:
    good = {"id": "1", "kind": "k", "class": 2, "time": 1.5, "data": {}}
    return json.dumps(
        {"v": 1, "source": f"edge/cam/{EPOCH}", "events": [good | c for c in changed], **envelope}
    ).encode()


@pytest.mark.parametrize(
    "message",
    [
        events({}, v=2),
        events({}, v=None),
        events({}, source="edge/cam"),
        events({}, source=7),
        events({}, source=f"edge/cam/{EPOCH}/x"),
        events({}, source="edge/cam/" + "g" * 32),
        events({}, events={}),
        events(),
        events(*[{}] * 1001),
        events({"id": 1}),
        events({"id": "-1"}),
        events({"id": "0"}),
        events({"id": "٣"}),
        events({"id": "9" * 5000}),
        events({"id": str(2**63)}),
        b"[" * 100_000,
        b'{"v":1,"source":"' + b"x" * MAX_MESSAGE_BYTES + b'"}',
        b'{"v":' + b"1" * 5000 + b"}",
    ],
    ids=range(18),
)
def test_a_message_without_names_is_refused_whole(message: bytes) -> None:
    with pytest.raises(WireError):
        decode_events(message)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": None},
        {"kind": ""},
        {"kind": "a b"},
        {"kind": "x" * 65},
        {"class": 256},
        {"class": -1},
        {"class": True},
        {"class": "2"},
        {"class": [1]},
        {"time": "now"},
        {"time": None},
        {"time": 10**400},
        {"data": []},
        {"data": None},
        {"data": {"x": float("1e999")}},
    ],
    ids=str,
)
def test_a_bad_event_is_rejected_by_name_and_its_neighbour_kept(change: dict[str, Any]) -> None:
    message = events({"id": "5"} | change, {"id": "6"}).replace(b"Infinity", b"1e999")
    batch = decode_events(message)
    assert [record.seq for record in batch.records] == [6]
    assert [one.seq for one in batch.rejected] == [5]


def test_a_class_of_a_newer_device_keeps_its_number() -> None:
    (record,) = decode_events(events({"class": 9})).records
    assert record.priority == 9
    assert b'"class":9,' in encode_record(record)


@pytest.mark.parametrize(("depth", "good"), [(32, True), (33, False), (600, False)])
@pytest.mark.parametrize("shape", ['{"a":', "["])
def test_both_sides_take_the_same_depth(depth: int, good: bool, shape: str) -> None:
    """What a device accepts the ingest must be able to read, or the row would be sent for ever."""
    close = "}" if shape[0] == "{" else "]"
    inner = shape * (depth - 1) + ("1" if shape[0] == "{" else "") + close * (depth - 1)
    data = json.loads('{"x":' + inner + "}")
    assert too_deep(data) is not good
    if good:
        assert decode_events(events({"data": data})).records[0].payload == encode_data(data)
    else:
        with pytest.raises(ValueError, match="nested"):
            encode_data(data)
        (refusal,) = decode_events(events({"data": data})).rejected
        assert "nested" in refusal.reason


def test_many_brackets_are_not_depth() -> None:
    data = {"boxes": [[1, 2, 3, 4]] * 100, "text": "[[[[[{{{{{" * 10}
    assert json.loads(encode_data(data)) == data


def test_a_conflict_is_said_once_all_else_is() -> None:
    acks = [decode_ack(ack) for ack in encode_acks(EPOCH, range(1, 5000, 2), conflict=True)]
    assert [ack.conflict for ack in acks] == [False, False, True]
    assert not decode_ack(encode_acks(EPOCH, [1])[0]).conflict


def test_lone_surrogates_are_kept_harmless() -> None:
    batch = decode_events(events({"data": {"x": "\ud800"}}))
    assert batch.records[0].payload == b'{"x":"\\ud800"}'


@pytest.mark.parametrize(
    "ack",
    [
        {"v": 1, "epoch": "x", "stored": []},
        {"v": 1, "epoch": EPOCH},
        {"v": 1, "epoch": EPOCH, "stored": [[2, 1]]},
        {"v": 1, "epoch": EPOCH, "stored": [[0, 1]]},
        {"v": 1, "epoch": EPOCH, "stored": [[True, 1]]},
        {"v": 1, "epoch": EPOCH, "stored": [1]},
        {"v": 1, "epoch": EPOCH, "stored": [], "rejected": [[1]]},
        {"v": 1, "epoch": EPOCH, "stored": [[1, 1]] * 1001},
        {"v": 1, "epoch": [EPOCH], "stored": []},
    ],
    ids=range(9),
)
def test_a_bad_acknowledgement_is_refused(ack: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        decode_ack(json.dumps(ack).encode())


@pytest.mark.parametrize(
    ("topic", "device"),
    [
        (events_topic("cam-1"), "cam-1"),
        ("edge/cam-1/ack", None),
        ("edge//ev", None),
        ("edge/a/b/ev", None),
        ("edge/+/ev", None),
        ("", None),
        ("other/cam/ev", None),
    ],
)
def test_the_device_is_read_from_the_topic(topic: str, device: str | None) -> None:
    assert device_of(topic) == device
