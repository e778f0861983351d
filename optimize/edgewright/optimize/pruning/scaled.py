"""The same architecture with fewer channels everywhere, and fresh weights: a student for distillation."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import PassError, SpecError
from edgewright.optimize.pruning.layers import is_weighted
from edgewright.optimize.pruning.settings import PruneSettings, PruneTarget
from edgewright.optimize.pruning.step import choose, culprits, find_candidates, own_copy, parameters_frozen, take_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from edgewright.optimize.spec import SourceModel

__all__ = ["scaled_copy"]


def scaled_copy(source: SourceModel, width: float, seed: int, *, round_to: int = 8) -> SourceModel:
    """Makes a narrower network.

    Args:
        source: Not changed.
        width: Share of the channels that every layer keeps, more than 0 and at most 1; outputs keep all of theirs.
        seed: Of the fresh weights; the same seed gives the same weights.
        round_to: Channels are kept in multiples of this, rounded to the nearest.

    Returns:
        A network of its own, with fresh weights (He et al. 2015 in front of rectifiers) in evaluation mode.

    Raises:
        SpecError: The width is no share.
        ModelError: The network cannot be traced.
        PassError: Nothing in it can be narrowed.
        MissingExtraError: Torch-Pruning is not installed.
    """
    if not 0.0 < width <= 1.0:
        msg = f"width is {width}; give the share of the channels to keep, more than 0 and at most 1"
        raise SpecError(msg)
    settings = PruneSettings(PruneTarget(macs=0.5), round_to=round_to, most=0.999)
    made = own_copy(source)
    frozen = parameters_frozen(made.module)
    excluded: dict[str, str] = {}
    heads: tuple[str, ...] = ()
    while True:
        candidates = find_candidates(made, settings, {}, excluded)
        heads = candidates.traced.heads
        if not candidates.traced.groups:
            msg = f"{source.spec.name} cannot be made narrower: {'; '.join(map(str, candidates.skipped[:12]))}"
            raise PassError(msg)
        # A network is narrowed where it stands, before its weights are drawn, so that which channels go means nothing.
        scores = {group.name: np.zeros(len(group.units)) for group in candidates.traced.groups}
        counts = _counts(candidates.allowed, width)
        removals = choose(candidates.traced.groups, counts, scores)
        backup = copy.deepcopy(made.module)
        if take_out(made, candidates, removals, settings.seed):
            break
        made = replace(made, module=backup)
        excluded |= culprits(made, settings, removals, excluded)
    _draw(made.module, heads, seed)
    for name, parameter in made.module.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return made


def _counts(allowed: Mapping[str, tuple[int, ...]], width: float) -> dict[str, int]:
    return {name: min(choices, key=lambda count: abs(count - width * choices[-1])) for name, choices in allowed.items()}


def _draw(module: torch.nn.Module, heads: tuple[str, ...], seed: int) -> None:
    """Fresh weights, from a generator of our own for those we know, and with PyTorch's put back for the rest."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, part in module.named_modules():
            _reset(part, is_head=name in heads)


def _reset(part: Any, *, is_head: bool) -> None:
    import torch

    if is_weighted(part):
        torch.nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="linear" if is_head else "relu")
        if part.bias is not None:
            torch.nn.init.zeros_(part.bias)
    elif hasattr(part, "reset_parameters"):
        part.reset_parameters()
