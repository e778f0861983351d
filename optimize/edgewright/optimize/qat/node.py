"""A node of an ONNX graph as the executor's operators see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from edgewright.optimize.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

__all__ = ["Builder", "NodeView", "Operation"]


@dataclass(frozen=True, eq=False)
class NodeView:
    """One node.

    Attributes:
        name: Its id (``node_id``).
        op_type: What it computes.
        opset: Version of the standard operators.
        attributes: By name; texts as ``str``.
        constants: Values of its inputs, by position; None where an input is computed or absent.
        present: Which inputs there are.
        outputs: How many it has.
        shape: Of its first output, for one picture; None where it is not known.
    """

    name: str
    op_type: str
    opset: int
    attributes: Mapping[str, Any]
    constants: tuple[NDArray[Any] | None, ...]
    present: tuple[bool, ...]
    outputs: int = 1
    shape: tuple[int, ...] | None = None

    def integer(self, name: str, default: int) -> int:
        """An attribute."""
        return int(self.attributes.get(name, default))

    def real(self, name: str, default: float) -> float:
        """An attribute."""
        return float(self.attributes.get(name, default))

    def text(self, name: str, default: str) -> str:
        """An attribute."""
        return str(self.attributes.get(name, default))

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """An attribute."""
        return tuple(int(value) for value in self.attributes.get(name, default))

    def given(self, position: int) -> bool:
        """Whether there is an input at this position."""
        return position < len(self.present) and self.present[position]

    def constant(self, position: int, what: str) -> NDArray[Any]:
        """The value of an input that must be constant.

        Raises:
            ModelError: It is computed, or absent.
        """
        value = self.constants[position] if position < len(self.constants) else None
        if value is None:
            raise self.refusal(f"its {what} must be constant")
        return value

    def optional(self, position: int, what: str) -> NDArray[Any] | None:
        """The same for an input that may be absent.

        Raises:
            ModelError: It is computed.
        """
        return self.constant(position, what) if self.given(position) else None

    def axes(self, position: int = 1) -> tuple[int, ...] | None:
        """Axes as an attribute (older operator sets) or as a constant input; None where there are none."""
        if "axes" in self.attributes:
            return self.integers("axes", ())
        value = self.optional(position, "axes")
        return None if value is None else tuple(int(axis) for axis in value.reshape(-1))

    def refusal(self, why: str) -> ModelError:
        """An error that names the node."""
        return ModelError(
            f"cannot train with node {self.name!r} ({self.op_type}): {why}; leave quantization-aware training out for "
            "this model"
        )


@dataclass(frozen=True, eq=False)
class Operation:
    """What a node computes.

    Attributes:
        call: On its inputs; closed over plain numbers only, so that a module holding it can be copied.
        inputs: Positions of the inputs that ``call`` takes, in order.
        moves: Whether it only moves, picks or repeats values of its first input, so that they stay on their grid.
    """

    call: Callable[..., Any]
    inputs: tuple[int, ...] = (0,)
    moves: bool = False


Builder: TypeAlias = "Callable[[NodeView], Operation]"
