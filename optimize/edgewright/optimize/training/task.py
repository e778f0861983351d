"""What is asked of a training, and the words for what may go wrong with its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from edgewright.optimize.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from edgewright.optimize.training.settings import TrainSettings
    from edgewright.optimize.training.types import Loss, Objective, TrainingSet

__all__ = ["Hook", "Task", "check_loss", "describe_hooks", "not_finite", "settled"]

Hook: TypeAlias = "Callable[[torch.nn.Module, int, int], None]"
"""Called with the module, the step from 1, and the number of steps, after every step: a pure function of these.

It may carry a method ``describe() -> dict`` whose JSON values determine it, for the key of a checkpoint, and a method
``settled(step, steps) -> bool`` that says whether the weights are by then of the kind that is wanted: weights from before
are no result, however good their metric.
"""


@dataclass(frozen=True, eq=False)
class Task:
    """What is asked of a training.

    Attributes:
        module: What is trained, in place.
        training_set: On what.
        objective: What is made small.
        title: For people, and to tell trainings apart.
        evaluate: The metric of the module as it is, larger is better; None measures none.
        enough: Whether a metric is good enough to stop; None never stops for that.
        hooks: Called after every step.
    """

    module: torch.nn.Module
    training_set: TrainingSet
    objective: Objective
    title: str
    evaluate: Callable[[torch.nn.Module], float] | None = None
    enough: Callable[[float], bool] | None = None
    hooks: Sequence[Hook] = ()


def describe_hooks(hooks: Sequence[Hook]) -> list[Any]:
    """What is known of each, for the key of a checkpoint."""
    said = []
    for hook in hooks:
        describe = getattr(hook, "describe", None)
        name = getattr(hook, "__qualname__", type(hook).__qualname__)
        said.append([name, describe() if callable(describe) else None, hasattr(hook, "settled")])
    return said


def settled(hooks: Sequence[Hook], step: int, steps: int) -> bool:
    """Whether the weights after a step may be the result, by all hooks that say."""
    asked = [hook.settled for hook in hooks if hasattr(hook, "settled")]
    return all(ask(step, steps) for ask in asked)


def check_loss(loss: Loss, title: str) -> None:
    """Refuses what no gradient can be taken of.

    Raises:
        TrainingError: Saying what the objective gave.
    """
    total = loss.total
    if total.ndim or not total.requires_grad:
        given = f"values of shape {tuple(total.shape)}" if total.ndim else "a number that depends on no weight"
        msg = (
            f"{title}: the objective gave {given}; it must give one number that was computed from the module's weights"
        )
        raise TrainingError(msg)


def not_finite(
    what: str, parts: Mapping[str, float], settings: TrainSettings, where: tuple[int, int, int]
) -> TrainingError:
    """What is raised when numbers ran away.

    Args:
        what: Which numbers.
        parts: Of the loss, by name.
        settings: To name the ones that may cure it.
        where: The step, the number of steps, and the step whose weights were put back.
    """
    step, steps, kept = where
    listed = ", ".join(f"{name} {value:.4g}" for name, value in parts.items())
    clip = f"clip {settings.clip:g}" if settings.clip else "no clip"
    return TrainingError(
        f"{what} at step {step} of {steps}{f' ({listed})' if listed else ''}; the weights of step {kept} were put back. "
        f"Train with a lower rate (it was {settings.rate:g}), a shorter clip (it was {clip}) or a longer warmup (it was "
        f"{settings.warmup:g}), and look for pictures or labels that are not what they should be",
        step=step,
    )
