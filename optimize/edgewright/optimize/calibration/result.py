"""What a calibration knows: the ranges of any method, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.optimize.calibration.choice import RangeChoice, RangeMethod
from edgewright.optimize.calibration.distributions import Distributions
from edgewright.optimize.calibration.extremes import Extremes, Half
from edgewright.optimize.calibration.ranges import clipped_range, with_zero
from edgewright.optimize.calibration.stability import Stability, compare_halves
from edgewright.optimize.calibration.topology import float_tensors, output_tensors, representatives, unproven
from edgewright.optimize.errors import DataError, SpecError
from edgewright.optimize.graph.segments import node_id

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgewright.optimize.calibration.observer import Observer

__all__ = ["CalibrationResult", "Layout", "Statistics"]

_FEWEST_FOR_HALVES = 2


@dataclass(frozen=True, eq=False)
class Statistics:
    """The observers that ranges come from.

    Attributes:
        extremes: None where no method was asked for.
        distributions: None where no method needs them.
    """

    extremes: Extremes | None
    distributions: Distributions | None

    @classmethod
    def for_choices(cls, layout: Layout, choices: Collection[RangeChoice]) -> Statistics:
        """Empty ones, for what these methods need."""
        histograms = any(choice.method.needs_histograms for choice in choices)
        return cls(
            Extremes(layout.watched) if choices else None, Distributions(layout.clippable) if histograms else None
        )

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Those that are there."""
        return tuple(observer for observer in (self.extremes, self.distributions) if observer is not None)


class Layout:
    """Which tensors of a graph are observed how."""

    def __init__(self, model: bytes) -> None:
        """Reads the graph.

        Args:
            model: A float ONNX file, prepared.
        """
        import onnx

        graph = onnx.load_model_from_string(model)
        self.makers = {name: node_id(node) for node in graph.graph.node for name in node.output if name}
        self.stands_for = representatives(graph)
        self.full = frozenset(self.stands_for[name] for name in output_tensors(graph) if name in self.stands_for)
        observed = tuple(dict.fromkeys(self.stands_for.values()))
        # Watched for NaN only: what a Relu or Clip would hide.
        doubtful = unproven(graph) - set(observed)
        hidden = [name for name in float_tensors(graph) if name in doubtful]
        self.watched = (*observed, *hidden)
        self.clippable = tuple(name for name in observed if name not in self.full)


class CalibrationResult:
    """Statistics of one pass over the samples, from which the ranges of every method come.

    Attributes:
        samples: Pictures seen.
    """

    def __init__(self, layout: Layout, statistics: Statistics, samples: int, choice: RangeChoice) -> None:
        """Keeps them; nothing is computed yet.

        Args:
            layout: Of the graph.
            statistics: What was collected.
            samples: Pictures seen.
            choice: What is meant where no method is named.

        Raises:
            DataError: No picture was seen.
        """
        if not samples:
            msg = "no calibration picture was observed; name a source that holds some"
            raise DataError(msg)
        self.samples = samples
        self._layout, self._statistics, self._choice = layout, statistics, choice
        self._ranges: dict[tuple[RangeChoice, bool, Half], dict[str, tuple[float, float]]] = {}

    def ranges(self, choice: RangeChoice | None = None, *, symmetric: bool = False) -> dict[str, tuple[float, float]]:
        """The range of every float tensor, zero included; computed once and remembered.

        Args:
            choice: How; None means the first method that the calibration was asked for. Graph outputs, and what
                reaches them unchanged, get all they were seen to hold, whatever the method.
            symmetric: Whether the integers will be symmetric around zero (``Scheme.activations`` is signed): entropy
                and mse then choose the reach that is best for such a grid.

        Returns:
            Tensor name to (low, high), for ``quantize_graph``.

        Raises:
            SpecError: The method needs statistics that were not collected.
        """
        own = self._own(choice or self._choice, Half.BOTH, symmetric=symmetric)
        return {name: own[stand_in] for name, stand_in in self._layout.stands_for.items()}

    @property
    def stability(self) -> Stability:
        """How far the scales of the first method move between even and odd pictures; see ``stability_of``."""
        return self.stability_of(self._choice)

    def stability_of(self, choice: RangeChoice, *, symmetric: bool = False) -> Stability:
        """How far the scales of a method move between even and odd pictures.

        Args:
            choice: As for ``ranges``.
            symmetric: As for ``ranges``.

        Returns:
            Nothing is compared with fewer than two pictures. Tensors that share a range are counted once.

        Raises:
            SpecError: As for ``ranges``.
        """
        if self.samples < _FEWEST_FOR_HALVES:
            return Stability(())
        even, odd = (self._own(choice, half, symmetric=symmetric) for half in (Half.EVEN, Half.ODD))
        return compare_halves(even, odd, self._layout.makers)

    def _own(self, choice: RangeChoice, half: Half, *, symmetric: bool) -> dict[str, tuple[float, float]]:
        key = (choice, symmetric, half)
        if key not in self._ranges:
            stand_ins = dict.fromkeys(self._layout.stands_for.values())
            self._ranges[key] = {name: self._range(name, *key) for name in stand_ins}
        return self._ranges[key]

    def _range(self, tensor: str, choice: RangeChoice, symmetric: bool, half: Half) -> tuple[float, float]:
        if choice.method.needs_histograms and tensor not in self._layout.full:
            if self._statistics.distributions is None:
                msg = f"range method {choice} needs histograms, which this calibration was not asked for: name it there"
                raise SpecError(msg)
            return clipped_range(self._statistics.distributions.of(tensor, half), choice, symmetric=symmetric)
        seen = self._statistics.extremes.of(tensor, half) if self._statistics.extremes is not None else None
        if seen is None:
            msg = f"range method {choice} needs extremes, which this calibration was not asked for: name it there"
            raise SpecError(msg)
        if choice.method is RangeMethod.MEAN_MINMAX and tensor not in self._layout.full:
            return with_zero(seen.mean_low, seen.mean_high)
        return with_zero(seen.low, seen.high)
