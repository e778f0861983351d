"""Fitted pictures of a whole training set: in memory up to a bound, beyond it in a temporary file that is mapped."""

from __future__ import annotations

import contextlib
import math
import tempfile
import weakref
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MEMORY_BYTES", "PictureStore", "StorePart"]

MEMORY_BYTES = 1 << 30
"""Pictures take at most this much memory before they move to a file."""

_FIRST_ROWS = 256


class PictureStore:
    """Rows of uint8 pictures of one shape; add all, then read any."""

    def __init__(self, shape: tuple[int, int, int], expected: int | None, memory_bytes: int = MEMORY_BYTES) -> None:
        """Starts empty.

        Args:
            shape: Of one picture.
            expected: How many will come, as far as is known; more or fewer may.
            memory_bytes: See ``MEMORY_BYTES``.
        """
        self._shape = shape
        self._bytes = math.prod(shape)
        self._bound = memory_bytes
        self._count = 0
        self._file: IO[bytes] | None = None
        self._rows: NDArray[np.uint8] = np.empty((0, *shape), np.uint8)
        if (expected or 0) * self._bytes > memory_bytes:
            self._spill()
        else:
            # The system gives memory only to pages that are written.
            self._rows = np.empty((expected or self._most(_FIRST_ROWS), *shape), np.uint8)

    def __len__(self) -> int:
        """How many pictures there are."""
        return self._count

    @property
    def mapped(self) -> bool:
        """Whether they lie in a file."""
        return self._file is not None

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Takes in one picture.

        Raises:
            DataError: There is no space for it.
        """
        if self._file is None and self._count == len(self._rows):
            self._grow()
        if self._file is None:
            self._rows[self._count] = picture
        else:
            self._write(self._file, picture)
        self._count += 1

    def seal(self) -> None:
        """Makes all of them readable; none is added afterwards.

        Raises:
            DataError: There is no space for the last of them.
        """
        if self._file is None:
            self._rows = self._rows[: self._count]
            return
        try:
            self._file.flush()
        except OSError as error:
            raise self._full(error) from error
        if self._count:
            self._rows = np.memmap(self._file, np.uint8, "r", shape=(self._count, *self._shape))

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Copies of some pictures, (n, ...)."""
        taken: NDArray[np.uint8] = np.take(self._rows, rows, axis=0)
        return taken

    def _grow(self) -> None:
        # The last growth stops at the bound, so that a set of unknown size may fill it.
        rows = self._most(max(_FIRST_ROWS, 2 * len(self._rows)))
        if rows <= self._count:
            self._spill()
            return
        wider = np.empty((rows, *self._shape), np.uint8)
        wider[: self._count] = self._rows[: self._count]
        self._rows = wider

    def _most(self, rows: int) -> int:
        """So many rows, or as many as the bound allows."""
        return min(rows, self._bound // self._bytes)

    def _spill(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(prefix="edgewright-pictures-")  # noqa: SIM115 - lives as the mapping
        except OSError as error:
            raise self._full(error) from error
        # The file has no name and goes with its last handle; the mapping is one.
        weakref.finalize(self, _close, self._file)
        self._write(self._file, self._rows[: self._count])
        self._rows = np.empty((0, *self._shape), np.uint8)

    def _write(self, stream: IO[bytes], pictures: NDArray[Any]) -> None:
        # Written, not mapped: on a full disk writing fails in words, while touching a mapped page ends the process.
        try:
            stream.write(np.ascontiguousarray(pictures).data)
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> DataError:
        return DataError(
            f"training pictures do not fit into {tempfile.gettempdir()} ({error.strerror or error}) after {self._count}; "
            "make room, point TMPDIR elsewhere, or take fewer pictures by a slice"
        )


def _close(stream: IO[bytes]) -> None:
    # What a full disk did not take before, it does not take now; that was told.
    with contextlib.suppress(OSError):
        stream.close()


class StorePart:
    """Some rows of a store, numbered anew."""

    def __init__(self, store: PictureStore | StorePart, rows: NDArray[np.int64]) -> None:
        """Takes no memory beside the numbers.

        Args:
            store: Sealed.
            rows: Numbers of the pictures there.
        """
        self._store, self._rows = store, np.asarray(rows, np.int64)

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self._rows)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Copies of some pictures, (n, ...)."""
        return self._store.take(self._rows[rows])
