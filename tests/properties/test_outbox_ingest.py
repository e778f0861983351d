"""Whatever a device says and the wire accepts, the fleet's database takes or leaves without an error."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.cloud import open_store
from edgewright.sync import WireError
from edgewright.sync.wire import decode_events

NUMBERS = st.integers() | st.integers(0, 12) | st.sampled_from([2**53, 2**62, 2**63, -(2**63), 10**400])
TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(["\ud800", "\0", "evicted", ""])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def sorted_ends(line: tuple[int, int, int]) -> list[int]:
    first, last = sorted(line[:2])
    return [first, last, line[2]]


LINES = st.lists(st.lists(NUMBERS, min_size=3, max_size=3) | JSON, max_size=6)
TOMBSTONES = st.fixed_dictionaries({"class": NUMBERS | JSON, "reason": TEXT | JSON, "ranges": LINES | JSON})
NEARLY_GOOD = st.fixed_dictionaries(  # the way deepest into the database
    {
        "id": st.integers(1, 12).map(str),
        "kind": st.just("outbox.tombstone"),
        "class": st.just(0),
        "time": st.just(1.0),
        "data": st.fixed_dictionaries(
            {
                "class": st.integers(0, 4) | NUMBERS,
                "reason": TEXT,
                "ranges": st.lists(st.tuples(*[st.integers(1, 9) | NUMBERS] * 3).map(sorted_ends), min_size=1),
            }
        ),
    }
)
EVENTS = NEARLY_GOOD | st.fixed_dictionaries(
    {
        "id": st.integers(1, 12).map(str) | st.sampled_from([str(2**62)]),
        "kind": st.sampled_from(["outbox.tombstone", "outbox.reset", "count"]) | TEXT,
        "class": st.integers(0, 5) | JSON,
        "time": st.floats() | NUMBERS,
        "data": TOMBSTONES | st.dictionaries(TEXT, JSON, max_size=3) | JSON,
    }
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(EVENTS, min_size=1, max_size=4), min_size=1, max_size=4))
def test_what_the_wire_accepts_the_database_survives(messages: list[list[dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.db"
        store = open_store(f"sqlite:///{path}")
        store._db.execute("PRAGMA synchronous=OFF")
        try:
            for events in messages:
                text = json.dumps({"v": 1, "source": f"edge/cam/{'e' * 32}", "events": events})
                try:
                    batch = decode_events(text.encode())
                except WireError:
                    continue
                done = store.insert("cam", "e" * 32, batch.records, 1.0)
                assert done.new + done.duplicates + len(done.conflicts) <= len(batch.records)
            assert len(list(store.events())) == store.count() + sum(e.priority == 0 for e in store.events())
            assert all(state.lost >= 0 for state in store.devices())
            store.losses("cam")
            store.missing("cam", "e" * 32)
        finally:
            store.close()
