"""The server half of delivery: an ingest that commits first and acknowledges after, and the fleet's database.

Use::

    with IngestService(IngestConfig("sqlite:///fleet.db", port=1883)) as ingest:
        ...
    count_events("sqlite:///fleet.db", device="cam-1")
"""

from edgewright.cloud.embedded import EmbeddedBroker
from edgewright.cloud.errors import BrokerError, CloudError, IngestError, StoreError, StoreUrlError
from edgewright.cloud.ingest import IngestConfig, IngestService, IngestStats
from edgewright.cloud.store import (
    DeviceState,
    Inserted,
    Loss,
    Store,
    StoredEvent,
    count_events,
    open_store,
)

__all__ = [
    "BrokerError",
    "CloudError",
    "DeviceState",
    "EmbeddedBroker",
    "IngestConfig",
    "IngestError",
    "IngestService",
    "IngestStats",
    "Inserted",
    "Loss",
    "Store",
    "StoreError",
    "StoreUrlError",
    "StoredEvent",
    "count_events",
    "open_store",
]
