"""The range of every activation, from real pictures, in one pass and in memory that does not grow with their number.

Example:
    >>> entropy = RangeChoice.parse("entropy")
    >>> known = calibrate(model, feeds, choices=[entropy])       # doctest: +SKIP
    >>> int8 = quantize_graph(model, known.ranges(entropy))      # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.calibration.choice import RangeChoice, RangeMethod
from edgewright.optimize.calibration.result import CalibrationResult, Layout, Statistics
from edgewright.optimize.calibration.walk import MEMORY_LIMIT, Walker, walk

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from edgewright.optimize.calibration.observer import Observer
    from edgewright.optimize.types import Feeds, FeedSource, OnStep

__all__ = ["RangeCollector", "calibrate"]


def calibrate(
    model: bytes,
    feeds: FeedSource,
    *,
    choices: Collection[RangeChoice] = (RangeChoice(),),
    observers: Sequence[Observer] = (),
    threads: int = 1,
    memory_limit: int = MEMORY_LIMIT,
    on_step: OnStep | None = None,
) -> CalibrationResult:
    """Walks the pictures once and keeps what the methods need.

    Args:
        model: A float ONNX file, prepared (``edgewright.optimize.passes.prepare_graph``).
        feeds: The pictures.
        choices: The methods that ``ranges`` will be asked for. Histograms are kept where one of them needs them, which
            takes twice the time; with any method, min-max and its mean are known as well. None at all for the
            observers alone.
        observers: Who else is shown values in the same pass.
        threads: For the engine.
        memory_limit: Bytes of whole activations that may be alive at once; above it the graph runs in pieces.
        on_step: Told after each picture.

    Raises:
        DataError: There is no picture, or one is not what the graph takes.
        SpecError: An observer wants a tensor that is not there.
        JudgeError: NaN or infinity somewhere in the network, or the engine failed.
    """
    layout = Layout(model)
    statistics = Statistics.for_choices(layout, choices)
    everyone = (*statistics.observers, *observers)
    report = walk(model, feeds, everyone, threads=threads, memory_limit=memory_limit, on_step=on_step)
    return CalibrationResult(layout, statistics, report.samples, next(iter(choices), RangeChoice()))


class RangeCollector:
    """The same for a caller that has its pictures one by one; serves every method."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Adds the observers and loads the graph.

        Args:
            model: A float ONNX file with fixed shapes, every intermediate shape known.
            threads: For the engine.
        """
        self._layout = Layout(model)
        self._statistics = Statistics.for_choices(self._layout, [RangeChoice(method) for method in RangeMethod])
        self._walker = Walker(model, self._statistics.observers, threads=threads)

    @property
    def samples(self) -> int:
        """Pictures seen."""
        return self._walker.samples

    def observe(self, feeds: Feeds) -> None:
        """Takes in one picture.

        Args:
            feeds: The graph's inputs by name.

        Raises:
            DataError: It is not what the graph takes.
            JudgeError: The float model answered NaN or infinity somewhere.
        """
        self._walker.observe(feeds)

    def ranges(self, method: RangeMethod | RangeChoice) -> dict[str, tuple[float, float]]:
        """The range of every float tensor; see ``CalibrationResult.ranges``.

        Args:
            method: How values become ranges.

        Raises:
            DataError: Nothing was observed.
        """
        choice = method if isinstance(method, RangeChoice) else RangeChoice(method)
        return CalibrationResult(self._layout, self._statistics, self.samples, choice).ranges()
