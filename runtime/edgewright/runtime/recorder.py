"""Writes annotated pictures: one video file, or a folder of frames.

Drawing and encoding happen on a lane's thread. A file's frames are all written (the loop waits when the lane is
full); of a live source frames are dropped, and counted, when the disk is slower than the camera.
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from edgewright.bundle.atomic import atomic_path
from edgewright.bundle.errors import OutputError
from edgewright.runtime.annotate import annotate
from edgewright.runtime.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgewright.runtime.observe import Observation

__all__ = ["VIDEO_SUFFIXES", "FrameFolder", "PictureWriter", "Recorder", "VideoFile", "open_writer"]

VIDEO_SUFFIXES = {".mp4": ("mp4v", "avc1"), ".avi": ("MJPG", "XVID")}
_LANE_FRAMES = 8
_LIVE_CLOSE_S = 10.0
_LEAST_FREE_BYTES = 16 * 1024 * 1024
_CHECK_EVERY = 50
_MOST_REPEATS = 50
_JPEG_QUALITY = 90
_PACE_RANGE = (1.0, 30.0)


class PictureWriter(Protocol):
    """Takes pictures one by one."""

    def write(self, image: NDArray[np.uint8], index: int, media_time: float) -> None:
        """Takes one picture (H, W, 3) uint8 BGR, the index of its frame and its scene time in seconds.

        Raises:
            OutputError: It cannot be written.
        """
        ...

    def finish(self) -> None:
        """Makes the result whole and visible.

        Raises:
            OutputError: It cannot be written.
        """
        ...

    def discard(self) -> None:
        """Leaves nothing half-written behind."""
        ...


class _DiscardedError(Exception):
    """Tells ``atomic_path`` to drop the file."""


class VideoFile:
    """One video file that appears when it is finished, and not before."""

    def __init__(self, target: Path, fps: float, *, paced: bool) -> None:
        """Prepares to write; the file is begun with the first picture.

        Args:
            target: ``.mp4`` or ``.avi``.
            fps: Pictures per second.
            paced: Repeat or leave out pictures so that the video keeps the scene's time (for live sources).

        Raises:
            OutputError: The folder cannot be written.
        """
        self._target = target
        self._fps = fps
        self._paced = paced
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._first_time = 0.0
        self._written = 0
        self._context = atomic_path(target)
        self._path = self._context.__enter__()
        self._open = True

    def write(self, image: NDArray[np.uint8], index: int, media_time: float) -> None:
        """Adds a picture; one of another size than the first is scaled to it."""
        del index
        if self._writer is None:
            self._begin(image, media_time)
        if (image.shape[1], image.shape[0]) != self._size:
            image = np.asarray(cv2.resize(image, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        for _ in range(self._repeats(media_time)):
            if self._written % _CHECK_EVERY == 0:
                _check_room(self._target)
            if self._writer is not None:
                self._writer.write(image)
            self._written += 1

    def finish(self) -> None:
        """Closes the video, checks that all of it is there, and puts it in place."""
        if not self._open:
            return
        if self._writer is None:  # nothing was seen: no file rather than an empty one
            self.discard()
            return
        self._writer.release()
        problem = self._problem()
        if problem is not None:
            self.discard()
            raise OutputError(problem)
        self._open = False
        self._context.__exit__(None, None, None)

    def discard(self) -> None:
        """Drops what was written."""
        if not self._open:
            return
        self._open = False
        if self._writer is not None:
            self._writer.release()
        with contextlib.suppress(_DiscardedError):
            self._context.__exit__(_DiscardedError, _DiscardedError(), None)

    def _begin(self, image: NDArray[np.uint8], media_time: float) -> None:
        self._size = (image.shape[1], image.shape[0])
        self._first_time = media_time
        for code in VIDEO_SUFFIXES[self._target.suffix.lower()]:
            fourcc = cv2.VideoWriter.fourcc(*code)
            writer = cv2.VideoWriter(str(self._path), cv2.CAP_FFMPEG, fourcc, self._fps, self._size)
            if writer.isOpened():
                self._writer = writer
                return
            writer.release()
        message = f"cannot write video {self._target}: this OpenCV build has no encoder for it; give a folder instead"
        raise OutputError(message)

    def _repeats(self, media_time: float) -> int:
        if not self._paced:
            return 1
        repeats = int((media_time - self._first_time) * self._fps) + 1 - self._written
        if repeats > _MOST_REPEATS:  # a long gap is cut, or the disk would fill with one picture
            self._first_time += (repeats - _MOST_REPEATS) / self._fps
            repeats = _MOST_REPEATS
        return max(0, repeats)

    def _problem(self) -> str | None:
        # The encoder reports no write errors, so look at the file itself.
        check = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        count = int(check.get(cv2.CAP_PROP_FRAME_COUNT)) if check.isOpened() else 0
        check.release()
        if count >= self._written:
            return None
        return f"cannot write {self._target}: only {count} of {self._written} frames arrived in the file; is the disk full?"


class FrameFolder:
    """A folder of JPEG pictures named by frame index, each whole as soon as it is there."""

    def __init__(self, target: Path) -> None:
        """Makes the folder.

        Raises:
            OutputError: It cannot be made, or holds something already.
        """
        self._target = target
        self._written = 0
        try:
            target.mkdir(parents=True, exist_ok=True)
            occupied = any(target.iterdir())
        except OSError as error:
            raise _cannot_write(target, error) from error
        if occupied:
            message = f"{target}: the folder is not empty; annotated frames go to a new or empty folder, or to NAME.mp4"
            raise OutputError(message)

    def write(self, image: NDArray[np.uint8], index: int, media_time: float) -> None:
        """Adds ``frame_000123.jpg``."""
        del media_time
        if self._written % _CHECK_EVERY == 0:
            _check_room(self._target)
        ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        if not ok:
            message = f"{self._target}: frame {index} cannot be encoded as JPEG"
            raise OutputError(message)
        final = self._target / f"frame_{index:06d}.jpg"
        beside = self._target / f".{final.name}"
        try:
            beside.write_bytes(data.tobytes())
            beside.replace(final)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise _cannot_write(final, error) from error
        self._written += 1

    def finish(self) -> None:
        """Nothing is left to do: every picture is whole already."""

    def discard(self) -> None:
        """Keeps the pictures: each one is whole. Removes the folder if there are none."""
        with contextlib.suppress(OSError):
            self._target.rmdir()


def open_writer(target: Path, fps: float | None, *, live: bool) -> PictureWriter:
    """A video file for ``.mp4`` and ``.avi``, else a folder.

    Args:
        target: Where to write.
        fps: Frames per second of the source, None when not known.
        live: Whether time goes on between frames.

    Raises:
        OutputError: It cannot be written there.
    """
    if target.suffix.lower() not in VIDEO_SUFFIXES:
        if target.suffix and not target.is_dir():
            message = f"cannot write {target}: a video ends in .mp4 or .avi, and a folder of pictures has no ending"
            raise OutputError(message)
        return FrameFolder(target)
    if target.is_dir():
        message = f"cannot write {target}: it is a folder; give another name"
        raise OutputError(message)
    rate = fps or 10.0
    return VideoFile(target, min(max(rate, _PACE_RANGE[0]), _PACE_RANGE[1]) if live else rate, paced=live)


class Recorder:
    """A ``ResultSink`` that draws every observation and hands it to a writer."""

    def __init__(self, writer: PictureWriter, labels: Sequence[str], *, wait: bool) -> None:
        """Starts the lane.

        Args:
            writer: Finished or discarded by ``close``.
            labels: Names by class id.
            wait: Lose nothing and let the loop wait (files), or drop when behind (live).
        """
        self._writer = writer
        self._labels = tuple(labels)
        self._wait = wait
        self._lane: Lane[Observation] = Lane("annotate", self._draw, capacity=_LANE_FRAMES, wait=wait)

    @property
    def dropped(self) -> int:
        """Pictures not written because the lane was full or had failed."""
        return self._lane.dropped

    @property
    def error(self) -> Exception | None:
        """Why writing ended early, None while it is well."""
        return self._lane.error

    def observe(self, observation: Observation) -> None:
        """Queues one picture."""
        if observation.frame is not None:
            self._lane.put(observation)

    def close(self, *, keep: bool = True) -> None:
        """Writes what is queued and finishes the output, or drops it.

        Args:
            keep: False after an error that makes the output worthless.

        Raises:
            OutputError: It could not be written and the source was a file (for a live one see ``error``).
        """
        done = self._lane.close(None if self._wait else _LIVE_CLOSE_S)
        if self._lane.error is not None:
            self._writer.discard()
            if keep and self._wait:
                raise self._lane.error
        elif not (keep and done):
            self._writer.discard()
        else:
            self._writer.finish()

    def _draw(self, observation: Observation) -> None:
        picture = annotate(observation, self._labels)
        if picture is not None:
            self._writer.write(picture, observation.result.frame_index, observation.result.media_time)


def _check_room(target: Path) -> None:
    try:
        free = shutil.disk_usage(target if target.is_dir() else target.parent).free
    except OSError as error:
        raise _cannot_write(target, error) from error
    if free < _LEAST_FREE_BYTES:
        message = f"cannot go on writing {target}: the disk has only {free // 2**20} MB left; make room"
        raise OutputError(message)


def _cannot_write(target: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {target}: {error.strerror or error}; choose another place or make room")
