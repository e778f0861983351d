"""A module's answers by the meaning that its spec gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import ClassifyDecode, ScoreActivation, SsdDecode
from edgewright.optimize.errors import ModelError, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from edgewright.optimize.spec import ModelSpec
    from edgewright.optimize.training.types import Outputs

__all__ = ["Reading", "answers", "log_shares"]

_LEAST_SHARE = 1e-7


def answers(module: torch.nn.Module, inputs: torch.Tensor) -> Outputs:
    """What a module answers, always a tuple."""
    made: Any = module(inputs)
    return tuple(made) if isinstance(made, (tuple, list)) else (made,)


class Reading:
    """Finds scores and box codes among a module's outputs."""

    def __init__(self, spec: ModelSpec, output_names: Sequence[str]) -> None:
        """Looks up positions.

        Args:
            spec: Its ``decode`` names the outputs.
            output_names: Of what the module answers, in order.

        Raises:
            SpecError: An output is missing, or the head is one that nothing here can train.
        """
        decode: object = spec.decode  # the type may grow; what is written below is not about the types of today
        if not isinstance(decode, (ClassifyDecode, SsdDecode)):
            msg = (
                f"{spec.name}: there is no loss for a {type(decode).__name__} head; classifiers and SSD-type "
                "detectors can be trained"
            )
            raise SpecError(msg)
        missing = [name for name in spec.output_names if name not in output_names]
        if missing:
            msg = f"{spec.name}: the network has no output {missing[0]!r}; it has {', '.join(output_names)}"
            raise SpecError(msg)
        self.spec = spec
        self.decode: ClassifyDecode | SsdDecode = decode
        self.names = tuple(output_names)
        self.anchors = len(spec.arrays[decode.anchors]) if isinstance(decode, SsdDecode) else 1

    def scores(self, outputs: Outputs) -> torch.Tensor:
        """(n, classes) of a classifier, (n, anchors, columns) of a detector; raw."""
        found = self._find(outputs, self.decode.scores)
        count = found.shape[0]
        return found.reshape(count, self.anchors, -1) if self.detects else found.reshape(count, -1)

    def codes(self, outputs: Outputs) -> torch.Tensor:
        """(n, anchors, 4) box codes of a detector, in the head's order."""
        if not isinstance(self.decode, SsdDecode):
            msg = f"{self.spec.name} is a classifier; it has no boxes"
            raise SpecError(msg)
        found = self._find(outputs, self.decode.boxes)
        return found.reshape(found.shape[0], self.anchors, 4)

    @property
    def detects(self) -> bool:
        """Whether it is a detector."""
        return isinstance(self.decode, SsdDecode)

    def foreground(self, columns: int) -> list[int]:
        """Score columns of the labels, in order: all but the background."""
        background = self.decode.background if isinstance(self.decode, SsdDecode) else None
        return [column for column in range(columns) if column != background]

    def _find(self, outputs: Outputs, name: str) -> torch.Tensor:
        if len(outputs) != len(self.names):
            msg = (
                f"{self.spec.name}: the network answers {len(outputs)} tensors, its outputs are {', '.join(self.names)}"
            )
            raise ModelError(msg)
        return outputs[self.names.index(name)].float()


def log_shares(scores: torch.Tensor, activation: ScoreActivation) -> torch.Tensor:
    """Logarithms of class shares along the last axis; softmax of these is what the network says.

    Args:
        scores: Raw.
        activation: ``NONE`` where the network ends in a softmax itself.
    """
    if activation is ScoreActivation.NONE:
        return scores.clamp_min(_LEAST_SHARE).log()
    return scores.log_softmax(-1)
