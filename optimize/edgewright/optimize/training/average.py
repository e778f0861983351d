"""The running mean of weights (Polyak & Juditsky 1992), which often does better than the last ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.training.tensors import tensors_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = ["Average"]


class Average:
    """An exponential mean of what is trained, and of the statistics of batch norms.

    It is corrected for the start the way Adam is (Kingma & Ba 2015): after ``t`` steps the weight of the newest values
    is ``(1 - decay) / (1 - decay ** t)``. Written as a step towards them, it leaves values that do not change exactly
    as they are. All other tensors, such as counters, are taken as they stand.
    """

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        """Begins without any steps.

        Args:
            module: Whose weights; its training decides which are averaged.
            decay: Between 0 and 1.
        """
        self._decay = decay
        self.count = 0
        self._names = _averaged(module)
        own = tensors_of(module)
        self._means = {name: own[name].detach().clone() for name in self._names}

    @property
    def values(self) -> dict[str, torch.Tensor]:
        """The mean by name."""
        return self._means

    def follow(self, module: torch.nn.Module) -> None:
        """Takes the weights of one more step."""
        import torch

        self.count += 1
        own = tensors_of(module)
        newest = (1.0 - self._decay) / (1.0 - self._decay**self.count)
        with torch.no_grad():
            torch._foreach_lerp_(  # what the optimizers of PyTorch are made of; one call for all
                list(self._means.values()), [own[name].detach() for name in self._names], newest
            )

    def restore(self, means: Mapping[str, torch.Tensor], count: int) -> None:
        """Goes on from what ``values`` and ``count`` were."""
        for name in self._names:
            self._means[name].copy_(means[name])
        self.count = count


def _averaged(module: torch.nn.Module) -> list[str]:
    from torch.nn.modules.batchnorm import _NormBase

    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    for path, part in module.named_modules():
        if isinstance(part, _NormBase) and part.running_mean is not None:
            names += [f"{path}.{leaf}".removeprefix(".") for leaf in ("running_mean", "running_var")]
    return names
