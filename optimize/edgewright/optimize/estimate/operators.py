"""An operator as the estimator sees it: what kind of work it is, and how much."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Kind", "Operator", "WorkTable"]


class Kind(str, Enum):
    """What decides how long an operator takes.

    ``STEM`` is a convolution of a picture, whose few channels fill no vector; ``MOVING`` reads and writes numbers and hardly
    computes; ``ACTIVATION`` is a function of single numbers; ``FREE`` does nothing when the network runs, or does it inside
    another operator; ``UNKNOWN`` cannot be priced.
    """

    POINTWISE = "pointwise"
    DENSE = "dense"
    STEM = "stem"
    DEPTHWISE = "depthwise"
    CONNECTED = "connected"
    MOVING = "moving"
    ACTIVATION = "activation"
    FREE = "free"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Operator:
    """One operator of a variant.

    Attributes:
        name: As messages call it.
        type: In the words of its format, such as ``Conv`` or ``CONV_2D``.
        kind: What decides how long it takes.
        precision: ``float32`` or ``int8``: what it computes in.
        macs: Multiplications.
        source: Channels that one of its sums runs over, without the window.
        made: Channels it makes.
        window: Longer side of its window.
        weight_bytes: Of its weights.
        numbers: Numbers that it reads and writes, without weights.
        like: Why its kind is only the nearest one that was probed; empty where it is that kind.
    """

    name: str
    type: str
    kind: Kind
    precision: str = "float32"
    macs: int = 0
    source: int = 0
    made: int = 0
    window: int = 1
    weight_bytes: int = 0
    numbers: int = 0
    like: str = ""

    @property
    def moved_bytes(self) -> int:
        """Bytes that it reads and writes, without weights."""
        return self.numbers * (1 if self.precision == "int8" else 4)


@dataclass(frozen=True)
class WorkTable:
    """Operators of a file format by what they do; every name that stands in none of them is unknown.

    Attributes:
        free: Nothing is computed or moved.
        fused: Activations that engines compute within the operator before.
        moving: Reading and writing with little arithmetic; a sum was probed, for others it is the nearest.
        sums: Of those, the ones that are like a sum.
        activation: Functions of single numbers; a leaky ReLU was probed, for others it is the nearest.
        leaky: Of those, the ones that are like it.
    """

    free: frozenset[str]
    fused: frozenset[str]
    moving: frozenset[str]
    sums: frozenset[str]
    activation: frozenset[str]
    leaky: frozenset[str]

    def plain(self, name: str, kind: str, precision: str, numbers: int) -> Operator:
        """An operator without weights.

        Args:
            name: As messages call it.
            kind: Operator, in the words of the format.
            precision: What it computes in.
            numbers: Numbers that it reads and writes.
        """
        if kind in self.free:
            return Operator(name, kind, Kind.FREE, precision)
        if kind in self.moving:
            like = "" if kind in self.sums else "priced as a sum of tensors"
            return Operator(name, kind, Kind.MOVING, precision, numbers=numbers, like=like)
        if kind in self.activation or kind in self.fused:
            like = "" if kind in self.leaky or kind in self.fused else "priced as a leaky ReLU"
            return Operator(name, kind, Kind.ACTIVATION, precision, numbers=numbers, like=like)
        return Operator(name, kind, Kind.UNKNOWN, precision, numbers=numbers)
