"""Learning from labels: cross entropy for classifiers, the multibox loss for SSD-type detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import SpecError
from edgewright.optimize.training.losses.classification import class_loss
from edgewright.optimize.training.losses.multibox import Multibox, MultiboxSettings
from edgewright.optimize.training.losses.outputs import Reading, answers
from edgewright.optimize.training.types import Loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from edgewright.optimize.spec import ModelSpec
    from edgewright.optimize.training.types import Batch, Outputs

__all__ = ["Supervised"]


class Supervised:
    """An ``Objective`` that follows labels; pictures without labels count nothing."""

    adapters: torch.nn.Module | None = None

    def __init__(
        self,
        spec: ModelSpec,
        output_names: Sequence[str],
        *,
        smoothing: float = 0.0,
        multibox: MultiboxSettings | None = None,
    ) -> None:
        """Finds the outputs.

        Args:
            spec: How the outputs are read.
            output_names: Of what the module answers, in order.
            smoothing: Part of a class label that is spread over all classes.
            multibox: How a detector learns; None takes the defaults.

        Raises:
            SpecError: The head is one that nothing here can train, or an output is missing.
        """
        if not 0.0 <= smoothing < 1.0:
            msg = f"smoothing is {smoothing}; it must lie between 0 and 1"
            raise SpecError(msg)
        self._reading = Reading(spec, output_names)
        self._smoothing = smoothing
        self._settings = multibox or MultiboxSettings()
        self._multibox = Multibox(self._reading, self._settings) if self._reading.detects else None

    def __call__(self, module: torch.nn.Module, batch: Batch) -> Loss:
        """See ``Objective``."""
        return self.judge(answers(module, batch.inputs), batch)

    def judge(self, outputs: Outputs, batch: Batch) -> Loss:
        """The loss of answers that are already there."""
        scores = self._reading.scores(outputs)
        if self._multibox is None:
            loss = class_loss(scores, batch.classes, self._reading.decode.activation, self._smoothing)
            return Loss(loss, {"classes": loss.item()})
        classes, boxes = self._multibox(scores, self._reading.codes(outputs), batch.boxes)
        return Loss(classes + boxes, {"classes": classes.item(), "boxes": boxes.item()})

    def describe(self) -> dict[str, Any]:
        """See ``Objective``."""
        how = {"smoothing": self._smoothing} if self._multibox is None else self._settings.to_json()
        return {"kind": "supervised", "decode": repr(self._reading.decode), **how}
