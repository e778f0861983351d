"""Frames of a video as samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgewright.optimize.data.source import Sample, SampleSource, Slice
from edgewright.optimize.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["VideoSource"]

_USUAL_RATE = 25.0
_HIGHEST_RATE = 1000.0
_MOST_FRAMES = 10**7
# Containers announce a frame or two more than they hold now and then; a cut file misses more.
_MISSING_SHARE = 0.02


class VideoSource(SampleSource):
    """Frames of a video, as OpenCV decodes them."""

    consecutive = True

    def __init__(self, expression: str, path: Path, chosen: Slice) -> None:
        """Opens the video and closes it again.

        Raises:
            DataError: It does not open.
        """
        super().__init__(expression, path, chosen)
        capture = self._open()
        try:
            self._announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            rate = float(capture.get(cv2.CAP_PROP_FPS))
        finally:
            capture.release()
        self.spacing_s = 1.0 / (rate if 0 < rate <= _HIGHEST_RATE else _USUAL_RATE)

    def common(self, other: SampleSource) -> str | None:
        """See ``SampleSource``; frames are known by their number."""
        if not isinstance(other, VideoSource) or not self.path.samefile(other.path):
            return None
        index = self.slice.meets(other.slice, self._length())
        return None if index is None else self._name(index)

    def _length(self) -> int | None:
        return self._announced if 0 < self._announced < _MOST_FRAMES else None

    def _name(self, index: int) -> str:
        return f"{self.path.name} frame {index}"

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            capture.release()
            msg = f"{self.path} is neither a folder of pictures nor a video that decodes; check it with a player"
            raise DataError(msg)
        return capture

    def _walk(self) -> Iterator[Sample]:
        capture = self._open()
        try:
            yield from self._frames(capture)
        finally:
            capture.release()

    def _frames(self, capture: cv2.VideoCapture) -> Iterator[Sample]:
        index = -1
        # grab() decodes without converting: frames that the slice leaves out cost little.
        while not self.slice.past(index + 1) and capture.grab():
            index += 1
            if not self._takes(index):
                continue
            good, image = capture.retrieve()
            if not good or image is None:
                msg = f"{self.path}: frame {index} does not decode; cut the clip before it or leave it out by a slice"
                raise DataError(msg)
            yield Sample(index, self._name(index), np.asarray(image, np.uint8))
        if index >= 0 and not self.slice.past(index + 1):
            self._compare(index + 1)
        if index < 0:
            msg = f"{self.path} opens as a video but no frame of it decodes; convert it, for example to H.264 in MP4"
            raise DataError(msg)

    def _compare(self, found: int) -> None:
        """Notes a video that ends before its time: a cut download reads like a short clip."""
        missing = self._announced - found
        note = f"{self.path.name} ends after frame {found - 1}, but its header announces {self._announced} frames; it is cut"
        if self._announced < _MOST_FRAMES and missing > max(2, _MISSING_SHARE * self._announced) and not self.notes:
            self.notes.append(note)
