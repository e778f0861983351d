"""One way to quantize a graph, as a search sees it, and the space of all ways that are to be tried."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from edgewright.optimize.errors import SpecError

__all__ = ["Configuration", "SearchSpace"]


@dataclass(frozen=True)
class Configuration:
    """One way to quantize.

    Attributes:
        method: How observed values become ranges, such as ``minmax``.
        per_channel: One weight scale per output channel instead of one per tensor.
        weight_bits: 8, or 7.
        chain: Names of the passes that improve on it, in order.
        keep_float: Names of nodes that stay in float.
    """

    method: str = "minmax"
    per_channel: bool = True
    weight_bits: int = 8
    chain: tuple[str, ...] = ()
    keep_float: frozenset[str] = frozenset()

    def values(self) -> dict[str, Any]:
        """As JSON values, the same for the same configuration."""
        return {
            "method": self.method,
            "per_channel": self.per_channel,
            "weight_bits": self.weight_bits,
            "chain": list(self.chain),
            "keep_float": sorted(self.keep_float),
        }


@dataclass(frozen=True)
class SearchSpace:
    """Options for each part of a configuration; the space is their product, the last part changing fastest.

    Attributes:
        method: Options of ``Configuration.method``, the likeliest first; so are the others.
        per_channel: Options of ``Configuration.per_channel``.
        weight_bits: Options of ``Configuration.weight_bits``.
        chain: Options of ``Configuration.chain``.
        keep_float: Options of ``Configuration.keep_float``.
    """

    method: tuple[str, ...] = ("minmax",)
    per_channel: tuple[bool, ...] = (True,)
    weight_bits: tuple[int, ...] = (8,)
    chain: tuple[tuple[str, ...], ...] = ((),)
    keep_float: tuple[frozenset[str], ...] = (frozenset(),)

    def __post_init__(self) -> None:
        """Refuses a space that is empty, or holds something twice.

        Raises:
            SpecError: Naming the part.
        """
        for part in fields(self):
            options = getattr(self, part.name)
            if not options or len(set(options)) != len(options):
                msg = f"the search space needs one or more different options for {part.name}, found {list(options)}"
                raise SpecError(msg)

    def __len__(self) -> int:
        """How many configurations."""
        return len(self.configurations())

    def configurations(self) -> tuple[Configuration, ...]:
        """All of them, in order."""
        options = (self.method, self.per_channel, self.weight_bits, self.chain, self.keep_float)
        return tuple(Configuration(*chosen) for chosen in product(*options))
