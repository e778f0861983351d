"""How long it is trained, how fast at each step, and when it is looked at: pure functions of the step.

Linear warm-up (Goyal et al. 2017), then a cosine (Loshchilov & Hutter 2017), a line, or nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgewright.optimize.training.settings import Schedule

if TYPE_CHECKING:
    from edgewright.optimize.training.settings import TrainSettings

__all__ = ["looks_at", "rate_at", "steps_of"]


def steps_of(settings: TrainSettings, pictures: int) -> int:
    """Steps that a training takes.

    Args:
        settings: Its passes, and the pictures a step.
        pictures: Of the training set, at least 1.
    """
    return max(1, round(settings.epochs * pictures / min(settings.batch, pictures)))


def rate_at(settings: TrainSettings, step: int, steps: int) -> float:
    """Learning rate of a step: ``rate`` at the end of the warm-up, ``floor * rate`` at the last step.

    Args:
        settings: The schedule.
        step: From 1.
        steps: Of the whole training.
    """
    rising = min(round(settings.warmup * steps), steps - 1)
    if step <= rising:
        return settings.rate * step / (rising + 1)
    if settings.schedule is Schedule.CONSTANT:
        return settings.rate
    gone = (step - rising - 1) / max(1, steps - rising - 1)
    left = 1.0 - gone if settings.schedule is Schedule.LINEAR else 0.5 * (1.0 + math.cos(math.pi * gone))
    return settings.rate * (settings.floor + (1.0 - settings.floor) * left)


def looks_at(settings: TrainSettings, steps: int) -> frozenset[int]:
    """The steps after which it is looked at: evenly spread, the last among them.

    Args:
        settings: How often.
        steps: Of the whole training.
    """
    return frozenset(max(1, steps * number // settings.evaluations) for number in range(1, settings.evaluations + 1))
