"""What determines a training, as one digest: a checkpoint is gone on from only where all of it is the same."""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import TYPE_CHECKING, Any

from edgewright.optimize.steps import tool_versions
from edgewright.optimize.training.tensors import digest_of, tensors_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch

    from edgewright.optimize.training.settings import TrainSettings
    from edgewright.optimize.training.types import Objective, TrainingSet

__all__ = ["key_of", "network_of"]

_FORMAT = 2
_NO_MATTER = frozenset({"checkpoint_minutes"})
_AS_CHOSEN = frozenset({"device", "threads"})  # what was chosen counts, not what was asked for
_NOT_THE_USERS = ("torch.", "builtins", "edgewright.")  # their versions are in the key


def key_of(
    module: torch.nn.Module,
    training_set: TrainingSet,
    objective: Objective,
    settings: TrainSettings,
    extra: Mapping[str, Any],
    *,
    device: torch.device,
) -> str:
    """SHA-256 over all that determines the result.

    Args:
        module: With its first weights.
        training_set: Its pictures, by their digest.
        objective: What is made small, by its description; and the first weights of what it learns.
        settings: All of them that matter to the result.
        extra: JSON values: whatever else does, such as the title, the hooks, and when it may stop early.
        device: Where it is trained. Kernels add up in another order on another device, or with other threads.
    """
    import torch

    adapters = objective.adapters
    left_out = _NO_MATTER | _AS_CHOSEN
    said = {
        "format": _FORMAT,
        "tools": {**tool_versions(), "torch": torch.__version__},
        "settings": {name: value for name, value in settings.to_json().items() if name not in left_out},
        "device": [device.type, settings.threads or torch.get_num_threads()],
        "code": [_code_of(part) for part in (module, adapters) if part is not None],
        "set": training_set.digest,
        "objective": objective.describe(),
        "module": _layers(module),
        "weights": digest_of(tensors_of(module)),
        "trained": [name for name, parameter in module.named_parameters() if parameter.requires_grad],
        "adapters": [] if adapters is None else [_layers(adapters), digest_of(tensors_of(adapters))],
        "extra": dict(extra),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def network_of(module: torch.nn.Module) -> str:
    """SHA-256 over the layers of a module and their sizes, whatever their weights, code and training.

    Args:
        module: The network.
    """
    sizes = {name: list(tensor.shape) for name, tensor in tensors_of(module).items()}
    return hashlib.sha256(json.dumps([_layers(module), sizes], sort_keys=True).encode()).hexdigest()


def _code_of(module: torch.nn.Module) -> dict[str, str]:
    """SHA-256 of the source of each class that the layers are made of, by its name.

    Other code with the same weights computes something else. Classes whose source nobody has, such as those typed into
    a prompt, are left out.
    """
    classes = {kind for part in module.modules() for kind in type(part).__mro__}
    found = {}
    for kind in classes:
        if f"{kind.__module__}.".startswith(_NOT_THE_USERS):
            continue
        try:
            source = inspect.getsource(kind)
        except (OSError, TypeError):
            continue
        found[f"{kind.__module__}.{kind.__qualname__}"] = hashlib.sha256(source.encode()).hexdigest()
    return found


def _layers(module: torch.nn.Module) -> Iterable[list[str]]:
    """Each layer's name, kind, and what it says of itself, such as a stride."""
    return [[name, type(part).__qualname__, part.extra_repr()] for name, part in module.named_modules()]
