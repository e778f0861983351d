"""Which integers a quantized graph is made of.

The default is what x86 with 8-bit dot products and ARM run fastest by measurement: unsigned asymmetric activations,
signed symmetric weights with one scale per output channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgewright.optimize.errors import SpecError

__all__ = ["IntegerType", "Scheme"]

_BITS = (7, 8)


class IntegerType(str, Enum):
    """An 8-bit integer type, by its ONNX name."""

    UINT8 = "uint8"
    INT8 = "int8"


@dataclass(frozen=True)
class Scheme:
    """The integers of one quantized graph.

    Attributes:
        activations: Type of activations; asymmetric when unsigned, symmetric when signed.
        weights: Type of weights; signed is symmetric.
        weight_bits: 8, or 7 for processors whose 16-bit sums of two products would overflow (weights within -64..64).
        per_channel: One weight scale per output channel instead of one per tensor.
        float_outputs: Leave graph outputs in float where that costs nothing: behind operators that only move values.
    """

    activations: IntegerType = IntegerType.UINT8
    weights: IntegerType = IntegerType.INT8
    weight_bits: int = 8
    per_channel: bool = True
    float_outputs: bool = True

    def __post_init__(self) -> None:
        """Refuses what no writer could write.

        Raises:
            SpecError: Weights of other than 7 or 8 bits.
        """
        if self.weight_bits not in _BITS:
            msg = f"weights can have 7 or 8 bits, not {self.weight_bits}"
            raise SpecError(msg)

    @property
    def name(self) -> str:
        """Short name such as ``u8s8`` or ``u8s7-per-tensor``; ``s7`` are signed weights of seven bits."""
        activations = "u8" if self.activations is IntegerType.UINT8 else "s8"
        weights = ("u" if self.weights is IntegerType.UINT8 else "s") + str(self.weight_bits)
        return activations + weights + ("" if self.per_channel else "-per-tensor")
