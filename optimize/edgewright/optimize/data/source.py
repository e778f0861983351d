"""A stream of pictures that can be walked again: what folders, videos and parts of them have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from edgewright.optimize.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
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


class SampleSource(ABC):
    """A stream of pictures that can be walked any number of times, always in the same order.

    Attributes:
        expression: As the user wrote it.
        consecutive: Whether ``Sample.index`` counts the frames of a video.
        spacing_s: Seconds from one ``Sample.index`` to the next, for neighbours are alike and intervals must respect
            that; None for unrelated pictures.
        names: Of a folder's pictures, ``Sample.name`` of each, sliced or not.
        notes: What was odd, filled by walking.
    """

    consecutive: bool = False
    spacing_s: float | None = None

    def __init__(self, expression: str, path: Path, chosen: Slice) -> None:
        """Remembers what to read; nothing is opened yet."""
        self.expression = expression
        self.path = path
        self.names: tuple[str, ...] = ()
        self.notes: list[str] = []
        self._chosen = chosen

    @property
    def title(self) -> str:
        """The expression without the folders before it, for records that travel to other machines."""
        return PurePath(self.expression).name or self.expression

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
