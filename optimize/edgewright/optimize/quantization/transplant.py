"""Rounding carried over to another quantization of the same float graph.

When a search leaves other nodes in float, most layers keep their weight grid, and what the rounding passes found for
them stays right. It is copied; only what depends on the whole graph is worth computing again.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.quantization.integer_graph import IntegerGraph

if TYPE_CHECKING:
    from edgewright.optimize.quantization.integer_graph import IntegerLayer
    from edgewright.optimize.quantization.writer import QuantizedGraph

__all__ = ["transplant_rounding"]


def transplant_rounding(rounded: QuantizedGraph, fresh: QuantizedGraph) -> QuantizedGraph:
    """Copies integer weights and biases between layers whose grids are the same.

    Args:
        rounded: Passes have been over it.
        fresh: As the writer left it; of the same float graph.

    Returns:
        ``fresh`` with the integers of ``rounded`` wherever they mean the same.
    """
    source = {layer.node: layer for layer in IntegerGraph(rounded.model).layers}
    target = IntegerGraph(fresh.model)
    for layer in target.layers:
        donor = source.get(layer.node)
        if donor is None or not _same_weights(donor, layer):
            continue
        target.set_codes(layer.node, donor.codes)
        if donor.bias is not None and layer.bias is not None and _same_bias(donor, layer):
            target.set_bias(layer.node, donor.bias)
    return dataclasses.replace(fresh, model=target.to_bytes())


def _same_weights(one: IntegerLayer, other: IntegerLayer) -> bool:
    return (
        one.codes.shape == other.codes.shape
        and one.codes.dtype == other.codes.dtype
        and np.array_equal(one.scale, other.scale)
        and np.array_equal(one.zero_point, other.zero_point)
    )


def _same_bias(one: IntegerLayer, other: IntegerLayer) -> bool:
    """A bias stands on the grid of the input times that of the weights."""
    if one.bias_scale is None or other.bias_scale is None or one.bias is None or other.bias is None:
        return False
    return one.bias.shape == other.bias.shape and np.array_equal(one.bias_scale, other.bias_scale)
