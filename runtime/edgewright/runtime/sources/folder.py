"""A folder of pictures, as frames in the order of their names."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgewright.runtime.errors import SourceError
from edgewright.runtime.sources.base import EndOfSource, SourceOptions, shrink
from edgewright.runtime.sources.pictures import picture_size
from edgewright.runtime.types import Frame, TimeQuality

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MAX_FILE_BYTES", "MAX_PIXELS", "PICTURE_SUFFIXES", "ImageFolderSource"]

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_PIXELS = 50_000_000  # 150 MB once decoded

_LOG = logging.getLogger(__name__)


class ImageFolderSource:
    """Pictures of one folder (not of its sub-folders), sorted by file name.

    ``index`` is the picture's place among the folder's pictures, ``media_time`` index / fps. Files that are no
    pictures by their suffix are skipped and counted as ``not_a_picture``; pictures that cannot be decoded are
    counted as ``undecodable``, larger ones than ``MAX_FILE_BYTES`` or ``MAX_PIXELS`` as ``too_large``.
    """

    def __init__(self, path: Path, options: SourceOptions | None = None) -> None:
        """Lists the folder.

        Args:
            path: The folder.
            options: Name, stride, size limit and frame rate.

        Raises:
            SourceError: The folder cannot be read or holds no picture.
        """
        options = options or SourceOptions()
        self._path = path
        self._name = options.name or path.resolve().name
        self._options = options
        try:
            files = sorted(entry for entry in path.iterdir() if entry.is_file())
        except OSError as error:
            message = f"{path}: the folder cannot be read ({error.strerror or error}); check the path and permissions"
            raise SourceError(message) from error
        self._files = [entry for entry in files if entry.suffix.lower() in PICTURE_SUFFIXES]
        if not self._files:
            kinds = " ".join(sorted(PICTURE_SUFFIXES))
            message = f"{path}: no picture among {len(files)} files; give a folder with {kinds} files directly in it"
            raise SourceError(message)
        self._drops: Counter[str] = Counter()
        if len(files) > len(self._files):
            self._drops["not_a_picture"] = len(files) - len(self._files)
        self._position = 0
        self._given = 0

    @property
    def name(self) -> str:
        """What frames call the camera."""
        return self._name

    @property
    def live(self) -> bool:
        """A folder waits for us."""
        return False

    @property
    def total(self) -> int | None:
        """Pictures that will be given if all decode."""
        return -(-len(self._files) // self._options.every_nth)

    @property
    def fps(self) -> float | None:
        """Frames given per second of the scene."""
        return self._options.folder_fps / self._options.every_nth

    @property
    def seen(self) -> int:
        """Files looked at so far, those that are no pictures included."""
        return self._position + self._drops["not_a_picture"]

    @property
    def drops(self) -> Mapping[str, int]:
        """Files not given, by cause."""
        return dict(self._drops)

    def take(self, timeout_s: float = 0.0) -> Frame | EndOfSource:
        """The next picture, or ``EndOfSource`` after the last.

        Args:
            timeout_s: Not used.

        Raises:
            SourceError: Not one picture of the folder could be decoded.
        """
        del timeout_s
        while self._position < len(self._files):
            index = self._position
            self._position += 1
            if index % self._options.every_nth:
                self._drops["every_nth"] += 1
                continue
            image = self._load(self._files[index])
            if image is None:
                continue
            self._given += 1
            return Frame(
                image=shrink(image, self._options.max_side),
                camera=self._name,
                index=index,
                captured_at=time.monotonic(),
                media_time=index / self._options.folder_fps,
                time_quality=TimeQuality.FILE,
            )
        if not self._given:
            message = f"{self._path}: none of {len(self._files)} pictures could be read; they are damaged or too large"
            raise SourceError(message)
        return EndOfSource()

    def close(self) -> None:
        """Ends the sequence; safe to call twice."""
        self._given = max(self._given, 1)
        self._position = len(self._files)

    def _load(self, path: Path) -> NDArray[np.uint8] | None:
        cause = "undecodable"
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                cause = "too_large"
                data = b""
            else:
                data = path.read_bytes()
        except OSError:
            data = b""
        size = picture_size(data)
        if size is not None and size[0] * size[1] > MAX_PIXELS:
            cause, size = "too_large", None
        image = _decode(data) if size is not None else None
        if image is None:
            self._drops[cause] += 1
            _LOG.warning("%s: picture skipped (%s)", path, cause.replace("_", " "))
        return image


def _decode(data: bytes) -> NDArray[np.uint8] | None:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, dtype=np.uint8)
