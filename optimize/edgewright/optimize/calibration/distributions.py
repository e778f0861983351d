"""Histograms of many tensors, kept apart for even and odd pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.optimize.calibration.extremes import Half
from edgewright.optimize.calibration.histogram import BINS, Histogram
from edgewright.optimize.calibration.observer import maximum_of, minimum_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["Distributions"]


class Distributions:
    """Observes how the values of tensors are distributed; wants them whole."""

    def __init__(self, tensors: Iterable[str], bins: int = BINS) -> None:
        """Starts with nothing seen.

        Args:
            tensors: Float tensors.
            bins: Of each histogram.
        """
        self._bins = bins
        self._halves = {name: (Histogram(bins), Histogram(bins)) for name in tensors}
        self._counts = dict.fromkeys(self._halves, 0)
        # Whoever walks has taken the extremes anyway, to look for NaN.
        self.tensors = tuple(n for name in self._halves for n in (name, minimum_of(name), maximum_of(name)))

    def __contains__(self, tensor: str) -> bool:
        """Whether the tensor is observed."""
        return tensor in self._halves

    def observe(self, values: Mapping[str, NDArray[Any]]) -> None:
        """See ``Observer``."""
        for name, halves in self._halves.items():
            if name not in values:
                continue
            low, high = float(values[minimum_of(name)]), float(values[maximum_of(name)])
            halves[self._counts[name] % 2].add(values[name], low, high)
            self._counts[name] += 1

    def of(self, tensor: str, half: Half = Half.BOTH) -> Histogram:
        """A tensor's histogram; a copy.

        Args:
            tensor: One of those observed.
            half: Of which pictures.
        """
        whole = Histogram(self._bins)
        for part in half.parts:
            whole.merge(self._halves[tensor][part])
        return whole
