"""Learning a detector's raw maps: which anchors see what, and their box codes.

Nearly all anchors see nothing, and a mean over all of them would teach little else. So each counts by the teacher's score
there, and for the classes by the student's as well, where it sees what the teacher does not (Chen et al. 2017, "Learning
Efficient Object Detection Models with Knowledge Distillation", weigh the background down by a constant instead). No labels
are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.bundle.manifest import ScoreActivation, SsdDecode
from edgewright.optimize.errors import SpecError

if TYPE_CHECKING:
    import torch

    from edgewright.optimize.training.losses.outputs import Reading

__all__ = ["map_loss"]

_FLOOR = 0.01  # of the weight of an anchor where neither sees anything
_LEAST_SHARE = 1e-6


def map_loss(
    reading: Reading,
    student: tuple[torch.Tensor, torch.Tensor],
    teacher: tuple[torch.Tensor, torch.Tensor],
    temperature: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of the class map and of the box codes, for each object that the teacher sees on average.

    Args:
        reading: How both are read.
        student: Scores (n, anchors, columns) and codes (n, anchors, 4), raw.
        teacher: The same.
        temperature: Softens both sides' class maps.

    Returns:
        Both are 0 for the same answers.

    Raises:
        SpecError: The two have other numbers of anchors or classes.
    """
    import torch
    from torch.nn import functional

    decode = reading.decode
    shapes = [tuple(part.shape[1:]) for part in (*student, *teacher)]
    if not isinstance(decode, SsdDecode) or shapes[:2] != shapes[2:]:
        msg = f"the student's scores and codes are {shapes[:2]}, the teacher's {shapes[2:]}; they must have the same anchors"
        raise SpecError(msg)
    foreground = reading.foreground(student[0].shape[-1])
    with torch.no_grad():
        certain = _shares(teacher[0], decode.activation)[..., foreground].amax(-1)
        ours = _shares(student[0], decode.activation)[..., foreground].amax(-1)
        weight = torch.maximum(certain, ours).clamp_min(_FLOOR)
        objects = certain.square().sum().clamp_min(1.0)
    apart = _divergence(student[0], teacher[0], decode.activation, temperature, foreground)
    codes = functional.smooth_l1_loss(student[1], teacher[1], reduction="none").sum(-1)
    return (weight * apart).sum() / objects, (certain.square() * codes).sum() / objects


def _shares(scores: torch.Tensor, activation: ScoreActivation) -> torch.Tensor:
    if activation is ScoreActivation.SOFTMAX:
        return scores.softmax(-1)
    return scores.sigmoid() if activation is ScoreActivation.SIGMOID else scores


def _divergence(
    student: torch.Tensor,
    teacher: torch.Tensor,
    activation: ScoreActivation,
    temperature: float,
    foreground: list[int],
) -> torch.Tensor:
    """(n, anchors): Kullback-Leibler divergence of the student's classes from the teacher's, times temperature squared."""
    from torch.nn import functional

    square = temperature**2
    if activation is ScoreActivation.SOFTMAX:
        said, right = ((scores / temperature).log_softmax(-1) for scores in (student, teacher))
        return (right.exp() * (right - said)).sum(-1) * square
    ours, theirs = student[..., foreground], teacher[..., foreground]
    if activation is ScoreActivation.NONE:
        ours, theirs = (share.clamp(_LEAST_SHARE, 1.0 - _LEAST_SHARE).logit() for share in (ours, theirs))
    ours, theirs = ours / temperature, theirs / temperature
    wanted = theirs.sigmoid()
    least = functional.binary_cross_entropy_with_logits(theirs, wanted, reduction="none")
    each = functional.binary_cross_entropy_with_logits(ours, wanted, reduction="none")
    return (each - least).sum(-1) * square
