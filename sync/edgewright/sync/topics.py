"""Names of the topics: ``edge/<device>/ev`` towards the cloud, ``edge/<device>/ack`` back."""

from __future__ import annotations

from edgewright.sync.errors import SyncConfigError
from edgewright.sync.record import check_device

__all__ = ["ALL_EVENTS", "ack_topic", "device_of", "events_topic"]

ALL_EVENTS = "edge/+/ev"
"""Filter that matches the events of every device."""


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
