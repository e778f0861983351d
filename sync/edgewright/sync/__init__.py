"""The device half of delivery: a durable outbox, and a publisher that carries it to the cloud.

A row leaves the outbox only when the cloud's database has committed it; see ``docs/adr/0003-delivery.md``. Use::

    with SyncClient(SyncConfig(device="cam-1", broker="mqtt://127.0.0.1:1883", outbox_path=Path("outbox.db"))) as sync:
        sync.emit("zone_count", {"zone": "door", "count": 2})
        sync.drain(timeout_s=10)

Invariants:

- ``emit()`` never waits: no lock, no file, no socket. What cannot be kept is counted by class.
- What was committed is delivered at least once, and stored once: the cloud drops repeats by device / epoch / seq. (An outbox
  file that was copied or restored counts in the same epoch; the cloud notices, and the file goes on in a new one.)
- What is given up (evicted, dead) leaves a tombstone that is itself delivered.
- After ``start()`` nothing the network or the disk does raises into the application.
"""

from edgewright.sync.client import SyncClient, SyncStats
from edgewright.sync.config import LinkConfig, OutboxConfig, ResendConfig, SyncConfig
from edgewright.sync.errors import OutboxBusyError, OutboxError, SyncConfigError, SyncError, WireError
from edgewright.sync.outbox import Outbox, OutboxStats
from edgewright.sync.record import JSON, Priority, Record

__all__ = [
    "JSON",
    "LinkConfig",
    "Outbox",
    "OutboxBusyError",
    "OutboxConfig",
    "OutboxError",
    "OutboxStats",
    "Priority",
    "Record",
    "ResendConfig",
    "SyncClient",
    "SyncConfig",
    "SyncConfigError",
    "SyncError",
    "SyncStats",
    "WireError",
]
