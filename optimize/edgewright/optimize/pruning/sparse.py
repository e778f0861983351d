"""Unstructured and N:M magnitude pruning: single weights become zero, and stay in the file.

A gradual schedule (Zhu & Gupta 2017, "To prune, or not to prune") raises the share of zeros while the network trains; N:M
keeps N of every M neighbours (Mishra et al. 2021). Which weights are zero follows from the weights and the number of the
step alone, so that training goes on after a stop as if there had been none. A weight may come back when it outgrows the
smallest one kept (Guo et al. 2016, "Dynamic Network Surgery").
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from edgewright.optimize.errors import SpecError
from edgewright.optimize.pruning.layers import is_weighted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = ["SparseSettings", "Sparsity", "SparsityHook", "make_sparse_permanent", "sparsity_of"]


@dataclass(frozen=True)
class SparseSettings:
    """Which weights become zero.

    Attributes:
        share: Of the weights that become zero; None with ``pattern``.
        pattern: (n, m): n of every m neighbours along a filter's inputs stay; None with ``share``.
        across: Rank all layers' weights in one list, each brought to its layer's size, instead of each layer's alone.
        begin: Part of all steps before the first zeros.
        end: Part of all steps at which the last ones come.
        keep: Patterns of module names that stay dense.
        least: Layers with fewer weights stay dense.
    """

    share: float | None = None
    pattern: tuple[int, int] | None = None
    across: bool = False
    begin: float = 0.0
    end: float = 0.75
    keep: tuple[str, ...] = ()
    least: int = 256

    def __post_init__(self) -> None:
        """Refuses what cannot be done.

        Raises:
            SpecError: Naming the setting.
        """
        if (self.share is None) == (self.pattern is None):
            msg = "give either share (of the weights that become zero) or pattern (such as 2, 4), and not both"
            raise SpecError(msg)
        if self.share is not None and not 0.0 < self.share < 1.0:
            msg = f"share is {self.share}; give the share of the weights that become zero, between 0 and 1"
            raise SpecError(msg)
        if self.pattern is not None and not 0 < self.pattern[0] < self.pattern[1]:
            msg = (
                f"pattern is {self.pattern[0]}:{self.pattern[1]}; the first number must be below the second, as in 2:4"
            )
            raise SpecError(msg)
        if not 0.0 <= self.begin <= self.end <= 1.0:
            msg = f"begin is {self.begin} and end {self.end}; both are parts of all steps, begin not after end"
            raise SpecError(msg)

    @property
    def final(self) -> float:
        """The share of zeros at the end, in the layers concerned."""
        return float(self.share) if self.pattern is None else 1.0 - self.pattern[0] / self.pattern[1]  # type: ignore[arg-type]

    def share_at(self, step: int, steps: int) -> float:
        """The share of zeros after a step, from 1: cubic between ``begin`` and ``end``."""
        first, last = self.begin * steps, self.end * steps
        if step >= last:
            return self.final
        if step <= first:
            return 0.0
        return self.final * (1.0 - (1.0 - (step - first) / (last - first)) ** 3)


@dataclass(frozen=True)
class Sparsity:
    """Zeros among the weights of convolutions and linear layers.

    Attributes:
        zeros: How many weights are zero.
        weights: How many there are.
        layers: Share of zeros by layer.
    """

    zeros: int
    weights: int
    layers: Mapping[str, float]

    @property
    def share(self) -> float:
        """Share of zeros."""
        return self.zeros / self.weights if self.weights else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {"zeros": self.zeros, "weights": self.weights, "share": self.share, "layers": dict(self.layers)}


class SparsityHook:
    """Called after every optimizer step; see ``training.trainer.Hook``."""

    def __init__(self, module: torch.nn.Module, settings: SparseSettings) -> None:
        """Looks up the layers concerned.

        Raises:
            SpecError: There are none.
        """
        self._settings = settings
        _layers(module, settings)

    def __call__(self, module: torch.nn.Module, step: int, steps: int) -> None:
        """Sets weights to zero, as many as belong to the step."""
        _apply(module, self._settings, self._settings.share_at(step, steps))

    def settled(self, step: int, steps: int) -> bool:
        """Whether all zeros are there: looks before that are at a denser network than the one that is wanted."""
        return step >= self._settings.end * steps

    def describe(self) -> dict[str, Any]:
        """JSON values that determine what it does, for the key of a checkpoint."""
        return {"kind": "sparsity", **asdict(self._settings)}


def make_sparse_permanent(module: torch.nn.Module, settings: SparseSettings) -> Sparsity:
    """Sets weights to zero as at the end of the schedule, in place; doing it twice changes nothing.

    After training with a running mean of weights this is needed once more: a mean of masked weights is not masked.

    Raises:
        SpecError: No layer is concerned.
    """
    _apply(module, settings, settings.final)
    return sparsity_of(module)


def sparsity_of(module: torch.nn.Module) -> Sparsity:
    """Counts zeros in the weights of convolutions and linear layers."""
    shares, zeros, weights = {}, 0, 0
    for name, part in module.named_modules():
        if is_weighted(part):
            empty = int((part.weight == 0).sum())
            shares[name] = empty / part.weight.numel()
            zeros, weights = zeros + empty, weights + part.weight.numel()
    return Sparsity(zeros, weights, shares)


def _layers(module: torch.nn.Module, settings: SparseSettings) -> dict[str, torch.Tensor]:
    found = {}
    group = 1 if settings.pattern is None else settings.pattern[1]
    for name, part in module.named_modules():
        if not is_weighted(part) or any(fnmatchcase(name, pattern) for pattern in settings.keep):
            continue
        weight = part.weight.detach()
        depthwise = getattr(part, "groups", 1) > 1 and weight.shape[1] == 1
        if weight.numel() < settings.least or depthwise or weight[0].numel() % group:
            continue
        found[name] = weight
    if not found:
        msg = (
            f"no layer is left to be made sparse: all are depthwise, kept, have fewer than {settings.least} weights, or a "
            f"filter that {group} does not divide"
        )
        raise SpecError(msg)
    return found


def _apply(module: torch.nn.Module, settings: SparseSettings, share: float) -> None:
    import torch

    if share <= 0.0:
        return
    layers = _layers(module, settings)
    with torch.no_grad():
        if settings.pattern is not None:
            for weight in layers.values():
                _zero_in_blocks(weight, settings.pattern[1], share)
        elif settings.across:
            sizes = {name: weight.square().mean().sqrt().clamp_min(1e-30) for name, weight in layers.items()}
            flat = torch.cat([(weight.abs() / sizes[name]).ravel() for name, weight in layers.items()])
            mask = _smallest(flat, round(share * flat.numel()))
            start = 0
            for weight in layers.values():
                weight[mask[start : start + weight.numel()].reshape(weight.shape)] = 0.0
                start += weight.numel()
        else:
            for weight in layers.values():
                mask = _smallest(weight.abs().ravel(), round(share * weight.numel()))
                weight[mask.reshape(weight.shape)] = 0.0


def _smallest(values: torch.Tensor, count: int) -> torch.Tensor:
    """A mask of the ``count`` smallest values, the first of equal ones."""
    import torch

    mask = torch.zeros_like(values, dtype=torch.bool)
    mask[torch.argsort(values, stable=True)[:count]] = True
    return mask


def _zero_in_blocks(weight: torch.Tensor, size: int, share: float) -> None:
    """In every block of neighbouring inputs the smallest weights go; a gradual share takes whole weights, rounded down."""
    import torch

    # Inputs last: engines with N:M kernels look at neighbours along the inputs.
    last = weight.movedim(1, -1) if weight.dim() > 2 else weight
    shape = last.shape
    blocks = last.reshape(-1, size)
    count = int(share * size + 1e-9)
    if count:
        order = torch.argsort(blocks.abs(), dim=1, stable=True)[:, :count]
        kept = blocks.scatter(1, order, 0.0).reshape(shape)
        weight.copy_(kept.movedim(-1, 1) if weight.dim() > 2 else kept)
