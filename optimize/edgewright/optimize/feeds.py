"""Pictures as a graph takes them, to be walked as often as a step needs.

Tensors are kept in memory only up to ``KEPT_BYTES``, and of many small pictures up to ``KEPT_OF_MANY``; beyond that the
pictures are read again for every walk, so that memory does not grow with their number.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from edgewright.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgewright.bundle.manifest import Preprocess, TensorSpec
    from edgewright.optimize.data.samples import Sample
    from edgewright.optimize.types import Feeds, FeedSource, OnStep

__all__ = ["KEPT_BYTES", "KEPT_OF_MANY", "PictureFeeds", "counted", "evenly"]

KEPT_BYTES = 64 * 2**20
"""About what fifty pictures of 300 x 300 take, so that two thousand take no more."""
KEPT_OF_MANY = 8 * 2**20
"""Of more than ``_FEW`` pictures: two thousand small ones must not take much more than fifty either."""
_FEW = 64


class PictureFeeds:
    """A ``FeedSource`` over pictures."""

    def __init__(
        self,
        pictures: Callable[[], Iterator[Sample]],
        preprocess: Preprocess,
        tensor: TensorSpec,
        keep_bytes: int = KEPT_BYTES,
        keep_of_many: int = KEPT_OF_MANY,
    ) -> None:
        """Reads nothing yet.

        Args:
            pictures: Walks the pictures anew each time it is called.
            preprocess: How a picture becomes an input.
            tensor: The input.
            keep_bytes: Tensors are kept up to this size together.
            keep_of_many: The same where they are more than a few.
        """
        self._pictures, self._limits = pictures, (keep_bytes, min(keep_bytes, keep_of_many))
        self._preprocessor, self._name = Preprocessor(preprocess, tensor), tensor.name
        self._kept: list[Feeds] | None = None

    def __call__(self) -> Iterator[Feeds]:
        """Walks the pictures; the first whole walk fills the memory, if they fit."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Feeds] | None = []
        held = 0
        for sample in self._pictures():
            feeds = {self._name: self._preprocessor(sample.image)[0].copy()}
            held += feeds[self._name].nbytes
            if kept is not None:
                kept.append(feeds)
                kept = kept if held <= self._limits[len(kept) > _FEW] else None
            yield feeds
        self._kept = kept


def evenly(feeds: FeedSource, count: int, wanted: int) -> FeedSource:
    """A few of the pictures, evenly spread, for what is too slow to do on all.

    Args:
        feeds: All of them.
        count: How many there are.
        wanted: How many are enough.
    """
    taken = frozenset(k * count // wanted for k in range(wanted)) if count > wanted else frozenset(range(count))
    return lambda: itertools.compress(feeds(), (number in taken for number in range(count)))


def counted(feeds: FeedSource, on_step: OnStep) -> FeedSource:
    """The same pictures, telling how many were given out on all walks together.

    Args:
        feeds: The pictures.
        on_step: Told before each one.
    """
    given = itertools.count()

    def walk() -> Iterator[Feeds]:
        for picture in feeds():
            on_step(next(given), None)
            yield picture

    return walk
