"""An event as the JSON that leaves the device."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgewright.bundle.reader import Bundle
    from edgewright.runtime.types import Event

__all__ = ["BundleStamp", "event_payload", "utc_text"]


@dataclass(frozen=True)
class BundleStamp:
    """Which bundle looked.

    Attributes:
        name: As in its manifest.
        version: As in its manifest.
        digest: SHA-256 of its manifest.
        variant: The variant that ran.
    """

    name: str
    version: str
    digest: str
    variant: str

    @staticmethod
    def of(bundle: Bundle, variant: str) -> BundleStamp:
        """The stamp of an opened bundle."""
        return BundleStamp(bundle.manifest.name, bundle.manifest.version, bundle.digest, variant)


def utc_text(captured_at: float) -> str:
    """UTC time, ISO 8601 with milliseconds, of a moment on the monotonic clock."""
    wall = time.time() - (time.monotonic() - captured_at)
    stamp = datetime.fromtimestamp(wall, tz=timezone.utc)
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_payload(event: Event, bundle: BundleStamp) -> dict[str, Any]:
    """JSON values that say what happened, where, when, how well that time is known, and which model saw it.

    ``time`` is the wall clock of the capture; for a video file that is when it was *read*, and ``media_time`` says
    where in the file it happened (``time_quality`` tells the two apart).
    """
    return {
        "kind": event.kind,
        "camera": event.camera,
        "frame_index": event.frame_index,
        "media_time": round(event.media_time, 4),
        "captured_at": round(event.captured_at, 4),
        "time_quality": event.time_quality.value,
        "time": utc_text(event.captured_at),
        "bundle": {
            "name": bundle.name,
            "version": bundle.version,
            "digest": bundle.digest,
            "variant": bundle.variant,
        },
        "data": dict(event.data),
    }
