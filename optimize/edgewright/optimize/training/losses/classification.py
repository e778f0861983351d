"""Cross entropy for classifiers, with label smoothing (Szegedy et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.bundle.manifest import ScoreActivation
from edgewright.optimize.errors import LabelsError
from edgewright.optimize.training.losses.outputs import log_shares

if TYPE_CHECKING:
    import torch

__all__ = ["class_loss"]


def class_loss(
    scores: torch.Tensor, classes: torch.Tensor | None, activation: ScoreActivation, smoothing: float
) -> torch.Tensor:
    """Mean loss over the labelled pictures, 0 where there are none.

    Args:
        scores: (n, classes), raw.
        classes: (n,) int64, -1 where there is no label.
        activation: What turns scores into probabilities; ``SIGMOID`` means each class by itself.
        smoothing: Part of the label that is spread over all classes.

    Raises:
        LabelsError: A label has no score.
    """
    from torch.nn import functional

    known = None if classes is None else classes >= 0
    if classes is None or known is None or not bool(known.any()):
        return scores[:0].sum()
    scores, classes = scores[known], classes[known]
    columns = scores.shape[-1]
    if int(classes.max()) >= columns:
        msg = f"a training picture is of class {int(classes.max())}, the network answers {columns} scores"
        raise LabelsError(msg)
    if activation is ScoreActivation.SIGMOID:
        wanted = functional.one_hot(classes, columns).float() * (1.0 - smoothing) + smoothing / columns
        each = functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none")
        return each.sum(-1).mean()
    shares = log_shares(scores, activation)
    loss: torch.Tensor = functional.nll_loss(shares, classes) * (1.0 - smoothing) - smoothing * shares.mean()
    return loss
