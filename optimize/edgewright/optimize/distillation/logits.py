"""Learning a classifier's answers (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.bundle.manifest import ScoreActivation
from edgewright.optimize.errors import SpecError
from edgewright.optimize.training.losses.outputs import log_shares

if TYPE_CHECKING:
    import torch

__all__ = ["logit_loss"]


def logit_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    temperature: float,
    activations: tuple[ScoreActivation, ScoreActivation],
) -> torch.Tensor:
    """Divergence of the student's softened answer from the teacher's, times the temperature squared, a picture on average.

    The square keeps the size of the gradient whatever the temperature (section 2 of the paper).

    Args:
        student: (n, classes), raw.
        teacher: (n, classes), raw.
        temperature: Above 0; higher tells more of the wrong classes.
        activations: What turns scores into probabilities, of both.

    Returns:
        One number, 0 for the same answers.

    Raises:
        SpecError: The two answer other numbers of classes.
    """
    from torch.nn import functional

    if student.shape != teacher.shape:
        msg = f"the student answers {student.shape[-1]} classes, the teacher {teacher.shape[-1]}; they must be the same"
        raise SpecError(msg)
    if ScoreActivation.SIGMOID in activations:
        if activations[0] is not activations[1]:
            msg = "one of student and teacher scores each class by itself (sigmoid), the other does not"
            raise SpecError(msg)
        ours, wanted = student / temperature, (teacher / temperature).sigmoid()
        least = functional.binary_cross_entropy_with_logits(teacher / temperature, wanted, reduction="none")
        each = functional.binary_cross_entropy_with_logits(ours, wanted, reduction="none") - least
        return each.sum(-1).mean() * temperature**2
    said, right = (
        (log_shares(scores, activation) / temperature).log_softmax(-1)
        for scores, activation in zip((student, teacher), activations, strict=True)
    )
    loss: torch.Tensor = (right.exp() * (right - said)).sum(-1).mean() * temperature**2
    return loss
