"""One step of pruning: choose the channels, prove that they can go, take them out."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import ModelError, PassError
from edgewright.optimize.pruning.groups import ChannelGroup, Skipped, counts_allowed
from edgewright.optimize.pruning.removal import remove, silenced
from edgewright.optimize.pruning.tracing import Traced, probe_input, trace
from edgewright.optimize.pruning.watching import outputs_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    from edgewright.optimize.pruning.importance import Scores
    from edgewright.optimize.pruning.settings import PruneSettings
    from edgewright.optimize.spec import SourceModel

__all__ = [
    "Candidates",
    "choose",
    "culprits",
    "find_candidates",
    "freeze_again",
    "own_copy",
    "parameters_frozen",
    "take_out",
]

_TOLERANCE = 1e-3  # of the output's own size; sums in another order differ by a thousandth of that


@dataclass(frozen=True, eq=False)
class Candidates:
    """The groups of a module that can lose channels now.

    Attributes:
        traced: The module with these groups only.
        allowed: How many channels may remain in each, up to how many there are.
        skipped: The others, and why.
    """

    traced: Traced
    allowed: Mapping[str, tuple[int, ...]]
    skipped: tuple[Skipped, ...]


def own_copy(source: SourceModel) -> SourceModel:
    """The same with a module of its own, in evaluation mode.

    Raises:
        ModelError: It is no PyTorch module, or cannot be copied.
    """
    import torch

    where = source.spec.name
    if not isinstance(source.module, torch.nn.Module):
        msg = f"{where} is a {type(source.module).__name__} and no torch.nn.Module; its layers cannot be changed"
        raise ModelError(msg)
    try:
        return replace(source, module=copy.deepcopy(source.module).eval())
    except (RuntimeError, TypeError) as error:
        msg = f"{where} cannot be copied: {' '.join(str(error).split())[:300]}; let the factory make it without such parts"
        raise ModelError(msg) from error


def find_candidates(
    source: SourceModel, settings: PruneSettings, original: Mapping[str, int], excluded: Mapping[str, str]
) -> Candidates:
    """Traces a module and sets aside what cannot go.

    Args:
        source: Its module is put into evaluation mode, and its parameters are made trainable.
        settings: What is asked for.
        original: Channels of the groups as the network came, empty at first.
        excluded: Groups that were found impossible to prune, and why.

    Raises:
        ModelError: The module cannot be traced.
        SpecError: A pattern of ``keep`` matches nothing.
    """
    traced = trace(source, settings.keep, settings.seed)
    groups: list[ChannelGroup] = []
    allowed: dict[str, tuple[int, ...]] = {}
    skipped = list(traced.skipped)
    for group in traced.groups:
        whole = original.get(group.name, group.size)
        choices = counts_allowed(whole, group.units.shape[1], settings.round_to, settings.most)
        if group.name in excluded:
            skipped.append(Skipped(_layers(group), excluded[group.name]))
        elif len(choices) < 2 or len(group.units) < 2:
            skipped.append(Skipped(_layers(group), f"{whole} channels are too few to go down by {settings.round_to}"))
        else:
            groups.append(group)
            allowed[group.name] = (*(count for count in choices if count < group.size), group.size)
    return Candidates(replace(traced, groups=tuple(groups)), allowed, tuple(skipped))


def _layers(group: ChannelGroup) -> tuple[str, ...]:
    return tuple(member.name for member in group.makers)


def choose(groups: Sequence[ChannelGroup], counts: Mapping[str, int], scores: Scores) -> dict[str, NDArray[np.int64]]:
    """The channels that go: in each group those with the lowest scores, of equal ones the last.

    Args:
        groups: Of the module.
        counts: Channels that remain, by group.
        scores: Of units.

    Raises:
        ModelError: A score is not a number.
    """
    removals = {}
    for group in groups:
        values = scores[group.name]
        if not np.isfinite(values).all():
            msg = f"the importance of channels of {group.name} is not a number; look at its weights"
            raise ModelError(msg)
        keep = counts[group.name] // group.units.shape[1]
        order = np.argsort(-values, kind="stable")
        removals[group.name] = group.channels(order[keep:])
    return {name: channels for name, channels in removals.items() if len(channels)}


def take_out(source: SourceModel, candidates: Candidates, removals: Mapping[str, NDArray[np.int64]], seed: int) -> bool:
    """Takes channels out in place, and compares with the network in which their readers ignore them.

    Args:
        source: Its module is spoilt when the answer is no.
        candidates: Its groups.
        removals: Channels by group.
        seed: Of the input to compare on.

    Returns:
        Whether all outputs agree in shape and, where that can be expected, in value.
    """
    import torch

    traced, where = candidates.traced, source.spec.name
    picture = probe_input(source, seed)
    exact = all(traced.by_name[name].provable for name in removals)
    with torch.no_grad(), silenced(removals, traced.by_name):
        wanted = outputs_of(traced.module, picture, where)
    try:
        remove(traced, removals)
        with torch.no_grad():
            found = outputs_of(traced.module, picture, where)
    except Exception:  # noqa: BLE001 - whatever the graph library or the module raises, it cannot be pruned like this
        return False
    return len(wanted) == len(found) and all(map(_same, wanted, found, [exact] * len(found)))


def _same(wanted: torch.Tensor, found: torch.Tensor, exact: bool) -> bool:
    if wanted.shape != found.shape:
        return False
    scale = float(wanted.abs().max())
    return not exact or float((wanted - found).abs().max()) <= _TOLERANCE * scale


def culprits(
    source: SourceModel, settings: PruneSettings, removals: Mapping[str, NDArray[np.int64]], excluded: Mapping[str, str]
) -> dict[str, str]:
    """Which groups alone spoil the network, and how that is said.

    Raises:
        PassError: Each alone can be pruned, and all together not.
    """
    found: dict[str, str] = {}
    for name, channels in removals.items():
        alone = replace(source, module=copy.deepcopy(source.module))
        candidates = find_candidates(alone, settings, {}, excluded)
        if name not in candidates.traced.by_name:
            continue
        if not take_out(alone, candidates, {name: channels}, settings.seed):
            found[name] = (
                "without some of its channels the network fails or computes something else (checked by a trial)"
            )
    if not found:
        msg = (
            f"{source.spec.name}: pruning {', '.join(list(removals)[:6])} together changes what the network computes, "
            "though each alone does not; name layers to be kept"
        )
        raise PassError(msg)
    return found


def parameters_frozen(module: Any) -> tuple[str, ...]:
    """Names of the parameters that are not trained."""
    return tuple(name for name, parameter in module.named_parameters() if not parameter.requires_grad)


def freeze_again(module: Any, frozen: Collection[str]) -> None:
    """Has the parameters of these names not trained, and all others trained."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name not in frozen)
