"""Samples from an image folder, one image, a video or an ``.npz`` archive; streamed, never all in memory.

A source is written ``PATH`` or ``PATH#start:stop:step``: the slice picks frames of a video, or files of a folder in
the order of their names, the way a Python slice does (no negative numbers). ``street.avi#1::8`` is every eighth frame
beginning with the second.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from statistics import mode
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgewright.optimize.data.arrays_source import NPZ_SUFFIX, ArraysSource
from edgewright.optimize.data.source import Sample, SampleSource, Slice
from edgewright.optimize.data.video import VideoSource
from edgewright.optimize.errors import DataError
from edgewright.runtime.sources.folder import MAX_PIXELS
from edgewright.runtime.sources.pictures import picture_size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = [
    "Sample",
    "SampleSource",
    "fetch",
    "open_samples",
    "picture_files",
]

_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# A film's pictures in a folder do not tell their rate; this many a second is a cautious guess.
_GUESSED_RATE = 4.0
_SHOWN = 80
_LAST_NUMBER = re.compile(r"(.*?)(\d+)(\D*)")
_SLICE = re.compile(r"(\d*)(?::(\d*))?(?::(\d*))?")


class _Folder(SampleSource):
    def __init__(self, expression: str, path: Path, chosen: Slice) -> None:
        super().__init__(expression, path, chosen)
        self._root = path if path.is_dir() else path.parent
        self._files = picture_files(path) if path.is_dir() else [path]
        if not self._files:
            kinds = ", ".join(sorted(_SUFFIXES))
            msg = f"{path} holds no pictures; put some there ({kinds}) or name a video"
            raise DataError(msg)
        self.names = tuple(file.relative_to(self._root).as_posix() for file in self._files)
        if _run_on(self._files):
            self.spacing_s = 1.0 / _GUESSED_RATE

    def common(self, other: SampleSource) -> str | None:
        if not isinstance(other, _Folder):
            return None
        theirs = other.identities()
        return next((name for identity, name in self.identities().items() if identity in theirs), None)

    def identities(self) -> dict[tuple[int, int], str]:
        """Device and inode of each file that the slice takes, so that links to one file are one picture."""
        taken = [index for index in range(len(self._files)) if self.slice.takes(index)]
        found = [self._files[index].stat() for index in taken]
        return {(row.st_dev, row.st_ino): self.names[index] for row, index in zip(found, taken, strict=True)}

    def _length(self) -> int | None:
        return len(self._files)

    def _walk(self) -> Iterator[Sample]:
        for index, file in enumerate(self._files):
            if self._takes(index):
                yield Sample(index, self.names[index], _read_picture(file))


def fetch(source: SampleSource, indices: Collection[int]) -> dict[int, Sample]:
    """Reads chosen samples again.

    Args:
        source: Where they are.
        indices: ``Sample.index`` of each.

    Returns:
        The samples by index.
    """
    wanted, found = set(indices), {}
    for sample in source:
        if sample.index in wanted:
            found[sample.index] = sample
            if len(found) == len(wanted):
                break
    return found


def open_samples(expression: str, every: int | None = None) -> SampleSource:
    """Finds the pictures that ``expression`` names.

    Args:
        expression: A folder, an image, a video or an ``.npz`` archive, optionally with ``#start:stop:step``.
        every: Take every so manieth sample; another way to write the slice's step.

    Returns:
        A source; folders are listed at once, videos opened and closed again.

    Raises:
        DataError: Nothing is there, or a folder holds no pictures, or the slice makes no sense.
    """
    try:
        path, chosen = _split(expression)
        there = path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        # A name too long, a zero byte, or a ~user that nobody is.
        msg = f"{_shortened(expression)} cannot be a folder or a video: {getattr(error, 'strerror', None) or error}"
        raise DataError(msg) from error
    if every is not None:
        if every < 1:
            msg = f"every {every}th sample makes no sense; give a number from 1"
            raise DataError(msg)
        if chosen != Slice():
            msg = f"{expression} already has a slice; give the step there or separately, not both"
            raise DataError(msg)
        chosen = Slice(step=every)
    if not there:
        msg = f"{path} does not exist; name a folder of pictures or a video"
        raise DataError(msg)
    if path.is_dir() or path.suffix.lower() in _SUFFIXES:
        return _Folder(expression, path, chosen)
    if path.suffix.lower() == NPZ_SUFFIX:
        return ArraysSource(expression, path, chosen)
    return VideoSource(expression, path, chosen)


def picture_files(folder: Path) -> list[Path]:
    """The pictures below ``folder``, by name.

    Args:
        folder: A directory; its sub-directories are searched too.

    Returns:
        Paths in the order of their names.
    """
    return [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in _SUFFIXES and file.is_file()]


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _run_on(files: Sequence[Path]) -> bool:
    """Whether the names look like a film's: the same but for a last number that grows by the same step."""
    parts = [_LAST_NUMBER.fullmatch(str(file)) for file in files]
    steps = [
        int(after[2]) - int(before[2])
        for before, after in pairwise(parts)
        if before and after and (before[1], before[3]) == (after[1], after[3])
    ]
    return bool(steps) and steps.count(mode(steps)) * 2 >= len(files) - 1


def _split(expression: str) -> tuple[Path, Slice]:
    whole = Path(expression).expanduser()
    name, mark, written = expression.rpartition("#")
    if not mark or whole.exists():
        return whole, Slice()
    match = _SLICE.fullmatch(written)
    if match is None or not written:
        msg = f"{expression}: {written!r} is not a slice; write #start:stop:step, for example #1::8"
        raise DataError(msg)
    start, stop, step = (int(part) if part else None for part in match.groups())
    if ":" not in written and start is not None:
        stop = start + 1
    if step == 0:
        msg = f"{expression}: a step of 0 never ends; give a number from 1"
        raise DataError(msg)
    return Path(name).expanduser(), Slice(start or 0, stop, step or 1)


def _read_picture(file: Path) -> NDArray[np.uint8]:
    try:
        data = np.fromfile(file, np.uint8)
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror or error}; remove it or mend its permissions"
        raise DataError(msg) from error
    size = picture_size(data.tobytes())
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        msg = f"{file} is {size[0]}x{size[1]} pixels; at most {MAX_PIXELS:,} are read: make it smaller or remove it"
        raise DataError(msg)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:  # OpenCV raises on sizes it refuses, and returns nothing for all else
        image = None
    if image is None:
        msg = f"{file} is not a picture that decodes; remove or replace it"
        raise DataError(msg)
    return np.asarray(image, np.uint8)
