"""What an x86 processor without VNNI will answer, computed on any processor.

The graph runs in pieces, cut around the layers whose weights can overflow a sixteen-bit sum of two products. Such a
layer itself runs in float, so that this machine's own integer kernels have no say. Its values are snapped to the
integer sums they stand for, what saturation does is added to these, and the engine's own rounding follows.
Bit by bit what ONNX Runtime's AVX2 kernels answer (``scripts/saturation``).

Example:
    >>> emulator = SaturationEmulator(int8)                                  # doctest: +SKIP
    >>> outputs = emulator.run({"image": tensor})                            # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.graph.segments import Segments, node_id
from edgewright.optimize.quantization.integer_graph import IntegerGraph
from edgewright.optimize.targets.pairs import capable_pairs, paired_excess
from edgewright.optimize.targets.products import integer_layers, layer_product
from edgewright.optimize.targets.unshare import unshare_dequantizers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.quantization.integer_graph import IntegerLayer
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.targets.products import LayerProduct
    from edgewright.optimize.types import Feeds

__all__ = ["LayerSaturation", "SaturationEmulator"]


@dataclass(frozen=True)
class LayerSaturation:
    """What saturation did to one layer.

    Attributes:
        node: Its id.
        capable: Share of its pairs of weights that can overflow.
        saturated: Share of its output values, over all pictures seen, that saturation changed.
        snr_db: Its output against what saturation added, in dB; None where nothing was added.
    """

    node: str
    capable: float
    saturated: float
    snr_db: float | None


@dataclass(eq=False)
class _Tally:
    values: int = 0
    changed: int = 0
    signal: float = 0.0
    noise: float = 0.0


class SaturationEmulator:
    """A QDQ graph as a processor with saturating pairs runs it. One owner, one thread."""

    def __init__(self, graph: QuantizedGraph, threads: int = 1) -> None:
        """Finds the layers that can overflow and cuts the graph around them.

        Args:
            graph: As ``quantize_graph`` writes it.
            threads: For the engine.

        Raises:
            JudgeError: A layer cannot be emulated, or the engine refuses a piece.
        """
        import onnx

        model = onnx.load_model_from_string(graph.model)
        unshare_dequantizers(model)
        unshared = model.SerializeToString()
        self._integer = integer_layers(model, IntegerGraph(unshared).layers)
        self._shares: dict[str, tuple[int, int]] = {}
        self._capable: dict[str, tuple[LayerProduct, list[NDArray[np.bool_]]]] = {}
        for layer in self._integer:
            product = layer_product(layer)
            capable = [capable_pairs(group) for group in product.weights]
            self._shares[layer.node] = (sum(int(g.sum()) for g in capable), sum(g.size for g in capable))
            if self._shares[layer.node][0]:
                self._capable[layer.output] = (product, capable)
        inputs = {product.layer.input_tensor for product, _ in self._capable.values()}
        producers = {name: node for node in model.graph.node for name in node.output}
        cuts = {node_id(producers[name]) for name in (*inputs, *self._capable)}
        self._inputs = inputs
        self._pieces = Segments(unshared, cuts, threads=threads, engine=graph.engine)
        self._tallies = {product.layer.node: _Tally() for product, _ in self._capable.values()}

    @property
    def capable_share(self) -> float:
        """Share of all pairs of weights, in layers that run in integers, that can overflow."""
        able, total = (sum(column) for column in zip(*self._shares.values(), strict=True)) if self._shares else (0, 0)
        return able / total if total else 0.0

    @property
    def layers(self) -> tuple[LayerSaturation, ...]:
        """Figures of every layer that can overflow, over all pictures that ``run`` has seen."""
        found = []
        for node, tally in self._tallies.items():
            able, total = self._shares[node]
            snr = 10 * float(np.log10(tally.signal / tally.noise)) if tally.noise and tally.signal else None
            found.append(LayerSaturation(node, able / total, tally.changed / max(tally.values, 1), snr))
        return tuple(found)

    def run(self, feeds: Feeds, *, saturate: bool = True) -> dict[str, NDArray[Any]]:
        """One picture.

        Args:
            feeds: The graph's inputs.
            saturate: False computes exact sums the same way, as a processor with VNNI would.

        Returns:
            The graph's outputs by name.
        """
        seen: dict[str, NDArray[Any]] = {}

        def on_value(name: str, value: NDArray[Any]) -> NDArray[Any] | None:
            if name in self._inputs:
                seen[name] = value
            return self._computed(name, seen, value, saturate=saturate) if name in self._capable else None

        return self._pieces.run(feeds, on_value)

    def _computed(
        self, name: str, seen: dict[str, NDArray[Any]], value: NDArray[Any], *, saturate: bool
    ) -> NDArray[Any]:
        """A layer's output as the integer kernel gives it, in float."""
        product, capable = self._capable[name]
        layer, grid = product.layer, product.layer.input
        step = _along(np.float32(grid.scale) * layer.scale, layer, value.ndim)
        real = seen.pop(layer.input_tensor)
        codes = (np.rint(real / np.float32(grid.scale)) + (grid.zero_point - grid.low)).astype(np.uint8)
        if layer.op_type == "MatMul":
            # The engine may take a float MatMul for one of its own lossy weight-only kernels.
            sums = product.exact(codes)
        else:
            sums = np.rint(value / step.astype(np.float64)).astype(np.int64)
        if saturate:
            sums += self._excess(product, capable, codes, sums)
        if layer.grid is None:
            return np.asarray(sums * step, value.dtype)
        # The engine's rounding: one float32 factor, halves to even.
        grid, scale = layer.grid, np.float32(layer.grid.scale)
        rounded = np.rint(sums.astype(np.float32) * (step / scale)) + grid.zero_point
        return np.asarray((np.clip(rounded, grid.low, grid.high) - grid.zero_point) * scale, value.dtype)

    def _excess(
        self, product: LayerProduct, capable: list[NDArray[np.bool_]], codes: NDArray[np.uint8], sums: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        layer = product.layer
        parts = zip(product.columns(codes), product.weights, capable, strict=True)
        excess = np.stack([paired_excess(column, count, weights, able) for (column, count), weights, able in parts])
        placed: NDArray[np.int64] = product.arrange(excess, sums.shape)
        tally, step = self._tallies[layer.node], _along(layer.scale, layer, sums.ndim)
        tally.values += placed.size
        tally.changed += int(np.count_nonzero(placed))
        tally.signal += float(np.square(sums * step, dtype=np.float64).sum())
        tally.noise += float(np.square(placed * step, dtype=np.float64).sum())
        return placed


def _along(values: NDArray[np.float32], layer: IntegerLayer, dimensions: int) -> NDArray[np.float32]:
    """One value per output channel, shaped to meet the layer's output; one for all if there is one."""
    shape = [1] * dimensions
    if len(values) > 1:
        shape[1 if layer.op_type == "Conv" else -1] = -1
    return values.reshape(shape)
