"""What can go wrong in the sync half, as one tree.

::

    EdgewrightError
    +-- SyncError
        +-- SyncConfigError    a setting cannot be used: device name, broker URL, certificate file, limits
        +-- OutboxError        the outbox file cannot be opened or belongs to somebody else
        |   +-- OutboxBusyError    another process has it open
        +-- WireError          a message does not follow the format (raised while decoding, never to the camera)

After ``SyncClient.start()`` none of these reaches the application: an unreachable broker, a full disk or a broken
message is counted, logged once and worked around.
"""

from __future__ import annotations

from edgewright.bundle.errors import EdgewrightError

__all__ = ["OutboxBusyError", "OutboxError", "SyncConfigError", "SyncError", "WireError"]


class SyncError(EdgewrightError):
    """Root of the sync half's errors."""


class SyncConfigError(SyncError):
    """A setting cannot be used; nothing was opened."""


class OutboxError(SyncError):
    """The outbox file cannot be opened."""


class OutboxBusyError(OutboxError):
    """Another process has the outbox open: two writers would send every row twice."""


class WireError(SyncError):
    """A message does not follow the format of ``edgewright.sync.wire``."""
