"""How much the loss rises when a part of one group is silenced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.optimize.errors import DataError, ModelError
from edgewright.optimize.pruning.removal import silenced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import torch

    from edgewright.optimize.progress import Progress
    from edgewright.optimize.pruning.importance import Scores
    from edgewright.optimize.pruning.tracing import Traced
    from edgewright.optimize.training.types import Batch, Objective

__all__ = ["SHARES", "measure_sensitivity"]

SHARES = (0.25, 0.5, 0.75)
"""Parts of a group's channels that are silenced to see what happens."""


def measure_sensitivity(
    traced: Traced,
    scores: Scores,
    batches: Callable[[], Iterable[Batch]],
    objective: Objective | None,
    progress: Progress,
) -> Mapping[str, Sequence[tuple[float, float]]]:
    """Points (share silenced, rise of the loss) for each group.

    Args:
        traced: Its weights are changed meanwhile, and put back.
        scores: The least of them are silenced first.
        batches: Pictures; all of them are kept in memory.
        objective: The loss; without one, how far the outputs move (relative squared distance) is taken for it.
        progress: Told of every group.

    Raises:
        DataError: There are no pictures.
        ModelError: The loss is not a number.
    """
    import torch

    pictures = list(batches())
    if not pictures:
        msg = "sensitivity: there are no pictures to measure it on"
        raise DataError(msg)
    groups = traced.by_name
    traced.module.eval()
    curves: dict[str, list[tuple[float, float]]] = {}
    with torch.no_grad(), progress.stage("sensitivity of each group of channels", len(groups)) as advance:
        loss = _loss_function(traced.module, pictures, objective)
        start = loss()
        for done, (name, group) in enumerate(groups.items(), 1):
            order = np.argsort(scores[name], kind="stable")
            curves[name] = []
            for share in SHARES:
                units = order[: round(share * len(order))]
                if not len(units):
                    continue
                with silenced({name: group.channels(units)}, groups):
                    value = loss()
                if not np.isfinite(value):
                    msg = f"the loss is {value} when {share:.0%} of {name} is silenced; check the weights and the objective"
                    raise ModelError(msg)
                curves[name].append((len(units) / len(order), value - start))
            advance(done)
    return curves


def _loss_function(
    module: torch.nn.Module, pictures: Sequence[Batch], objective: Objective | None
) -> Callable[[], float]:
    if objective is not None:
        return lambda: float(np.mean([float(objective(module, batch).total) for batch in pictures]))
    wanted = [_tuple(module(batch.inputs)) for batch in pictures]

    def distance() -> float:
        values = []
        for batch, first in zip(pictures, wanted, strict=True):
            for now, before in zip(_tuple(module(batch.inputs)), first, strict=True):
                values.append(float(((now - before) ** 2).mean() / (before.var() + 1e-12)))
        return float(np.mean(values))

    return distance


def _tuple(made: Any) -> tuple[torch.Tensor, ...]:
    return tuple(made) if isinstance(made, (tuple, list)) else (made,)
