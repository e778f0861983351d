"""What a rounding pass is: an INT8 graph and facts about its inputs go in, an INT8 graph with better integers comes out.

A pass changes codes of weights or biases only: no scale, no tensor, no operator. So a file after any pass is as fast as
before, and whether it is better is for the chain to find out on pictures of its own (the selection split): every pass
fits its integers to the pictures it was given, and pictures that are not like the device's own can do harm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from edgewright.optimize.quantization.scheme import IntegerType, Scheme

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.rounding.moments import LayerMoments
    from edgewright.optimize.types import FeedSource, OnStep

__all__ = ["RoundingInput", "RoundingPass", "code_limits"]


@dataclass(frozen=True, eq=False)
class RoundingInput:
    """What passes may look at.

    Attributes:
        float_model: The float graph that was quantized.
        moments: Of the inputs of its layers, by node id.
        feeds: The calibration pictures.
        threads: For the engine.
        scheme: The integers of the graph.
    """

    float_model: bytes
    moments: Mapping[str, LayerMoments]
    feeds: FeedSource
    threads: int = 1
    scheme: Scheme = field(default_factory=Scheme)


class RoundingPass(Protocol):
    """One way to better integers."""

    @property
    def name(self) -> str:
        """Short name for reports and recipes, words joined by hyphens."""
        ...

    @property
    def paper(self) -> str:
        """Where the method comes from."""
        ...

    def run(self, graph: QuantizedGraph, given: RoundingInput, on_step: OnStep | None = None) -> QuantizedGraph:
        """Returns ``graph`` with other integers and notes on what was done."""
        ...


def code_limits(scheme: Scheme) -> tuple[int, int]:
    """Smallest and largest code of a weight, as ONNX Runtime's writer uses them."""
    if scheme.weights is IntegerType.UINT8:
        return (0, 255) if scheme.weight_bits == 8 else (0, 127)
    return (-127, 127) if scheme.weight_bits == 8 else (-64, 64)
