"""What an observer of activations is.

An observer names the tensors it wants and is shown their values, picture after picture, in one walk that feeds all
observers (``walk.walk``). Rules:

- ``observe`` gets whole float arrays by name, the graph's shapes, batch axis included. They live only during the call:
  keep sums, not arrays, and change nothing in them.
- Each wanted tensor comes exactly once a picture, pictures in order. Where memory is short the tensors of one picture
  come in several calls, disjoint ones; so count per tensor, not per call, and skip what is not there.
- ``minimum_of(t)`` and ``maximum_of(t)`` are names as well: arrays of shape (). They cost a tenth of the whole tensor,
  since the engine takes them where the values are.
- Values are finite: NaN and infinity end the walk before an observer sees them.

Example:
    >>> class Means:
    ...     def __init__(self, tensors):
    ...         self.tensors, self.sums = tuple(tensors), {}
    ...
    ...     def observe(self, values):
    ...         for name in self.tensors:
    ...             if name in values:
    ...                 self.sums[name] = self.sums.get(name, 0) + values[name].mean(axis=(0, 2, 3))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

__all__ = ["Observer", "maximum_of", "minimum_of"]


class Observer(Protocol):
    """Watches some tensors of a float graph."""

    @property
    def tensors(self) -> Collection[str]:
        """Names of the tensors wanted, or of their extremes; must not change during a walk."""
        ...

    def observe(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Takes in values of one picture; ``values`` may hold tensors that others want."""
        ...


def minimum_of(tensor: str) -> str:
    """The name under which an observer asks for a tensor's least value."""
    return f"{tensor}/edgewright.ReduceMin"


def maximum_of(tensor: str) -> str:
    """The name under which an observer asks for a tensor's greatest value."""
    return f"{tensor}/edgewright.ReduceMax"
