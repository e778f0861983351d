"""What determines a training, as one digest: a checkpoint is gone on from only where all of it is the same."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from edgewright.optimize.training.tensors import digest_of, tensors_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch

    from edgewright.optimize.training.settings import TrainSettings
    from edgewright.optimize.training.types import Objective, TrainingSet

__all__ = ["key_of"]

_FORMAT = 1
_NO_MATTER = frozenset({"checkpoint_minutes"})


def key_of(
    module: torch.nn.Module,
    training_set: TrainingSet,
    objective: Objective,
    settings: TrainSettings,
    extra: Mapping[str, Any],
) -> str:
    """SHA-256 over all that determines the result.

    Args:
        module: With its first weights.
        training_set: Its pictures, by their digest.
        objective: What is made small, by its description; and the first weights of what it learns.
        settings: All of them that matter to the result.
        extra: JSON values: whatever else does, such as the title, the hooks, and when it may stop early.
    """
    import torch

    adapters = objective.adapters
    said = {
        "format": _FORMAT,
        "torch": torch.__version__,
        "settings": {name: value for name, value in settings.to_json().items() if name not in _NO_MATTER},
        "set": training_set.digest,
        "objective": objective.describe(),
        "module": _layers(module),
        "weights": digest_of(tensors_of(module)),
        "trained": [name for name, parameter in module.named_parameters() if parameter.requires_grad],
        "adapters": [] if adapters is None else [_layers(adapters), digest_of(tensors_of(adapters))],
        "extra": dict(extra),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _layers(module: torch.nn.Module) -> Iterable[list[str]]:
    """Each layer's name, kind, and what it says of itself, such as a stride."""
    return [[name, type(part).__qualname__, part.extra_repr()] for name, part in module.named_modules()]
