"""The two messages on the wire, in both directions, and the topics they go to, without any I/O.

**Events**, on ``edge/<device>/ev``: one JSON object with up to a few hundred records of one epoch::

    {"v": 1, "source": "edge/cam-1/<epoch>",
     "events": [{"id": "17", "kind": "zone_count", "class": 2, "time": 1760000000.1, "data": {...}}, ...]}

``source`` and ``id`` are the CloudEvents pair that identifies a record. **Acknowledgement**, on ``edge/<device>/ack``,
sent only after the database has committed::

    {"v": 1, "epoch": "<epoch>", "stored": [[17, 40], [42, 42]], "rejected": [[41, "why"]]}

With ``"conflict": true`` it says that the database has *other* rows under some of these names: two outboxes count in one
epoch (a copied or restored file). The rows are not stored; the device gives what it has a new epoch.

What comes from the network is not trusted: every size, type and range is checked before use.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from edgewright.sync.errors import SyncConfigError, WireError
from edgewright.sync.record import MAX_DEPTH, Priority, Record, check_device, is_epoch, is_kind, too_deep

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "ALL_EVENTS",
    "MAX_EVENTS",
    "MAX_MESSAGE_BYTES",
    "Ack",
    "EventBatch",
    "Rejected",
    "ack_topic",
    "decode_ack",
    "decode_events",
    "device_of",
    "encode_acks",
    "encode_events",
    "encode_record",
    "envelope_bytes",
    "events_topic",
    "to_ranges",
]

ALL_EVENTS = "edge/+/ev"
"""Filter that matches the events of every device."""

MAX_MESSAGE_BYTES = 1024 * 1024
"""Longer messages are not even parsed."""

MAX_EVENTS = 1000
"""In one events message."""

_VERSION = 1
_MAX_RANGES = 1000
_MAX_REASON = 200
_MAX_SEQ = 2**62
_MAX_CLASS = 255


@dataclass(frozen=True)
class Rejected:
    """A record that the cloud will never store: the device must not send it again.

    Attributes:
        seq: Which one.
        reason: Why, for people.
    """

    seq: int
    reason: str


@dataclass(frozen=True)
class EventBatch:
    """One events message after checking.

    Attributes:
        device: From ``source``; compare it with the topic.
        epoch: From ``source``.
        records: Those that can be stored.
        rejected: Those that are identifiable and can not.
    """

    device: str
    epoch: str
    records: tuple[Record, ...]
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True)
class Ack:
    """One acknowledgement after checking.

    Attributes:
        epoch: Which count the seqs belong to.
        stored: Inclusive ranges of committed seqs.
        rejected: Refused for good.
        conflict: Whether another outbox has used this epoch's seqs for other rows.
    """

    epoch: str
    stored: tuple[tuple[int, int], ...]
    rejected: tuple[Rejected, ...]
    conflict: bool = False


def to_ranges(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Inclusive ranges that cover exactly ``seqs``, ascending."""
    ranges: list[tuple[int, int]] = []
    for seq in sorted(set(seqs)):
        if ranges and ranges[-1][1] + 1 == seq:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return ranges


def _head(device: str, epoch: str) -> bytes:
    return f'{{"v":{_VERSION},"source":"edge/{device}/{epoch}","events":['.encode("ascii")


def envelope_bytes(device: str, epoch: str) -> int:
    """Bytes of an events message besides its records and the comma after each."""
    return len(_head(device, epoch)) + 2


def encode_record(record: Record) -> bytes:
    """One element of ``events``; the payload goes in as it is."""
    head = (
        f'{{"id":"{record.seq}","kind":"{record.kind}","class":{int(record.priority)},'
        f'"time":{record.created_at!r},"data":'
    )
    return b"".join((head.encode("ascii"), record.payload, b"}"))


def encode_events(device: str, epoch: str, encoded: Sequence[bytes]) -> bytes:
    """An events message out of records that went through ``encode_record``."""
    return b"".join((_head(device, epoch), b",".join(encoded), b"]}"))


def _refuse_constant(name: str) -> float:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _parse(message: bytes) -> dict[str, Any]:
    if len(message) > MAX_MESSAGE_BYTES:
        raise WireError(f"a message of {len(message)} bytes is longer than {MAX_MESSAGE_BYTES}")
    try:
        parsed = json.loads(message, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a message is not JSON: {error}") from None
    if not isinstance(parsed, dict) or parsed.get("v") != _VERSION:
        raise WireError(f"a message is not an object of version {_VERSION}")
    return parsed


def _is_seq(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MAX_SEQ


def decode_events(message: bytes) -> EventBatch:
    """Reads an events message.

    Raises:
        WireError: It does not follow the format so far that its records cannot even be named.
    """
    parsed = _parse(message)
    source, events = parsed.get("source"), parsed.get("events")
    parts = source.split("/") if isinstance(source, str) else []
    if len(parts) != 3 or parts[0] != "edge" or not is_epoch(parts[2]):
        raise WireError("an events message has no source of the form edge/DEVICE/EPOCH")
    if not isinstance(events, list) or not 0 < len(events) <= MAX_EVENTS:
        raise WireError(f"an events message must hold 1 to {MAX_EVENTS} events")
    records: list[Record] = []
    rejected: list[Rejected] = []
    for event in events:
        one = _event(event)
        if isinstance(one, Record):
            records.append(one)
        else:
            rejected.append(one)
    return EventBatch(parts[1], parts[2], tuple(records), tuple(rejected))


def _event(event: object) -> Record | Rejected:
    name = event.get("id") if isinstance(event, dict) else None
    if not isinstance(event, dict) or not isinstance(name, str) or not name.isascii() or not name.isdigit():
        raise WireError("an event has no numeric id")
    seq = int(name) if len(name) <= 20 else 0
    if not _is_seq(seq):
        raise WireError("an event's id is out of range")
    kind, level, time, data = (event.get(key) for key in ("kind", "class", "time", "data"))
    if not is_kind(kind):
        return Rejected(seq, "kind is missing or malformed")
    if not isinstance(level, int) or isinstance(level, bool) or not 0 <= level <= _MAX_CLASS:
        return Rejected(seq, f"class is no number from 0 to {_MAX_CLASS}")
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not _finite(time):
        return Rejected(seq, "time is not a finite number")
    if not isinstance(data, dict):
        return Rejected(seq, "data is not an object")
    if too_deep(data):
        return Rejected(seq, f"data is nested deeper than {MAX_DEPTH}")
    try:
        payload = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=True).encode("ascii")
    except ValueError:  # 1e999 parses to infinity
        return Rejected(seq, "data holds a number that is not finite")
    return Record(seq, str(kind), _class_of(level), float(time), payload)


def _class_of(level: int) -> Priority:
    """A class that only a newer device knows keeps its number: refusing it would bury its rows for good."""
    try:
        return Priority(level)
    except ValueError:
        return cast("Priority", level)


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond every float
        return False


def encode_acks(
    epoch: str, stored: Iterable[int], rejected: Sequence[Rejected] = (), *, conflict: bool = False
) -> list[bytes]:
    """The acknowledgements for ``stored`` and ``rejected``, each of bounded size."""
    ranges = to_ranges(stored)
    messages: list[bytes] = []
    for start in range(0, max(len(ranges), len(rejected), 1), _MAX_RANGES):
        ack: dict[str, Any] = {
            "v": _VERSION,
            "epoch": epoch,
            "stored": ranges[start : start + _MAX_RANGES],
            "rejected": [[r.seq, r.reason[:_MAX_REASON]] for r in rejected[start : start + _MAX_RANGES]],
        }
        if conflict and start + _MAX_RANGES >= max(len(ranges), len(rejected)):  # the last: all before it counts
            ack["conflict"] = True
        messages.append(json.dumps(ack, separators=(",", ":")).encode("ascii"))
    return messages


def decode_ack(message: bytes) -> Ack:
    """Reads an acknowledgement.

    Raises:
        WireError: It does not follow the format.
    """
    parsed = _parse(message)
    epoch, stored, rejected = parsed.get("epoch"), parsed.get("stored"), parsed.get("rejected", [])
    if not is_epoch(epoch) or not isinstance(stored, list) or not isinstance(rejected, list):
        raise WireError("an acknowledgement needs an epoch and a list of stored ranges")
    if max(len(stored), len(rejected)) > _MAX_RANGES:
        raise WireError(f"an acknowledgement has more than {_MAX_RANGES} entries")
    conflict = parsed.get("conflict", False) is True
    return Ack(str(epoch), tuple(_range(r) for r in stored), tuple(_rejected(r) for r in rejected), conflict)


def _range(value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or not all(_is_seq(v) for v in value) or value[0] > value[1]:
        raise WireError("an acknowledgement has a malformed range")
    return value[0], value[1]


def _rejected(value: object) -> Rejected:
    if not isinstance(value, list) or len(value) != 2 or not _is_seq(value[0]) or not isinstance(value[1], str):
        raise WireError("an acknowledgement has a malformed refusal")
    return Rejected(value[0], value[1][:_MAX_REASON])


def events_topic(device: str) -> str:
    """Where ``device`` publishes its events."""
    return f"edge/{check_device(device)}/ev"


def ack_topic(device: str) -> str:
    """Where ``device`` listens for the ingest's acknowledgements."""
    return f"edge/{check_device(device)}/ack"


def device_of(topic: str) -> str | None:
    """The device whose events topic this is, None when it is none."""
    parts = topic.split("/")
    if len(parts) != 3 or parts[0] != "edge" or parts[2] != "ev":
        return None
    try:
        return check_device(parts[1])
    except SyncConfigError:
        return None
