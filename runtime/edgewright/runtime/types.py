"""The few types that cross borders inside the runtime: frame in, detections, tracks and events out.

Boxes are always ``(n, 4)`` float32 in pixels of the frame they belong to, order x1, y1, x2, y2 (xyxy).
Two clocks appear, never mixed:

- ``captured_at``: seconds of ``time.monotonic()``; ages are measured on it.
- ``media_time``: seconds on the scene's own clock (position in a file, or monotonic for live sources); tracking
  and rules think in it, so that a file replayed fast gives the same tracks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "Classification",
    "Detections",
    "Event",
    "Frame",
    "Result",
    "ResultStatus",
    "TimeQuality",
    "Tracks",
]


class TimeQuality(str, Enum):
    """How much ``Frame.captured_at`` can be trusted."""

    CAPTURE = "capture"  # stamped by the driver or the camera
    ARRIVAL = "arrival"  # stamped when the frame came out of the decoder here
    FILE = "file"  # read from disk: the age says nothing about the scene


class ResultStatus(str, Enum):
    """Why a result is what it is; only ``OK`` may be read as "nobody there" when it is empty."""

    OK = "ok"
    MODEL_ERROR = "model_error"
    TIMEOUT = "timeout"
    STALE = "stale"
    SOURCE_DOWN = "source_down"


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        camera: Name of the source.
        index: Counts the frames the source has seen, from 0; gaps are dropped frames.
        captured_at: Monotonic seconds.
        media_time: Seconds on the scene's clock.
        time_quality: How ``captured_at`` was had.
    """

    image: NDArray[np.uint8]
    camera: str
    index: int
    captured_at: float
    media_time: float
    time_quality: TimeQuality


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector saw in one frame, as parallel arrays, best score first.

    Attributes:
        boxes: (n, 4) float32 xyxy pixels, inside the frame.
        scores: (n,) float32 in 0..1.
        class_ids: (n,) int64, indices into the bundle's labels.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuses arrays that are not parallel."""
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.class_ids.shape != (n,):
            shapes = f"boxes {self.boxes.shape}, scores {self.scores.shape}, class_ids {self.class_ids.shape}"
            msg = f"detections need (n, 4), (n,), (n,); got {shapes}"
            raise ValueError(msg)

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.scores)

    def select(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        """The rows that ``index`` picks, in its order."""
        return Detections(self.boxes[index], self.scores[index], self.class_ids[index])

    @staticmethod
    def empty() -> Detections:
        """No boxes."""
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Classification:
    """The best classes of one frame, best first.

    Attributes:
        class_ids: (k,) int64.
        scores: (k,) float32 probabilities.
    """

    class_ids: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tracks:
    """Identities present in one frame, as parallel arrays.

    Attributes:
        ids: (n,) int64, unique within one tracker instance, from 1.
        boxes: (n, 4) float32 xyxy pixels, smoothed.
        scores: (n,) float32 of the detection last matched.
        class_ids: (n,) int64.
    """

    ids: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of tracks."""
        return len(self.ids)

    @staticmethod
    def empty() -> Tracks:
        """No tracks."""
        none = Detections.empty()
        return Tracks(np.zeros(0, np.int64), none.boxes, none.scores, none.class_ids)


@dataclass(frozen=True, eq=False)
class Result:
    """What became of one frame.

    Attributes:
        camera: Name of the source.
        frame_index: As in the frame; -1 when there was none (``SOURCE_DOWN``).
        captured_at: Monotonic seconds.
        media_time: Seconds on the scene's clock.
        time_quality: How ``captured_at`` was had.
        status: Read this before the rest.
        output: What the model said; None unless the model ran.
        tracks: Identities, None when not tracking.
        timings_ms: Stage name to milliseconds.
        error: Why the status is not ``OK``, in words.
    """

    camera: str
    frame_index: int
    captured_at: float
    media_time: float
    time_quality: TimeQuality
    status: ResultStatus
    output: Detections | Classification | None = None
    tracks: Tracks | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Event:
    """Something worth telling somebody.

    Attributes:
        kind: ``zone_count``, ``source_down``, ``source_up``, ``blind``, ``run_summary``, ...
        camera: Name of the source.
        frame_index: Frame that caused it, -1 for none.
        media_time: Seconds on the scene's clock.
        captured_at: Monotonic seconds of the frame, or of the moment it was noticed.
        time_quality: How ``captured_at`` was had.
        data: JSON values.
    """

    kind: str
    camera: str
    frame_index: int
    media_time: float
    captured_at: float
    time_quality: TimeQuality
    data: Mapping[str, Any] = field(default_factory=dict)
