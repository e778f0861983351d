"""What can go wrong in the cloud half, as one tree.

::

    EdgewrightError
    +-- CloudError
        +-- StoreUrlError    the database URL cannot be used
        +-- StoreError       the database cannot be opened, read or written
        +-- BrokerError      the embedded broker cannot start
        +-- IngestError      the ingest stopped working
"""

from __future__ import annotations

from edgewright.bundle.errors import EdgewrightError

__all__ = ["BrokerError", "CloudError", "IngestError", "StoreError", "StoreUrlError"]


class CloudError(EdgewrightError):
    """Root of the cloud half's errors."""


class StoreUrlError(CloudError):
    """The database URL cannot be used."""


class StoreError(CloudError):
    """The database cannot be opened, read or written; what was committed before is safe."""


class BrokerError(CloudError):
    """The embedded broker cannot start."""


class IngestError(CloudError):
    """The ingest was used in a way that cannot work."""
