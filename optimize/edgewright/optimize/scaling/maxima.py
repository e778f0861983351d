"""Largest magnitude of every channel that a scaling pass wants to know, from a stream of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgewright.optimize.scaling.links import Link, LinkedGraph

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["ChannelMaxima", "Maxima", "bounded_factors"]

Maxima = Mapping[str, NDArray[np.float64]]
"""Largest magnitude (channels,) by tensor."""

_ROOM = 0.9  # of a bound that values of calibration pictures may fill, for other pictures reach further
_LARGEST = 128.0
_TINY = 1e-12


class ChannelMaxima:
    """An observer of the tensors that links pass through."""

    def __init__(self, model: bytes) -> None:
        """Finds the tensors in a prepared float graph."""
        import onnx

        self._axes: dict[str, int] = {}
        for link in LinkedGraph(onnx.load_model_from_string(model)).links:
            axis = 1 if link.readers[0].op_type == "Conv" else -1
            self._axes |= {name: axis for name in (link.tensor, link.clipped) if name is not None}
        self._largest: dict[str, NDArray[np.float64]] = {}

    @property
    def tensors(self) -> Collection[str]:
        """See ``Observer``."""
        return self._axes

    def observe(self, values: Mapping[str, NDArray[Any]]) -> None:
        """See ``Observer``."""
        for name in values.keys() & self._axes.keys():
            rows = np.moveaxis(np.abs(values[name]), self._axes[name], 0)
            largest = rows.reshape(len(rows), -1).max(axis=1).astype(np.float64)
            self._largest[name] = np.maximum(self._largest.get(name, 0.0), largest)

    def values(self) -> dict[str, NDArray[np.float64]]:
        """The maxima by tensor; what was not seen is missing."""
        return dict(self._largest)


def bounded_factors(link: Link, factors: NDArray[np.float64], maxima: Maxima) -> NDArray[np.float64]:
    """Factors made safe: 1 where a channel is dead, or where a Clip would cut what it did not cut before.

    Args:
        link: Where they go.
        factors: (channels,), by which the producer is to be divided.
        maxima: Of calibration pictures.

    Returns:
        (channels,).
    """
    safe = np.where(np.isfinite(factors) & (factors > 0), factors, 1.0)
    safe = np.clip(safe, 1 / _LARGEST, _LARGEST)
    if link.clipped is None or not np.isfinite(link.bound):
        return np.asarray(safe)
    seen = maxima.get(link.clipped)
    if seen is None:
        return np.ones_like(safe)
    free = seen < _ROOM * link.bound
    return np.where(free, np.maximum(safe, np.maximum(seen, _TINY) / (_ROOM * link.bound)), 1.0)
