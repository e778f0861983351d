"""A video file: every frame, in order, none lost."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import TYPE_CHECKING

import cv2

from edgewright.runtime.errors import SourceError
from edgewright.runtime.sources.base import EndOfSource, SourceOptions, retrieved, shrink
from edgewright.runtime.sources.mp4 import is_whole_mp4
from edgewright.runtime.types import Frame, TimeQuality

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


__all__ = ["VideoFileSource"]

_DEFAULT_FPS = 25.0
_FPS_RANGE = (0.01, 1000.0)
# Containers announce a frame count that may be an estimate; only a clear shortfall means damage.
_TOLERATED_SHORTFALL = 0.05
_TOLERATED_FRAMES = 2
_TOLERATED_S = 0.5


class VideoFileSource:
    """Frames of one video file.

    ``media_time`` is the container's time stamp; where that is missing or runs backwards, index / fps.

    Frames that cannot be decoded are passed over and counted as ``undecodable``. Frames that the container announces
    by count and by length, and that never came out, are counted as ``missing`` at the end: they were damaged, or cut
    away by an edit list.
    """

    def __init__(self, path: Path, options: SourceOptions | None = None) -> None:
        """Opens the file and decodes its first frame.

        Args:
            path: The video.
            options: Name, stride and size limit.

        Raises:
            SourceError: The file is not a video that this OpenCV build decodes.
        """
        options = options or SourceOptions()
        self._path = path
        self._name = options.name or path.name
        self._every = options.every_nth
        self._max_side = options.max_side
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise SourceError(_undecodable(path))
        announced = float(self._capture.get(cv2.CAP_PROP_FPS))
        known = math.isfinite(announced) and _FPS_RANGE[0] <= announced <= _FPS_RANGE[1]
        self._fps = announced if known else _DEFAULT_FPS
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._count = int(count) if math.isfinite(count) and 0 < count < 2**40 else None
        self._index = 0
        self._drops: Counter[str] = Counter()
        self._media_time = -1.0 / self._fps
        self._closed = False
        self._first: Frame | None = self._decode()
        if self._first is None:
            self.close()
            raise SourceError(_undecodable(path))

    @property
    def name(self) -> str:
        """What frames call the camera."""
        return self._name

    @property
    def live(self) -> bool:
        """A file waits for us."""
        return False

    @property
    def total(self) -> int | None:
        """Frames that will be given, by the container's own count."""
        return None if self._count is None else -(-self._count // self._every)

    @property
    def fps(self) -> float | None:
        """Frames given per second of the scene."""
        return self._fps / self._every

    @property
    def seen(self) -> int:
        """Frames read from the file, and at its end those that are missing."""
        return self._index + self._drops["missing"] - (self._first is not None)

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames not given, by cause."""
        return {cause: count for cause, count in self._drops.items() if count}

    def take(self, timeout_s: float = 0.0) -> Frame | EndOfSource:
        """The next frame, or ``EndOfSource`` after the last.

        Args:
            timeout_s: Not used: a file is as fast as it decodes.

        Raises:
            SourceError: Decoding stopped clearly before the announced end.
        """
        del timeout_s
        frame, self._first = self._first, None
        if frame is None and not self._closed:
            frame = self._decode()
        if frame is not None:
            return frame
        if not self._closed:
            self.close()
            self._check_complete()
        return EndOfSource()

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        self._closed = True
        self._capture.release()

    def _decode(self) -> Frame | None:
        while self._capture.grab():
            index = self._index
            self._index += 1
            self._advance_time()
            if index % self._every:
                self._drops["every_nth"] += 1
                continue
            image = retrieved(self._capture)
            if image is None:
                self._drops["undecodable"] += 1
                continue
            return Frame(
                image=shrink(image, self._max_side),
                camera=self._name,
                index=index,
                captured_at=time.monotonic(),
                media_time=self._media_time,
                time_quality=TimeQuality.FILE,
            )
        return None

    def _advance_time(self) -> None:
        stamp = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0
        trusted = math.isfinite(stamp) and stamp > self._media_time
        self._media_time = stamp if trusted else self._media_time + 1.0 / self._fps

    def _check_complete(self) -> None:
        """Counts what the container announced and did not give; refuses a file that was cut off."""
        if self._count is None:
            return
        duration = self._count / self._fps
        short_s = duration - self._media_time - 1.0 / self._fps
        # Both must fall short: a variable frame rate makes the count, but not the time, an overestimate.
        missing = max(0, min(self._count - self._index, round(short_s * self._fps)))
        allowed = max(_TOLERATED_FRAMES, _TOLERATED_SHORTFALL * self._count)
        clearly = missing > allowed and short_s > max(_TOLERATED_SHORTFALL * duration, _TOLERATED_S)
        if clearly and not is_whole_mp4(self._path):
            message = (
                f"{self._path}: decoding stopped at frame {self._index} of {self._count}; the file is cut short or "
                f"damaged. Repair or replace it, or stop before the damage with --max-frames {self._index // self._every}"
            )
            raise SourceError(message)
        self._drops["missing"] += missing


def _undecodable(path: Path) -> str:
    return f"{path}: not a video that can be decoded (damaged, empty, or not a video); check it with: ffprobe '{path}'"
