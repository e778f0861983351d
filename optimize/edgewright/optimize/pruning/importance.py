"""How much each channel of a group matters.

Scores of the layers that a group ties are brought to a mean of 1 each and averaged, so that groups can be ranked against
one another. Taylor scores are changes of one and the same loss, and are ranked as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import DataError, SpecError
from edgewright.optimize.pruning.groups import Side
from edgewright.optimize.pruning.layers import is_norm, is_weighted
from edgewright.optimize.pruning.settings import Importance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import torch
    from numpy.typing import NDArray

    from edgewright.optimize.pruning.groups import ChannelGroup, Member
    from edgewright.optimize.pruning.tracing import Traced
    from edgewright.optimize.training.types import Batch, Objective

__all__ = ["Scores", "score_channels"]

Scores = dict[str, "NDArray[np.float64]"]
"""Name of the group to (u,) scores of its units; larger ones stay."""


def score_channels(
    traced: Traced,
    kind: Importance,
    batches: Callable[[], Iterable[Batch]] | None = None,
    objective: Objective | None = None,
) -> Scores:
    """Scores every unit of every group.

    Args:
        traced: Its module is left as it was.
        kind: What counts.
        batches: Pictures, for the kinds that need them.
        objective: The loss, for Taylor.

    Raises:
        SpecError: The kind needs what was not given.
        DataError: There are no pictures.
    """
    if kind.needs_batches and batches is None:
        msg = f"importance {kind.value!r} looks at pictures; give batches, or take 'l2'"
        raise SpecError(msg)
    if kind is Importance.TAYLOR:
        if objective is None:
            msg = "importance 'taylor' is the change of a loss; give an objective, or take 'l2'"
            raise SpecError(msg)
        channels = _taylor(traced, batches() if batches else (), objective)
    elif kind.needs_batches:
        channels = _activations(traced, batches() if batches else (), kind)
    else:
        channels = {group.name: _static(group, kind) for group in traced.groups}
    return {group.name: group.by_unit(channels[group.name]) for group in traced.groups}


def _static(group: ChannelGroup, kind: Importance) -> NDArray[np.float64]:
    if kind is Importance.BN:
        scales = [
            member.gather(np.abs(_array(member.module.weight)), group.size)
            for member in group.members
            if is_norm(member.module)
        ]
        if scales:
            return _averaged(scales)
    power = 1 if kind is Importance.L1 else 2
    rows = [
        member.gather(_weights_by_channel(member, power), group.size)
        for member in group.members
        if is_weighted(member.module)
    ]
    return _averaged(rows)


def _array(tensor: torch.Tensor) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().cpu().numpy(), np.float64)


def _averaged(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The mean of rows brought to a mean of 1; a row of zeros stays one."""
    return np.asarray(np.mean([row / (row.mean() or 1.0) for row in rows], axis=0), np.float64)


def _weights_by_channel(member: Member, power: int) -> NDArray[np.float64]:
    return _reduced(member, np.abs(_array(member.module.weight)) ** power)


def _reduced(member: Member, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adds up over all of a layer's weights that make, or read, each of its channels."""
    module = member.module
    transposed, groups = bool(getattr(module, "transposed", False)), getattr(module, "groups", 1)
    reads = member.side is Side.READS
    if groups > 1 and transposed != reads:
        # The axis holds places within a block; blocks follow one another along the other axis.
        blocks = weight.reshape(groups, -1, *weight.shape[1:])
        return np.asarray(blocks.sum(axis=(1, *range(3, blocks.ndim))).ravel(), np.float64)
    axis = 1 if transposed != reads else 0
    return np.asarray(weight.sum(axis=tuple(a for a in range(weight.ndim) if a != axis)), np.float64)


def _taylor(traced: Traced, batches: Iterable[Batch], objective: Objective) -> Scores:
    """The sum of weight times gradient over the weights that read a channel is how the loss goes when it is silenced."""
    totals = {group.name: np.zeros(group.size) for group in traced.groups}
    count = 0
    traced.module.eval()
    for batch in batches:
        traced.module.zero_grad(set_to_none=True)
        objective(traced.module, batch).total.backward()  # type: ignore[no-untyped-call]
        count += 1
        for group in traced.groups:
            change = np.zeros(group.size)
            for member in group.readers:
                weight = member.module.weight
                if weight.grad is not None:
                    change += member.gather(_reduced(member, _array(weight) * _array(weight.grad)), group.size)
            totals[group.name] += change**2
    traced.module.zero_grad(set_to_none=True)
    if not count:
        msg = "importance 'taylor': there are no pictures to measure it on"
        raise DataError(msg)
    return totals


def _activations(traced: Traced, batches: Iterable[Batch], kind: Importance) -> Scores:
    import torch

    sums: dict[Any, NDArray[np.float64]] = {}

    def record(part: Any, args: Any) -> None:
        tensor = args[0].detach()
        axis = tensor.dim() - 1 if hasattr(part, "in_features") else 1
        values = (tensor != 0).double() if kind is Importance.APOZ else tensor.abs().double()
        mean = _array(values.mean(dim=[a for a in range(tensor.dim()) if a != axis]))
        sums[part] = sums.get(part, 0.0) + mean

    readers = {member.module for group in traced.groups for member in group.readers}
    hooks = [part.register_forward_pre_hook(record) for part in readers]
    count = 0
    try:
        with torch.no_grad():
            for batch in batches:
                traced.module.eval()(batch.inputs)
                count += 1
    finally:
        for hook in hooks:
            hook.remove()
    if not count:
        msg = f"importance {kind.value!r}: there are no pictures to measure it on"
        raise DataError(msg)
    return {
        group.name: _averaged([member.gather(sums[member.module], group.size) for member in group.readers])
        for group in traced.groups
    }
