"""One pass over the samples that feeds every observer.

Each picture runs through the float graph once. Whole tensors come out only where an observer wants them; extremes are
taken inside the engine. Should all wanted tensors at once be more than ``memory_limit``, the graph runs in pieces, and
each piece's values are handed on and forgotten before the next one runs: the statistics are the same either way.

Example:
    >>> report = walk(model, feeds, [means, extremes], on_step=progress)      # doctest: +SKIP
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.calibration.check import FeedCheck
from edgewright.optimize.calibration.observer import maximum_of, minimum_of
from edgewright.optimize.calibration.probes import probe
from edgewright.optimize.errors import JudgeError
from edgewright.optimize.graph.segments import Segments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.calibration.observer import Observer
    from edgewright.optimize.types import Feeds, FeedSource, OnStep

__all__ = ["MEMORY_LIMIT", "WalkReport", "Walker", "walk"]

MEMORY_LIMIT = 512 << 20
"""Bytes of wanted activations that may be alive at once, unless told otherwise."""


@dataclass(frozen=True)
class WalkReport:
    """What a walk did.

    Attributes:
        samples: Pictures seen.
        pieces: In how many pieces the graph ran.
    """

    samples: int
    pieces: int


class Walker:
    """Runs pictures one by one; ``walk`` is this with a loop around it."""

    def __init__(
        self, model: bytes, observers: Sequence[Observer], *, threads: int = 1, memory_limit: int = MEMORY_LIMIT
    ) -> None:
        """Adds the probes and loads the graph.

        Args:
            model: A float ONNX file with fixed shapes, every intermediate type known, topologically sorted.
            observers: Who is shown what.
            threads: For the engine.
            memory_limit: Bytes of whole tensors that may be alive at once.

        Raises:
            SpecError: An observer wants a tensor that is not there.
            JudgeError: The engine refuses the graph, or a weight is NaN or infinite.
        """
        wanted = dict.fromkeys(name for observer in observers for name in observer.tensors)
        self._graph = probe(model, wanted, memory_limit)
        self._check = FeedCheck(model)
        self._segments = Segments(self._graph.model, self._graph.cuts, self._graph.shown, threads=threads)
        self._observers = tuple((frozenset(observer.tensors), observer) for observer in observers)
        self._left = Counter(self._graph.piece_of.values())
        self._whole_extremes = frozenset(self._graph.reduced.values()) & self._graph.whole
        self._input_extremes = frozenset(self._graph.reduced.values()) - self._graph.whole
        self.samples = 0

    @property
    def pieces(self) -> int:
        """In how many pieces the graph runs."""
        return len(self._segments)

    def observe(self, feeds: Feeds) -> None:
        """Takes in one picture.

        Args:
            feeds: The graph's inputs by name.

        Raises:
            DataError: The inputs are not what the graph takes.
            JudgeError: NaN or infinity somewhere in the network, or the engine failed.
        """
        self._check(self.samples, feeds)
        left = self._left.copy()
        # Inputs are shown together with the first piece: one call, unless memory is short.
        gathered = {name: feeds[name] for name in feeds if name in self._graph.whole} | self._inputs(feeds)

        def gather(name: str, value: NDArray[Any]) -> None:
            if name not in self._graph.piece_of:
                return
            gathered[name] = value
            piece = self._graph.piece_of[name]
            left[piece] -= 1
            if not left[piece]:
                self._hand_on(gathered)
                gathered.clear()

        self._segments.run(feeds, gather)
        self._hand_on(gathered)
        self.samples += 1

    def _inputs(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Extremes of graph inputs that nobody wants whole."""
        found: dict[str, NDArray[Any]] = {}
        for name in self._input_extremes & feeds.keys():
            found |= {minimum_of(name): np.asarray(feeds[name].min()), maximum_of(name): np.asarray(feeds[name].max())}
        return found

    def _hand_on(self, values: dict[str, NDArray[Any]]) -> None:
        """Checks the values of one piece, in the graph's order, and shows them to all."""
        extremes: dict[str, NDArray[Any]] = {}
        for name, value in values.items():
            if name not in self._graph.whole:
                self._refuse_unless_finite(name.rpartition("/")[0], value)
            elif value.dtype.kind == "f" and value.size:
                low, high = np.asarray(value.min()), np.asarray(value.max())
                self._refuse_unless_finite(name, low, high)
                if name in self._whole_extremes:
                    extremes |= {minimum_of(name): low, maximum_of(name): high}
        shown = values | extremes
        for wanted, observer in self._observers:
            if not wanted.isdisjoint(shown):
                observer.observe(shown)

    def _refuse_unless_finite(self, tensor: str, *values: NDArray[Any]) -> None:
        if all(np.isfinite(value) for value in values):
            return
        maker = self._graph.makers.get(tensor)
        place = f"made by node {maker!r}" if maker is not None else "an input: preprocessing made it"
        msg = (
            f"picture {self.samples}: NaN or infinity in tensor {tensor!r}, {place}; "
            "the float model cannot be quantized before that is mended"
        )
        raise JudgeError(msg)


def walk(
    model: bytes,
    feeds: FeedSource,
    observers: Sequence[Observer],
    *,
    threads: int = 1,
    memory_limit: int = MEMORY_LIMIT,
    on_step: OnStep | None = None,
) -> WalkReport:
    """Shows every picture to every observer, once.

    Args:
        model: A float ONNX file with fixed shapes, prepared (``edgewright.optimize.passes.prepare_graph``).
        feeds: The pictures.
        observers: Who is shown what.
        threads: For the engine.
        memory_limit: Bytes of whole tensors that may be alive at once.
        on_step: Told after each picture.

    Raises:
        DataError: A picture is not what the graph takes.
        SpecError: An observer wants a tensor that is not there.
        JudgeError: NaN or infinity somewhere in the network, or the engine failed.
    """
    walker = Walker(model, observers, threads=threads, memory_limit=memory_limit)
    for picture in feeds():
        walker.observe(picture)
        if on_step is not None:
            on_step(walker.samples, None)
    return WalkReport(walker.samples, walker.pieces)
