"""ByteTrack: associate every detection box, strong ones first (Zhang et al., ECCV 2022).

1. Tracks (seen and lost) are predicted to the frame's time and paired with strong detections by IoU times score.
2. Tracks seen last time and still without a box are paired with the *weak* detections by IoU: a person half hidden
   keeps the identity.
3. Beginners, seen once, are paired with the strong boxes left over; whoever finds no partner is forgotten.
4. Strong boxes still left start new tracks.

Differences from the paper's code: time is in seconds, not frames; ids are given on confirmation, so they have no
gaps; classes never mix; everything is bounded (``lost_s``, ``max_tracks``) and belongs to the instance; finished
tracks are not remembered. Two settings are looser than the paper's (``strong_limit`` 0.8, a lost second): boards see
10 frames a second rather than 30, and a walking person's narrow box moves by a good part of its width between two.

What it cannot do: it looks at boxes only, so two people who hide each other while they turn may swap identities.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgewright.runtime.overlap import iou_matrix
from edgewright.runtime.tracking.assignment import assign_gated
from edgewright.runtime.tracking.kalman import BoxFilter, Noise
from edgewright.runtime.types import Tracks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.runtime.types import Detections

__all__ = ["ByteTrack", "ByteTrackConfig"]

_TENTATIVE, _TRACKED, _LOST = 0, 1, 2


@dataclass(frozen=True)
class ByteTrackConfig:
    """Settings; scores and IoUs are 0..1, times seconds.

    Attributes:
        high: Detections from this score up are strong.
        low: Detections below are ignored; between the two they are weak.
        start: A strong detection needs this score to start a track.
        strong_limit: Largest 1 - IoU * score that pairs a track with a strong detection.
        weak_limit: Largest 1 - IoU that pairs a track with a weak detection.
        tentative_limit: Largest 1 - IoU * score that pairs a beginner.
        confirm_hits: Frames in a row a new track must be seen in before it gets an id.
        lost_s: A track unseen for longer is forgotten.
        max_tracks: Upper bound of tracks held; the longest unseen go first.
        noise: Of the Kalman filter.
    """

    high: float = 0.5
    low: float = 0.1
    start: float = 0.6
    strong_limit: float = 0.9
    weak_limit: float = 0.5
    tentative_limit: float = 0.7
    confirm_hits: int = 2
    lost_s: float = 2.0
    max_tracks: int = 256
    noise: Noise = field(default_factory=Noise)

    def __post_init__(self) -> None:
        """Refuses settings that contradict each other."""
        if not 0.0 <= self.low <= self.high <= self.start <= 1.0:
            message = f"scores must grow low <= high <= start within 0..1; got {self.low}, {self.high}, {self.start}"
            raise ValueError(message)
        if self.confirm_hits < 1 or self.max_tracks < 1 or self.lost_s < 0.0:
            message = "confirm_hits and max_tracks must be at least 1, lost_s at least 0"
            raise ValueError(message)


class ByteTrack:
    """One camera's tracker. Two instances share nothing; ids of each start at 1."""

    def __init__(self, config: ByteTrackConfig | None = None) -> None:
        """A tracker that has seen nothing."""
        self._config = config or ByteTrackConfig()
        self._next_id = 1
        self._time: float | None = None
        self._clear()

    @property
    def score_floor(self) -> float:
        """Lowest score the tracker can use."""
        return self._config.low

    @property
    def ids_given(self) -> int:
        """How many identities were confirmed so far."""
        return self._next_id - 1

    def __len__(self) -> int:
        """Tracks held now, beginners and lost ones included."""
        return len(self._ids)

    def update(self, detections: Detections, media_time: float, size: tuple[int, int]) -> Tracks:
        """Takes one frame's detections; see ``Tracker``. A clock that runs backwards forgets all tracks."""
        first = self._time is None
        self._move_to(media_time)
        scores = detections.scores.astype(np.float64)
        rows, columns = self._associate(detections, scores)
        self._filter.update(rows, detections.boxes[columns])
        self._seen_at[rows] = media_time
        self._scores[rows] = scores[columns]
        self._hits[rows] += 1
        self._change_states(rows)
        fresh = scores >= self._config.start
        fresh[columns] = False
        self._start(detections, np.nonzero(fresh)[0], media_time, confirmed=first)
        return self._visible(size)

    def _clear(self) -> None:
        self._filter = BoxFilter(self._config.noise)
        self._ids = np.zeros(0, np.int64)  # 0: not confirmed
        self._states = np.zeros(0, np.int8)
        self._hits = np.zeros(0, np.int64)
        self._seen_at = np.zeros(0)
        self._scores = np.zeros(0)
        self._classes = np.zeros(0, np.int64)

    def _move_to(self, media_time: float) -> None:
        if self._time is not None and media_time < self._time:
            self._clear()
        elif self._time is not None:
            expired = media_time - self._seen_at > self._config.lost_s
            # A gap longer than lost_s (the camera was away) expires every track, seen or lost.
            if expired.any():
                self._keep(~expired)
            self._filter.velocity[self._states == _LOST, 2:] = 0.0  # an unseen box keeps its size
            self._filter.predict(media_time - self._time)
        self._time = media_time

    def _associate(
        self, detections: Detections, scores: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of tracks and the detection each is paired with."""
        config = self._config
        overlap = iou_matrix(self._filter.boxes, detections.boxes)
        overlap[self._classes[:, None] != detections.class_ids[None, :]] = 0.0
        fused = 1.0 - overlap * scores[None, :]
        strong = scores >= config.high
        weak = (scores >= config.low) & ~strong
        tracks_left, boxes_left = np.ones(len(self), bool), np.ones(len(scores), bool)
        stages = (
            (fused, self._states != _TENTATIVE, strong, config.strong_limit),
            (1.0 - overlap, self._states == _TRACKED, weak, config.weak_limit),
            (fused, self._states == _TENTATIVE, strong, config.tentative_limit),
        )
        rows, columns = [], []
        for cost, which_tracks, which_boxes, limit in stages:
            left = np.nonzero(which_tracks & tracks_left)[0]
            right = np.nonzero(which_boxes & boxes_left)[0]
            if not (len(left) and len(right)):
                continue
            picked_left, picked_right = assign_gated(cost[left[:, None], right], limit)
            tracks_left[left[picked_left]] = False
            boxes_left[right[picked_right]] = False
            rows.append(left[picked_left])
            columns.append(right[picked_right])
        if not rows:
            none = np.zeros(0, np.intp)
            return none, none
        return np.concatenate(rows), np.concatenate(columns)

    def _change_states(self, rows: NDArray[np.intp]) -> None:
        matched = np.zeros(len(self), bool)
        matched[rows] = True
        gone = ~matched & (self._states == _TENTATIVE)
        self._states[~matched & (self._states == _TRACKED)] = _LOST
        ripe = matched & (self._hits >= self._config.confirm_hits)
        self._states[ripe] = _TRACKED
        self._name(np.nonzero(ripe & (self._ids == 0))[0])
        if gone.any():
            self._keep(~gone)

    def _name(self, rows: NDArray[np.intp]) -> None:
        self._ids[rows] = np.arange(self._next_id, self._next_id + len(rows))
        self._next_id += len(rows)

    def _start(self, detections: Detections, which: NDArray[np.intp], media_time: float, *, confirmed: bool) -> None:
        """Starts tracks; those in the very first frame are confirmed at once, as in the paper's code."""
        self._make_room(len(which))
        which = which[np.argsort(-detections.scores[which], kind="stable")][: self._config.max_tracks - len(self)]
        count = len(which)
        if not count:
            return
        confirmed = confirmed or self._config.confirm_hits == 1
        self._filter.add(detections.boxes[which])
        self._ids = np.append(self._ids, np.zeros(count, np.int64))
        self._states = np.append(self._states, np.full(count, _TRACKED if confirmed else _TENTATIVE, np.int8))
        self._hits = np.append(self._hits, np.ones(count, np.int64))
        self._seen_at = np.append(self._seen_at, np.full(count, media_time))
        self._scores = np.append(self._scores, detections.scores[which])
        self._classes = np.append(self._classes, detections.class_ids[which])
        if confirmed:
            self._name(np.arange(len(self) - count, len(self)))

    def _make_room(self, wanted: int) -> None:
        excess = len(self) + wanted - self._config.max_tracks
        lost = np.nonzero(self._states == _LOST)[0]
        if excess <= 0 or not len(lost):
            return
        oldest = lost[np.argsort(self._seen_at[lost], kind="stable")][:excess]
        keep = np.ones(len(self), bool)
        keep[oldest] = False
        self._keep(keep)

    def _keep(self, mask: NDArray[np.bool_]) -> None:
        self._filter.keep(mask)
        self._ids, self._states, self._hits = self._ids[mask], self._states[mask], self._hits[mask]
        self._seen_at, self._scores, self._classes = self._seen_at[mask], self._scores[mask], self._classes[mask]

    def _visible(self, size: tuple[int, int]) -> Tracks:
        rows = np.nonzero(self._states == _TRACKED)[0]
        rows = rows[np.argsort(self._ids[rows], kind="stable")]
        width, height = size
        boxes = self._filter.boxes[rows].astype(np.float32)
        np.clip(boxes, 0.0, np.array([width, height, width, height], np.float32), out=boxes)
        return Tracks(self._ids[rows], boxes, self._scores[rows].astype(np.float32), self._classes[rows])
