"""What a user says about a TensorFlow model beyond its path: tensors of a graph, or a signature."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.optimize.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["GraphNames"]

_TENSOR = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*(:\d+)?")  # node names as TensorFlow allows them


@dataclass(frozen=True)
class GraphNames:
    """Where to enter and to leave a frozen graph.

    Attributes:
        inputs: The tensor that takes the picture, as ``node:0``; one name.
        outputs: The tensors to read, as ``node:0``.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Writes ``node`` as ``node:0``.

        Raises:
            SpecError: A name is none that TensorFlow allows, or comes twice, or there is more than one input.
        """
        object.__setattr__(self, "inputs", _tensors("--graph-inputs", self.inputs))
        object.__setattr__(self, "outputs", _tensors("--graph-outputs", self.outputs))
        if len(self.inputs) > 1:
            msg = f"--graph-inputs names {len(self.inputs)} tensors; a model with one picture input is needed"
            raise SpecError(msg)

    def __bool__(self) -> bool:
        """Whether anything was named."""
        return bool(self.inputs or self.outputs)


def _tensors(flag: str, names: Iterable[str]) -> tuple[str, ...]:
    full = []
    for name in names:
        if not _TENSOR.fullmatch(name):
            msg = f"{flag}: {name!r} is no tensor of a TensorFlow graph; write NODE:0, for example Preprocessor/sub:0"
            raise SpecError(msg)
        full.append(name if ":" in name else f"{name}:0")
    if len(set(full)) != len(full):
        msg = f"{flag} names a tensor twice: {', '.join(full)}"
        raise SpecError(msg)
    return tuple(full)
