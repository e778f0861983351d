"""Pictures of an ``.npz`` file as samples, read one by one.

The array is called ``images``, or is the only one; it is uint8, (n, H, W, 3) in BGR order or (n, H, W) grey. Nothing is
unpickled, and memory is taken for one picture at a time, after its size was checked: the file may be larger than memory.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from edgewright.optimize.data.source import Sample, SampleSource, Slice
from edgewright.optimize.errors import DataError
from edgewright.runtime.sources.folder import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["NPZ_SUFFIX", "ArraysSource"]

NPZ_SUFFIX = ".npz"
_NAME = "images"
_MOST_PICTURES = 10**6
_SUFFIX = ".npy"
_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# What damaged or hostile archives and headers were seen to raise.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    SyntaxError,
    TypeError,
    OverflowError,
    MemoryError,
)


@dataclass(frozen=True)
class _Layout:
    member: str
    begin: int
    count: int
    shape: tuple[int, ...]

    @property
    def step(self) -> int:
        """Bytes of one picture."""
        return math.prod(self.shape)


class ArraysSource(SampleSource):
    """Pictures stacked in one array."""

    def __init__(self, expression: str, path: Path, chosen: Slice) -> None:
        """Reads the array's header.

        Raises:
            DataError: Not an ``.npz`` file, or without an array of pictures.
        """
        super().__init__(expression, path, chosen)
        with _told(path), zipfile.ZipFile(path) as archive:
            self._layout = _read_layout(path, archive)

    def common(self, other: SampleSource) -> str | None:
        """See ``SampleSource``; pictures are known by their number."""
        if not isinstance(other, ArraysSource) or not self.path.samefile(other.path):
            return None
        index = self.slice.meets(other.slice, self._length())
        return None if index is None else self._name(index)

    def _length(self) -> int | None:
        return self._layout.count

    def _name(self, index: int) -> str:
        return f"{self.path.name} picture {index}"

    def _walk(self) -> Iterator[Sample]:
        layout = self._layout
        with _told(self.path), zipfile.ZipFile(self.path) as archive:
            if _read_layout(self.path, archive) != layout:
                msg = f"{self.path} changed while it was being read; start again"
                raise DataError(msg)
            with archive.open(layout.member) as stream:
                for index in range(layout.count):
                    if self.slice.past(index):
                        return
                    if self._takes(index):
                        stream.seek(layout.begin + index * layout.step)
                        yield Sample(index, self._name(index), _picture(stream, layout))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Says in words what is wrong with the file."""
    try:
        yield
    except _BROKEN as error:
        what = getattr(error, "strerror", None) or error or type(error).__name__
        msg = f"{path} is not a readable .npz file: {what}; write it again with numpy.savez"
        raise DataError(msg) from error


def _read_layout(path: Path, archive: zipfile.ZipFile) -> _Layout:
    """Where the pictures lie, checked against the bytes that are there."""
    member = _choose(path, archive)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        msg = f"{path}: {member.filename} is packed in a way that is not read; write it with numpy.savez"
        raise DataError(msg)
    with archive.open(member) as stream:
        # The header's reader evaluates no code, and takes at most 10,000 characters.
        shape, fortran, dtype = _READ_HEADER[np.lib.format.read_magic(stream)](stream)
        begin = stream.tell()
    axes = len(shape)
    if dtype != np.uint8 or fortran or axes not in {3, 4} or (axes == 4 and shape[3] not in {1, 3}) or min(shape) < 1:
        order = ", column by column" if fortran else ""
        msg = (
            f"{path}: {member.filename} is {dtype} {'x'.join(map(str, shape))}{order}; pictures are uint8, "
            "(n, height, width, 3) in BGR order or (n, height, width), in C order: convert them with NumPy"
        )
        raise DataError(msg)
    if shape[1] * shape[2] > MAX_PIXELS:
        msg = f"{path}: pictures of {shape[2]}x{shape[1]} pixels; at most {MAX_PIXELS:,} are read: make them smaller"
        raise DataError(msg)
    if shape[0] > _MOST_PICTURES:
        msg = f"{path}: {shape[0]:,} pictures; at most {_MOST_PICTURES:,} are read: split the file"
        raise DataError(msg)
    if begin + math.prod(shape) != member.file_size:
        msg = f"{path}: {member.filename} claims shape {'x'.join(map(str, shape))}, its data does not have that size"
        raise DataError(msg)
    return _Layout(member.filename, begin, shape[0], tuple(shape[1:]))


def _choose(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = archive.infolist()
    named = [member for member in members if member.filename == _NAME + _SUFFIX]
    if len(named) == 1:
        return named[0]
    if len(members) == 1:
        return members[0]
    held = ", ".join(member.filename.removesuffix(_SUFFIX) for member in members[:3]) or "nothing"
    msg = f"{path} holds {held}{', ...' if len(members) > 3 else ''}; call the array of pictures {_NAME!r}"
    raise DataError(msg)


def _picture(stream: IO[bytes], layout: _Layout) -> NDArray[np.uint8]:
    data = stream.read(layout.step)
    if len(data) != layout.step:
        msg = "it ends too early"
        raise EOFError(msg)
    image = np.frombuffer(data, np.uint8).reshape(layout.shape)
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*layout.shape[:2], 1), 3, axis=2)
    return image.copy()
