"""The optimizer of a training, and its state as named tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.bundle.errors import IntegrityError
from edgewright.optimize.training.settings import OptimizerName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from edgewright.optimize.training.settings import TrainSettings

__all__ = ["load_state", "open_optimizer", "set_rate", "state_of"]

_STATES = {OptimizerName.ADAMW: ("exp_avg", "exp_avg_sq", "step"), OptimizerName.SGD: ("momentum_buffer",)}


def open_optimizer(settings: TrainSettings, parameters: Sequence[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019), or SGD with Nesterov momentum and the classical decay through the gradient.

    Weights with fewer than two dimensions (biases, and those of norms) do not decay.

    Args:
        settings: Which, and its numbers.
        parameters: What is trained.
    """
    import torch

    decaying = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [
        {"params": members, "weight_decay": decay}
        for members, decay in ((decaying, settings.weight_decay), (others, 0.0))
        if members
    ]
    fused = all(parameter.is_floating_point() for parameter in parameters)
    if settings.optimizer is OptimizerName.ADAMW:
        return torch.optim.AdamW(groups, lr=settings.rate, fused=fused)
    nesterov = settings.momentum > 0
    return torch.optim.SGD(groups, lr=settings.rate, momentum=settings.momentum, nesterov=nesterov, fused=fused)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def state_of(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """What it remembers, by ``NUMBER OF THE PARAMETER.NAME``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def load_state(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], name: OptimizerName) -> None:
    """The inverse of ``state_of``, into a fresh optimizer for the same parameters.

    Raises:
        IntegrityError: The tensors are not such a state.
    """
    own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        number, _, leaf = key.partition(".")
        known = number.isdecimal() and int(number) < len(own) and leaf in _STATES[name]
        if not known or value.shape not in (own[int(number)].shape, ()):
            msg = f"the optimizer's state holds {key}, which it does not have"
            raise IntegrityError(msg)
        state.setdefault(int(number), {})[leaf] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
