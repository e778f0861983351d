"""A stream of pictures that can be walked again: what folders, videos and parts of them have in common."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from edgewright.optimize.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Sample", "SampleSource", "Slice"]


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
class Slice:
    """Which samples of a source are taken, as a Python slice without negative numbers."""

    start: int = 0
    stop: int | None = None
    step: int = 1

    def takes(self, index: int) -> bool:
        """Whether the sample is one of them."""
        return index >= self.start and (index - self.start) % self.step == 0 and not self.past(index)

    def past(self, index: int) -> bool:
        """Whether none can follow."""
        return self.stop is not None and index >= self.stop

    def meets(self, other: Slice, length: int | None = None) -> int | None:
        """The first index that both take among ``length`` samples, None when they never meet."""
        first = max(self.start, other.start)
        begin = first + (self.start - first) % self.step
        # Whatever the two steps, their pattern repeats after this many of ours.
        for index in range(begin, begin + self.step * other.step, self.step):
            if self.past(index) or other.past(index) or (length is not None and index >= length):
                return None
            if other.takes(index):
                return index
        return None


class SampleSource(ABC):
    """A stream of pictures that can be walked any number of times, always in the same order.

    Attributes:
        expression: As the user wrote it.
        consecutive: Whether ``Sample.index`` counts the frames of a video.
        spacing_s: Seconds from one ``Sample.index`` to the next, for neighbours are alike and intervals must respect
            that; None for unrelated pictures.
        names: Of a folder's pictures, ``Sample.name`` of each, sliced or not.
        notes: What was odd, filled by walking.
        seed: Of the random draw that left these pictures, None where all were taken.
        slice: Which samples the user chose.
        wanted: Of a part, which of those it holds; None for all.
    """

    consecutive: bool = False
    spacing_s: float | None = None
    seed: int | None = None

    def __init__(self, expression: str, path: Path, chosen: Slice) -> None:
        """Remembers what to read; nothing is opened yet."""
        self.expression = expression
        self.path = path
        self.names: tuple[str, ...] = ()
        self.notes: list[str] = []
        self.slice = chosen
        self.wanted: Callable[[int], bool] | None = None

    @property
    def title(self) -> str:
        """The expression without the folders before it, for records that travel to other machines."""
        return PurePath(self.expression).name or self.expression

    def estimate(self) -> int | None:
        """How many samples there are, as far as can be said without reading them."""
        length = self._length()
        return None if length is None else sum(self._takes(index) for index in range(length))

    def indices(self) -> list[int] | None:
        """``Sample.index`` of each sample, as far as can be said without reading them."""
        length = self._length()
        return None if length is None else [index for index in range(length) if self._takes(index)]

    def part(self, wanted: Callable[[int], bool], words: str, *, seed: int | None = None) -> SampleSource:
        """The same stream without some of its samples, which are not even decoded.

        Args:
            wanted: Given a ``Sample.index``, whether it stays.
            words: Says which part that is.
            seed: Of the random draw, where it is one.

        Returns:
            A source of its own.
        """
        before = self.wanted
        part = copy.copy(self)
        part.expression = f"{self.expression} ({words})"
        part.seed = self.seed if seed is None else seed
        part.wanted = wanted if before is None else lambda index: before(index) and wanted(index)
        return part

    @abstractmethod
    def common(self, other: SampleSource) -> str | None:
        """Name of a sample that both would give: the same file, or the same frame of the same film; None without any.

        Only names are compared, nothing is read; parts count as the whole they are of.
        """

    def _takes(self, index: int) -> bool:
        return self.slice.takes(index) and (self.wanted is None or self.wanted(index))

    @abstractmethod
    def _length(self) -> int | None:
        """How many samples there were without slice and parts, None when only walking can tell."""

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
