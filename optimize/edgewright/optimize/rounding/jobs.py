"""The weights of an INT8 graph as rounding problems: reals in units of their step, and the moment to judge them by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.rounding.base import code_limits
from edgewright.optimize.rounding.geometry import LayerGeometry, layer_geometries

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgewright.optimize.quantization.integer_graph import IntegerGraph, IntegerLayer
    from edgewright.optimize.rounding.base import RoundingInput

__all__ = ["WeightJob", "gain_note", "weight_jobs"]


@dataclass(frozen=True, eq=False)
class WeightJob:
    """The weights of one layer, or of several that share them.

    Attributes:
        layer: The first of them, with the codes as they are.
        geometry: Of the first.
        reals: (groups, rows, taps), float weights in units of their step, the zero point included.
        moment: (groups, taps, taps), the mean over the layers, weighted by their patches.
        step: (groups, rows), size of a code.
        limits: Smallest and largest code.
    """

    layer: IntegerLayer
    geometry: LayerGeometry
    reals: NDArray[np.float64]
    moment: NDArray[np.float64]
    step: NDArray[np.float64]
    limits: tuple[int, int]

    @property
    def codes(self) -> NDArray[np.float64]:
        """The codes as they are, (groups, rows, taps)."""
        return np.asarray(self.geometry.matrix(self.layer.codes), np.float64)

    def stored(self, codes: NDArray[np.float64]) -> NDArray[Any]:
        """Codes in the shape and type of the file."""
        return self.geometry.stored(np.rint(codes).astype(self.layer.codes.dtype), self.layer.codes.shape)


def weight_jobs(
    graph: IntegerGraph, given: RoundingInput, wanted: Callable[[LayerGeometry], bool]
) -> tuple[tuple[WeightJob, ...], tuple[str, ...]]:
    """The rounding problems of a graph.

    Args:
        graph: The INT8 graph.
        given: With the float weights and the moments.
        wanted: Which layers.

    Returns:
        The jobs in the graph's order, and notes on layers that had to be left out.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(given.float_model)
    geometries, _ = layer_geometries(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    sharing: dict[str, list[IntegerLayer]] = {}
    for layer in graph.layers:
        if layer.node in geometries and wanted(geometries[layer.node]) and layer.weight in constants:
            sharing.setdefault(layer.weight, []).append(layer)
    jobs, unseen = [], []
    for weight, layers in sharing.items():
        if all(layer.node in given.moments for layer in layers):
            reals = np.asarray(numpy_helper.to_array(constants[weight]), np.float64)
            jobs.append(_job(layers, [geometries[layer.node] for layer in layers], reals, given))
        else:
            unseen += [layer.node for layer in layers]
    notes = (f"left as they were, for no moments are known: {', '.join(unseen)}",) if unseen else ()
    return tuple(jobs), notes


def _job(
    layers: list[IntegerLayer], geometries: list[LayerGeometry], reals: NDArray[np.float64], given: RoundingInput
) -> WeightJob:
    layer, geometry = layers[0], geometries[0]
    moments = [given.moments[other.node] for other in layers]
    total = sum(moment.count for moment in moments)
    step = geometry.per_row(layer.scale.astype(np.float64))
    zero = geometry.per_row(layer.zero_point.astype(np.float64))
    return WeightJob(
        layer=layer,
        geometry=geometry,
        reals=geometry.matrix(reals) / step[..., None] + zero[..., None],
        moment=np.asarray(sum(moment.second * (moment.count / total) for moment in moments)),
        step=step,
        limits=code_limits(given.scheme),
    )


def gain_note(what: str, ratios: list[float]) -> str:
    """How far the expected error fell, in words.

    Args:
        what: Kind of layers.
        ratios: Expected squared output error after over before, layer by layer.
    """
    if not ratios:
        return f"no {what} to round"
    kept = float(np.exp(np.mean(np.log(np.maximum(ratios, 1e-9)))))
    return (
        f"{len(ratios)} {what} rounded; expected squared output error down by {100 * (1 - kept):.0f} % (typical layer)"
    )
