"""Names for the shapes that many steps hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

__all__ = ["FeedSource", "Feeds", "OnStep", "Ranges"]

Feeds = Mapping[str, NDArray[Any]]
"""One picture as the graph takes it: input name to tensor."""

FeedSource = Callable[[], Iterator[Feeds]]
"""Walks the pictures anew, in the same order, each time it is called; none is kept."""

OnStep = Callable[[int, int | None], None]
"""Told how many steps are done, and of how many (None where nobody knows)."""

Ranges = Mapping[str, tuple[float, float]]
"""Low and high of float tensors, by name."""
