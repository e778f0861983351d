"""The objective of training with simulated integers where none is given: answer as the float network does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import ClassifyDecode, ScoreActivation, SsdDecode
from edgewright.optimize.training.types import Loss

if TYPE_CHECKING:
    import torch

    from edgewright.bundle.manifest import Decode
    from edgewright.optimize.qat.network import Network
    from edgewright.optimize.training.types import Batch

__all__ = ["Imitation"]

_QUIET = 0.05
"""Weight of an anchor on which the float network sees nothing, so that it goes on seeing nothing."""
_TINY = 1e-6


class Imitation:
    """Distance from the float network's answers, and from the labels where there are any.

    Class scores: the divergence of the probabilities (Hinton et al. 2015). Box codes and other outputs: squared error
    over the float answers' own variance; boxes weighed by how sure the float network is of them.
    """

    adapters: torch.nn.Module | None = None

    def __init__(
        self, reference: Network, decode: Decode | None, *, labels: float = 0.0, temperature: float = 1.0
    ) -> None:
        """An objective.

        Args:
            reference: The float network; it is frozen.
            decode: How outputs are read; None treats them all alike.
            labels: Weight of the cross entropy with the labels of classified pictures.
            temperature: Softens the probabilities of a classifier.
        """
        self._reference = reference.eval().requires_grad_(requires_grad=False)
        self._decode, self._labels, self._temperature = decode, labels, temperature

    def __call__(self, module: torch.nn.Module, batch: Batch) -> Loss:
        """See ``Objective``."""
        import torch

        self._reference.to(batch.inputs.device)
        with torch.no_grad():
            taught = dict(zip(self._reference.output_names, self._reference(batch.inputs), strict=True))
        seen = dict(zip(self._reference.output_names, module(batch.inputs), strict=True))
        parts = {name: self._distance(name, taught, seen[name]) for name in seen}
        if self._labels and batch.classes is not None and isinstance(self._decode, ClassifyDecode):
            parts["labels"] = self._labels * self._entropy(seen[self._decode.scores], batch.classes)
        total = torch.stack(list(parts.values())).sum()
        return Loss(total, {name: float(part.detach()) for name, part in parts.items()})

    def describe(self) -> dict[str, Any]:
        """See ``Objective``; the float network's weights are part of the key through where training starts."""
        return {
            "objective": "imitation",
            "decode": repr(self._decode),
            "labels": self._labels,
            "temperature": self._temperature,
        }

    def _distance(self, name: str, taught: dict[str, torch.Tensor], seen: torch.Tensor) -> torch.Tensor:
        wanted, decode = taught[name], self._decode
        if decode is not None and name == decode.scores:
            if decode.activation is ScoreActivation.SOFTMAX:
                return _divergence(wanted, seen, self._temperature)
            return _weighed(wanted, seen, _QUIET + _scores(wanted, decode.activation))
        if isinstance(decode, SsdDecode) and name == decode.boxes:
            sure = _scores(taught[decode.scores], decode.activation)
            if decode.background is not None:
                keep = [k for k in range(sure.shape[-1]) if k != decode.background]
                sure = sure[..., keep]
            return _weighed(wanted, seen, _QUIET + sure.amax(-1, keepdim=True))
        return _weighed(wanted, seen, wanted.new_ones(()))

    def _entropy(self, scores: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        import torch

        known = classes >= 0
        if not bool(known.any()):
            return scores.sum() * 0.0
        flat = scores.reshape(len(scores), -1)[known]
        if isinstance(self._decode, ClassifyDecode) and self._decode.activation is not ScoreActivation.SOFTMAX:
            flat = flat.clamp(min=_TINY).log()
        return torch.nn.functional.cross_entropy(flat, classes[known])


def _divergence(wanted: torch.Tensor, seen: torch.Tensor, temperature: float) -> torch.Tensor:
    import torch

    before = (wanted / temperature).reshape(-1, wanted.shape[-1]).log_softmax(-1)
    after = (seen / temperature).reshape(-1, seen.shape[-1]).log_softmax(-1)
    loss: torch.Tensor = torch.nn.functional.kl_div(after, before, reduction="batchmean", log_target=True)
    return loss * temperature**2


def _weighed(wanted: torch.Tensor, seen: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    weight = weight.expand(wanted.shape)
    loss: torch.Tensor = (weight * (seen - wanted).square()).sum() / (weight.sum() * wanted.var() + _TINY)
    return loss


def _scores(values: torch.Tensor, activation: ScoreActivation) -> torch.Tensor:
    if activation is ScoreActivation.SIGMOID:
        return values.sigmoid()
    return values.softmax(-1) if activation is ScoreActivation.SOFTMAX else values
