"""An ONNX graph as a PyTorch module that runs it operator by operator, float or with simulated integers.

Compiled once into a list of calls; a call is an operator closed over plain numbers, or one of the module's parts (layers
with weights, grids of activations), so the module can be copied and moved like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch  # noqa: TID253 - this module is a PyTorch module, imported only where something is trained
from torch import nn  # noqa: TID253

from edgewright.optimize.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgewright.optimize.qat.grids import ActivationGrid
    from edgewright.optimize.qat.layer import Layer

__all__ = ["Network", "Plan", "Step"]

Before: TypeAlias = "Callable[[str, tuple[torch.Tensor, ...]], None]"
After: TypeAlias = "Callable[[str, tuple[torch.Tensor, ...], Any], None]"


@dataclass(frozen=True, eq=False)
class Step:
    """One call.

    Attributes:
        node: Who asks for it, for messages.
        call: The operator; None for a part of the module.
        part: Position among the module's parts; -1 for an operator.
        inputs: Slots it reads.
        outputs: Slots it writes, -1 for an output nobody reads.
        single: Whether the call gives one value and not a tuple.
        dead: Slots nobody reads afterwards.
    """

    node: str
    call: Callable[..., Any] | None
    part: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    single: bool = True
    dead: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """What a network consists of.

    Attributes:
        steps: In order.
        parts: Layers and grids that steps call.
        slots: How many values there are.
        input: Slot of the picture.
        outputs: Slots of the answers.
        constants: Tensors by slot.
        layers: Parts that have weights, by node.
        grids: Parts that are grids, by the name of their step in the file.
        output_names: Of the answers.
    """

    steps: Sequence[Step]
    parts: Sequence[nn.Module]
    slots: int
    input: int
    outputs: Sequence[int]
    constants: Mapping[int, torch.Tensor]
    layers: Mapping[str, Layer]
    grids: Mapping[str, ActivationGrid]
    output_names: Sequence[str]


class Network(nn.Module):
    """(n, ...) pictures to a tuple of answers, in the order of the graph's outputs."""

    def __init__(self, plan: Plan) -> None:
        """A network that runs a plan (``build.build_network`` makes them)."""
        super().__init__()
        self.parts = nn.ModuleList(plan.parts)
        self.output_names = tuple(plan.output_names)
        self.one_by_one = False
        self._steps, self._slots = tuple(plan.steps), plan.slots
        self._input, self._outputs = plan.input, tuple(plan.outputs)
        self._places = {name: k for k, name in _places(plan.parts, plan.layers)}
        self._grids = {name: k for k, name in _places(plan.parts, plan.grids)}
        self._constants: list[tuple[int, str]] = []
        for slot, value in plan.constants.items():
            self.register_buffer(f"constant{slot}", value, persistent=False)
            self._constants.append((slot, f"constant{slot}"))

    @property
    def layers(self) -> dict[str, Layer]:
        """Operators with weights, by node."""
        return {name: self.parts[place] for name, place in self._places.items()}  # type: ignore[misc]

    @property
    def grids(self) -> dict[str, ActivationGrid]:
        """Grids of activations, by the name of their step in the file."""
        return {name: self.parts[place] for name, place in self._grids.items()}  # type: ignore[misc]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Runs the graph."""
        if self.one_by_one and len(x) > 1:
            each = [self._run(x[k : k + 1]) for k in range(len(x))]
            return tuple(torch.cat(parts) for parts in zip(*each, strict=True))
        return self._run(x)

    def watch(self, x: torch.Tensor, *, before: Before | None = None, after: After | None = None) -> None:
        """Runs the graph and shows what every step is given and gives.

        Args:
            x: Pictures.
            before: Told a node and its inputs before it runs; it may change the layer.
            after: Told a node, its inputs and its answer.
        """
        self._run(x, before, after)

    def _run(
        self, x: torch.Tensor, before: Before | None = None, after: After | None = None
    ) -> tuple[torch.Tensor, ...]:
        values: list[Any] = [None] * self._slots
        for slot, name in self._constants:
            values[slot] = self._buffers[name]
        values[self._input] = x
        parts = list(self.parts)
        for step in self._steps:
            given = [values[slot] for slot in step.inputs]
            if before is not None:
                before(step.node, tuple(given))
            try:
                answer = parts[step.part](*given) if step.call is None else step.call(*given)
            except (RuntimeError, IndexError, ValueError, TypeError) as error:
                if isinstance(error, (torch.OutOfMemoryError, NotImplementedError)):
                    raise
                msg = f"cannot train with node {step.node!r}: {' '.join(str(error).split())[:300]}"
                raise ModelError(msg) from error
            if after is not None:
                after(step.node, tuple(given), answer)
            if step.single:
                values[step.outputs[0]] = answer
            else:
                for slot, part in zip(step.outputs, answer, strict=True):
                    if slot >= 0:
                        values[slot] = part
            for slot in step.dead:
                values[slot] = None
        return tuple(values[slot] for slot in self._outputs)


def _places(parts: Sequence[nn.Module], named: Mapping[str, nn.Module]) -> list[tuple[int, str]]:
    where = {id(part): k for k, part in enumerate(parts)}
    return [(where[id(part)], name) for name, part in named.items()]
