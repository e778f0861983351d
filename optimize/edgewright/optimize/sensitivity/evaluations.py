"""What was measured for each set of nodes in float; kept as JSON values, so that nothing is measured twice."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import DataError, JudgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from edgewright.optimize.quantization.writer import QuantizedGraph

__all__ = ["Evaluation", "Evaluations", "Losses", "OutOfTimeError", "Quantize"]

Quantize = "Callable[[frozenset[str]], QuantizedGraph]"
Losses = "Callable[[QuantizedGraph], NDArray[np.float64]]"
_VERSION = 1


class OutOfTimeError(Exception):
    """The deadline leaves no room for another evaluation; caught by the search itself."""


@dataclass(frozen=True)
class Evaluation:
    """One candidate, measured.

    Attributes:
        nodes: What stays in float.
        losses: Picture by picture; smaller is better.
        bytes: Size of the file.
        seconds: How long quantizing and running took.
    """

    nodes: frozenset[str]
    losses: tuple[float, ...]
    bytes: int
    seconds: float

    @property
    def loss(self) -> float:
        """Mean over the pictures."""
        return float(np.mean(self.losses)) if self.losses else math.inf

    def to_json(self) -> dict[str, Any]:
        """JSON values; infinity, which JSON has not, becomes None."""
        return {
            "nodes": sorted(self.nodes),
            "losses": [loss if math.isfinite(loss) else None for loss in self.losses],
            "bytes": self.bytes,
            "seconds": self.seconds,
        }

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Evaluation:
        """Reads ``to_json``.

        Raises:
            DataError: It is no evaluation.
        """
        try:
            losses = tuple(math.inf if loss is None else float(loss) for loss in row["losses"])
            return Evaluation(frozenset(map(str, row["nodes"])), losses, int(row["bytes"]), float(row["seconds"]))
        except (KeyError, TypeError, ValueError) as error:
            msg = f"the saved state of the sensitivity search is damaged ({error!r}); remove it and start anew"
            raise DataError(msg) from error


class Evaluations:
    """Measures sets of nodes, each once."""

    def __init__(
        self,
        quantize: Callable[[frozenset[str]], QuantizedGraph],
        losses: Callable[[QuantizedGraph], NDArray[np.float64]],
        *,
        left: Callable[[], float],
        state: Mapping[str, Any] | None = None,
        on_state: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        """Takes up a saved state.

        Args:
            quantize: Makes the candidate with these nodes in float.
            losses: Measures one.
            left: Seconds left.
            state: From ``to_json`` of an earlier run over the same model and pictures.
            on_state: Given the state after each new evaluation, to be saved.

        Raises:
            DataError: The state is of another version, or damaged.
        """
        self._quantize, self._losses, self._left, self._on_state = quantize, losses, left, on_state
        self._known: dict[frozenset[str], Evaluation] = {}
        self.fresh = 0
        if state:
            if state.get("version") != _VERSION:
                msg = f"the saved state of the sensitivity search has version {state.get('version')!r}, not {_VERSION}"
                raise DataError(msg)
            for row in state.get("evaluations", ()):
                evaluation = Evaluation.from_json(row)
                self._known[evaluation.nodes] = evaluation

    def __iter__(self) -> Iterator[Evaluation]:
        """In the order in which they were made."""
        return iter(self._known.values())

    def __contains__(self, nodes: frozenset[str]) -> bool:
        """Whether these nodes were measured."""
        return nodes in self._known

    def __call__(self, nodes: frozenset[str]) -> Evaluation:
        """Measures ``nodes`` in float, or remembers.

        Raises:
            OutOfTimeError: It would not be done before the deadline, going by the evaluations so far.
            JudgeError: The first set cannot be quantized or run.
        """
        if nodes in self._known:
            return self._known[nodes]
        usual = max((evaluation.seconds for evaluation in self), default=0.0)
        if self._left() <= usual and self._known:
            raise OutOfTimeError
        start = time.monotonic()
        losses, size = self._measured(nodes)
        evaluation = Evaluation(nodes, losses, size, time.monotonic() - start)
        self._known[nodes] = evaluation
        self.fresh += 1
        if self._on_state is not None:
            self._on_state(self.to_json())
        return evaluation

    def _measured(self, nodes: frozenset[str]) -> tuple[tuple[float, ...], int]:
        """Losses and size; a set that cannot be quantized or run is infinitely bad, unless it is the first of all."""
        try:
            candidate = self._quantize(nodes)
            return tuple(float(loss) for loss in self._losses(candidate)), len(candidate.model)
        except JudgeError:
            plain = self._known.get(frozenset())
            if plain is None:
                raise
            return (math.inf,) * len(plain.losses), plain.bytes

    def to_json(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {"version": _VERSION, "evaluations": [evaluation.to_json() for evaluation in self]}
