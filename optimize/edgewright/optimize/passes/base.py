"""What a graph pass is, and what it promises.

A pass takes an ONNX model and returns a ``PassResult``: the model, whether it changed, and notes for the report.
It may edit the model it is given (the runner hands out copies). The runner, not the pass, checks that

- ``changed`` is the truth;
- names, order, types and shapes of the graph's inputs and outputs are what they were;
- ``onnx.checker`` accepts the result;
- the outputs on real pictures agree with those of the model before the pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import onnx

__all__ = ["Pass", "PassResult"]


@dataclass(frozen=True, eq=False)
class PassResult:
    """What a pass leaves.

    Attributes:
        model: The model, changed or not.
        changed: Whether it differs from the one given.
        notes: What was done, in words, for the report; empty when nothing was.
    """

    model: onnx.ModelProto
    changed: bool
    notes: tuple[str, ...] = ()


class Pass(Protocol):
    """One transformation of a graph."""

    @property
    def name(self) -> str:
        """Short name for reports and errors, words joined by hyphens."""
        ...

    def run(self, model: onnx.ModelProto) -> PassResult:
        """Transforms ``model``, which it may edit in place."""
        ...
