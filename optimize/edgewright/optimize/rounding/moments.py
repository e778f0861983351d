"""Second moments of what the weights of each layer meet, gathered from a stream of pictures.

The error that rounding makes in an output is ``e @ x`` for weights off by ``e`` and an input patch ``x``, so its mean
square over the pictures is ``e @ M @ e`` with the uncentred second moment ``M = mean(x x^T)``. That is all that rounding
needs to know of the pictures, and its size depends on the network alone.

Positions are taken evenly from each picture, ``POSITIONS`` of them at most; the grid of positions moves from picture to
picture, so that a fixed camera does not show the same spots again. Layers that read the same tensor in the same way
share one moment. Layers with more inputs an output than ``MAX_TAPS`` are left out, with a note.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.rounding.geometry import LayerGeometry, layer_geometries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["MAX_TAPS", "POSITIONS", "LayerMoments", "MomentObserver"]

POSITIONS = 1024
"""About how many positions of a picture are taken in."""

MAX_TAPS = 2048
"""Largest number of inputs an output may be made of; the moment has its square of numbers."""


_EXACT_TAPS = 32  # up to here one picture's products are summed in double precision too, for that costs little


@dataclass(frozen=True, eq=False)
class LayerMoments:
    """Moments of a layer's input patches.

    Attributes:
        mean: (groups, taps).
        second: (groups, taps, taps), uncentred. A depthwise convolution has a group a channel, a dense layer one.
        count: Patches they were taken from.
    """

    mean: NDArray[np.float64]
    second: NDArray[np.float64]
    count: int


class _Sums:
    def __init__(self, geometry: LayerGeometry) -> None:
        self.geometry = geometry
        self.first = np.zeros((geometry.groups, geometry.taps))
        self.second = np.zeros((geometry.groups, geometry.taps, geometry.taps))
        self.count = 0
        self.turn = 0

    def add(self, values: NDArray[Any], positions: int) -> None:
        patches: NDArray[Any] = self.geometry.patches(values, positions, self.turn)
        if self.geometry.taps <= _EXACT_TAPS:
            patches = patches.astype(np.float64)
        self.first += patches.sum(axis=2, dtype=np.float64)
        self.second += patches @ patches.transpose(0, 2, 1)
        self.count += patches.shape[2]
        self.turn += 1


class MomentObserver:
    """Takes in activations of the float graph and keeps moments only.

    Example:
        >>> observer = MomentObserver(model)                                 # doctest: +SKIP
        >>> for picture in pictures:                                         # doctest: +SKIP
        ...     observer.observe(activations(picture, observer.tensors))
        >>> moments = observer.moments()                                     # doctest: +SKIP
    """

    def __init__(self, model: bytes, *, positions: int = POSITIONS, max_taps: int = MAX_TAPS) -> None:
        """Finds the layers.

        Args:
            model: The float graph, prepared.
            positions: See ``POSITIONS``.
            max_taps: See ``MAX_TAPS``.
        """
        import onnx

        geometries, notes = layer_geometries(onnx.load_model_from_string(model))
        self._positions = positions
        self._layers: dict[str, _Sums] = {}
        shared: dict[Any, _Sums] = {}
        self._readers: dict[str, list[_Sums]] = {}
        left = []
        for name, geometry in geometries.items():
            if geometry.taps > max_taps:
                left.append(f"{name}: {geometry.taps} inputs an output are too many for a second moment")
                continue
            if geometry.key not in shared:
                shared[geometry.key] = _Sums(geometry)
                self._readers.setdefault(geometry.input, []).append(shared[geometry.key])
            self._layers[name] = shared[geometry.key]
        self.notes = (*notes, *left)

    @property
    def tensors(self) -> frozenset[str]:
        """Names of the tensors it wants to see."""
        return frozenset(self._readers)

    @property
    def nbytes(self) -> int:
        """Memory of all sums, which does not grow with the pictures."""
        sums = {id(layer): layer for layer in self._layers.values()}
        return sum(layer.first.nbytes + layer.second.nbytes for layer in sums.values())

    def observe(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Takes in some tensors of one picture.

        Args:
            values: Tensors by name; those it does not want are passed over.
        """
        for name, value in values.items():
            for layer in self._readers.get(name, ()):
                layer.add(value, self._positions)

    def moments(self) -> dict[str, LayerMoments]:
        """The moments by node id; layers of which nothing was seen are missing."""
        made = {
            id(layer): LayerMoments(layer.first / layer.count, layer.second / layer.count, layer.count)
            for layer in self._layers.values()
            if layer.count
        }
        return {name: made[id(layer)] for name, layer in self._layers.items() if id(layer) in made}
