"""A source of samples that tells of every picture that passes, so that one walk serves labels and pictures alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.data.source import Sample, SampleSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Watched"]


class Watched(SampleSource):
    """One walk over another source; whoever stops early can be followed by ``rest``."""

    def __init__(self, source: SampleSource, tell: Callable[[Sample], None]) -> None:
        """Walks ``source`` and calls ``tell`` with each sample before it is given out."""
        super().__init__(source.expression, source.path, source.slice)
        self.names, self.wanted = source.names, source.wanted
        self.consecutive, self.spacing_s = source.consecutive, source.spacing_s
        self._source, self._tell = source, tell
        self._stream = self._walk()

    def common(self, other: SampleSource) -> str | None:
        """See ``SampleSource``."""
        return self._source.common(other)

    def rest(self) -> None:
        """Walks what is left."""
        for _ in self._stream:
            pass

    def _length(self) -> int | None:
        return self._source.estimate()

    def _walk(self) -> Iterator[Sample]:
        for sample in self._source:
            self._tell(sample)
            yield sample

    def __iter__(self) -> Iterator[Sample]:
        """The walk, where it stands; there is only one."""
        return self._stream
