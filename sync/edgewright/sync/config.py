"""Settings of the sync half: small frozen dataclasses whose names say their unit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgewright.sync.address import parse_broker
from edgewright.sync.errors import SyncConfigError
from edgewright.sync.record import check_device
from edgewright.sync.wire import MAX_EVENTS, MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MIN_BUDGET", "LinkConfig", "OutboxConfig", "ResendConfig", "SyncConfig"]

MIN_BUDGET = 1024 * 1024
_RECORD_SHARE = 32
_MAX_KEEPALIVE_S = 65535


def _positive(what: str, **settings: float) -> None:
    for name, value in settings.items():
        if not 0 < value < math.inf:
            msg = f"{what} setting {name} is {value}; it must be a positive number"
            raise SyncConfigError(msg)


@dataclass(frozen=True)
class OutboxConfig:
    """How the outbox spends memory and disk.

    Attributes:
        byte_budget: Most bytes the database file may take; its write-ahead log and a small reserve are inside.
        flush_interval_s: How often the writer commits. A power cut or SIGKILL loses at most this much of events.
        batch_rows: Most rows in one commit.
        queue_rows: Most rows of one class waiting in memory; when they are there, new ones are dropped and counted.
        queue_bytes: Most bytes of payload of one class waiting in memory, with the same consequence.
        max_record_bytes: Largest payload; a larger one goes to the dead table with its reason.
        dead_rows: How many dead rows are kept for inspection, newest first.
    """

    byte_budget: int = 64 * 1024 * 1024
    flush_interval_s: float = 0.05
    batch_rows: int = 500
    queue_rows: int = 2048
    queue_bytes: int = 8 * 1024 * 1024
    max_record_bytes: int = 64 * 1024
    dead_rows: int = 100

    def __post_init__(self) -> None:
        """Refuses settings that cannot work."""
        if self.byte_budget < MIN_BUDGET:
            msg = f"outbox byte_budget {self.byte_budget} is too small; give at least {MIN_BUDGET} bytes"
            raise SyncConfigError(msg)
        if not 0 < self.max_record_bytes <= self.byte_budget // _RECORD_SHARE:
            msg = f"max_record_bytes {self.max_record_bytes} must be positive and at most byte_budget / {_RECORD_SHARE}"
            raise SyncConfigError(msg)
        if self.queue_bytes < self.max_record_bytes:
            msg = f"queue_bytes {self.queue_bytes} must be at least max_record_bytes {self.max_record_bytes}"
            raise SyncConfigError(msg)
        counts = (self.batch_rows, self.queue_rows, self.dead_rows)
        _positive("outbox", flush_interval_s=self.flush_interval_s, smallest_count=min(counts))


@dataclass(frozen=True)
class LinkConfig:
    """One MQTT connection.

    Attributes:
        keepalive_s: MQTT keepalive; a dead peer is noticed after up to twice this.
        connect_timeout_s: For TCP, TLS and the broker's answer, each.
        backoff_base_s: First upper bound of the random wait before a new attempt; it doubles.
        backoff_cap_s: Largest upper bound of that wait.
        reprobe_s: When a broker did not answer MQTT 5 and is used in 3.1.1, for how long before MQTT 5 is tried again;
            it doubles each time that it is in vain.
    """

    keepalive_s: int = 20
    connect_timeout_s: float = 5.0
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 60.0
    reprobe_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuses settings that cannot work."""
        timers = {name: getattr(self, name) for name in ("connect_timeout_s", "backoff_base_s", "backoff_cap_s")}
        _positive("link", keepalive_s=self.keepalive_s, reprobe_s=self.reprobe_s, **timers)
        if self.keepalive_s > _MAX_KEEPALIVE_S:
            raise SyncConfigError(f"link keepalive_s {self.keepalive_s} is over MQTT's limit of {_MAX_KEEPALIVE_S}")


@dataclass(frozen=True)
class ResendConfig:
    """How rows travel.

    Attributes:
        window_messages: Most messages without PUBACK; the broker's Receive Maximum lowers it further.
        window_rows: Most rows sent and not yet acknowledged by the ingest.
        message_rows: Most rows in one message.
        message_bytes: Aim for the size of one message; the broker's Maximum Packet Size lowers it further.
        first_s: Wait for the ingest's acknowledgement before a message is sent again; it doubles.
        cap_s: Longest such wait.
        stall_s: Without any PUBACK for this long while some are due, the connection is taken for dead.
    """

    window_messages: int = 50
    window_rows: int = 1000
    message_rows: int = 50
    message_bytes: int = 64 * 1024
    first_s: float = 2.0
    cap_s: float = 120.0
    stall_s: float = 20.0

    def __post_init__(self) -> None:
        """Refuses settings that cannot work."""
        counts = {name: getattr(self, name) for name in ("window_messages", "window_rows", "message_bytes")}
        _positive("resend", first_s=self.first_s, cap_s=self.cap_s, stall_s=self.stall_s, **counts)
        if not 0 < self.message_rows <= MAX_EVENTS or self.message_bytes > MAX_MESSAGE_BYTES:
            msg = (
                f"resend message_rows {self.message_rows} and message_bytes {self.message_bytes} must be positive and "
                f"at most {MAX_EVENTS} and {MAX_MESSAGE_BYTES}: the ingest takes no larger message"
            )
            raise SyncConfigError(msg)


@dataclass(frozen=True)
class SyncConfig:
    """Everything a device needs in order to deliver its events.

    Attributes:
        device: Name of this device, unique in the fleet; it is the topic ``edge/<device>/...``.
        broker: ``mqtt://[user:password@]host[:port]`` or ``mqtts://...?ca=FILE&cert=FILE&key=FILE``; None only stores.
        outbox_path: The outbox's SQLite file; missing folders are made.
        outbox: Memory and disk.
        link: The connection.
        resend: Windows and timers.
    """

    device: str
    broker: str | None = field(repr=False)  # it may hold a password
    outbox_path: Path
    outbox: OutboxConfig = field(default_factory=OutboxConfig)
    link: LinkConfig = field(default_factory=LinkConfig)
    resend: ResendConfig = field(default_factory=ResendConfig)

    def __post_init__(self) -> None:
        """Refuses a device name or a broker URL that cannot be used."""
        check_device(self.device)
        if self.broker is not None:
            parse_broker(self.broker)
