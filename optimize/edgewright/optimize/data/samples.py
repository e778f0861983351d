"""Samples from an image folder, one image, or a video; streamed, never all in memory.

A source is written ``PATH`` or ``PATH#start:stop:step``: the slice picks frames of a video, or files of a folder in
the order of their names, the way a Python slice does (no negative numbers). ``street.avi#1::8`` is every eighth frame
beginning with the second.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgewright.optimize.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

__all__ = [
    "Sample",
    "SampleSource",
    "fetch",
    "hold_out",
    "open_samples",
    "picture_files",
]

_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_SLICE = re.compile(r"(\d*)(?::(\d*))?(?::(\d*))?")


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture.

    Attributes:
        index: Frame number in the video, or position in the sorted folder, before slicing.
        name: For people and for labels: the path inside the folder, or ``clip.avi frame 7``.
        image: (H, W, 3) uint8, BGR.
    """

    index: int
    name: str
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class _Slice:
    start: int = 0
    stop: int | None = None
    step: int = 1

    def takes(self, index: int) -> bool:
        return index >= self.start and (index - self.start) % self.step == 0 and not self.past(index)

    def past(self, index: int) -> bool:
        return self.stop is not None and index >= self.stop


class SampleSource(ABC):
    """A stream of pictures that can be walked any number of times, always in the same order.

    Attributes:
        expression: As the user wrote it.
        consecutive: Whether neighbours are likely alike (video frames), which intervals must respect.
    """

    consecutive: bool = False

    def __init__(self, expression: str, path: Path, chosen: _Slice) -> None:
        """Remembers what to read; nothing is opened yet."""
        self.expression = expression
        self.path = path
        self._chosen = chosen

    @property
    def title(self) -> str:
        """The expression without the folders before it, for records that travel to other machines."""
        return self.expression.replace(str(self.path), self.path.name, 1)

    @abstractmethod
    def estimate(self) -> int | None:
        """How many samples there are, as far as can be said without reading them."""

    @abstractmethod
    def _walk(self) -> Iterator[Sample]: ...

    def __iter__(self) -> Iterator[Sample]:
        """Reads the pictures one by one.

        Raises:
            DataError: Nothing there can be read, or one picture cannot.
        """
        empty = True
        for sample in self._walk():
            empty = False
            yield sample
        if empty:
            msg = f"{self.expression} holds no pictures after slicing; widen the slice or name another source"
            raise DataError(msg)


class _Folder(SampleSource):
    def __init__(self, expression: str, path: Path, chosen: _Slice) -> None:
        super().__init__(expression, path, chosen)
        self._root = path if path.is_dir() else path.parent
        self._files = picture_files(path) if path.is_dir() else [path]
        if not self._files:
            kinds = ", ".join(sorted(_SUFFIXES))
            msg = f"{path} holds no pictures; put some there ({kinds}) or name a video"
            raise DataError(msg)

    def estimate(self) -> int | None:
        return sum(self._chosen.takes(index) for index in range(len(self._files)))

    def _walk(self) -> Iterator[Sample]:
        for index, file in enumerate(self._files):
            if self._chosen.takes(index):
                yield Sample(index, file.relative_to(self._root).as_posix(), _read_picture(file))


class _Video(SampleSource):
    consecutive = True

    def estimate(self) -> int | None:
        capture = self._open()
        try:
            frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        finally:
            capture.release()
        return sum(self._chosen.takes(index) for index in range(frames)) if 0 < frames < 10**7 else None

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
        while not self._chosen.past(index + 1) and capture.grab():
            index += 1
            if not self._chosen.takes(index):
                continue
            good, image = capture.retrieve()
            if not good or image is None:
                msg = f"{self.path}: frame {index} does not decode; cut the clip before it or leave it out by a slice"
                raise DataError(msg)
            yield Sample(index, f"{self.path.name} frame {index}", np.asarray(image, np.uint8))
        if index < 0:
            msg = f"{self.path} opens as a video but no frame of it decodes; convert it, for example to H.264 in MP4"
            raise DataError(msg)


class _Part(SampleSource):
    """Every so manieth sample of a source, or all the others."""

    def __init__(self, whole: SampleSource, every: int, *, inside: bool) -> None:
        part = f"every {every}rd" if inside else f"all but every {every}rd"
        super().__init__(f"{whole.expression} ({part} picture)", whole.path, _Slice())
        self.consecutive = whole.consecutive
        self._whole, self._every, self._inside = whole, every, inside

    def estimate(self) -> int | None:
        total = self._whole.estimate()
        if total is None:
            return None
        return total // self._every if self._inside else total - total // self._every

    def _walk(self) -> Iterator[Sample]:
        for position, sample in enumerate(self._whole):
            if (position % self._every == self._every - 1) is self._inside:
                yield sample


def hold_out(source: SampleSource, every: int = 3) -> tuple[SampleSource, SampleSource]:
    """Splits a source in two parts without a common picture.

    Args:
        source: To be split.
        every: The second part gets every so manieth sample.

    Returns:
        The larger part and the smaller one.
    """
    return _Part(source, every, inside=False), _Part(source, every, inside=True)


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
        expression: A folder, an image or a video, optionally with ``#start:stop:step``.
        every: Take every so manieth sample; another way to write the slice's step.

    Returns:
        A source; folders are listed at once, videos opened when walked.

    Raises:
        DataError: Nothing is there, or a folder holds no pictures, or the slice makes no sense.
    """
    path, chosen = _split(expression)
    if every is not None:
        if every < 1:
            msg = f"every {every}th sample makes no sense; give a number from 1"
            raise DataError(msg)
        if chosen != _Slice():
            msg = f"{expression} already has a slice; give the step there or separately, not both"
            raise DataError(msg)
        chosen = _Slice(step=every)
    if not path.exists():
        msg = f"{path} does not exist; name a folder of pictures or a video"
        raise DataError(msg)
    if path.is_dir() or path.suffix.lower() in _SUFFIXES:
        return _Folder(expression, path, chosen)
    return _Video(expression, path, chosen)


def picture_files(folder: Path) -> list[Path]:
    """The pictures below ``folder``, by name.

    Args:
        folder: A directory; its sub-directories are searched too.

    Returns:
        Paths in the order of their names.
    """
    return [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in _SUFFIXES and file.is_file()]


def _split(expression: str) -> tuple[Path, _Slice]:
    whole = Path(expression).expanduser()
    name, mark, written = expression.rpartition("#")
    if not mark or whole.exists():
        return whole, _Slice()
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
    return Path(name).expanduser(), _Slice(start or 0, stop, step or 1)


def _read_picture(file: Path) -> NDArray[np.uint8]:
    try:
        data = np.fromfile(file, np.uint8)
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror or error}; remove it or mend its permissions"
        raise DataError(msg) from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        msg = f"{file} is not a picture that decodes; remove or replace it"
        raise DataError(msg)
    return np.asarray(image, np.uint8)
