"""Training frames that lie beside judged ones of the same film: other pixels, but the same scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.contract import BLOCK_S
from edgewright.optimize.data.samples import open_samples

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edgewright.optimize.data.plan import DataPlan
    from edgewright.optimize.data.source import SampleSource
    from edgewright.optimize.training.sets import PictureSet

__all__ = ["beside_judged", "count_beside"]


def beside_judged(pictures: PictureSet, expression: str, plan: DataPlan) -> tuple[str, ...]:
    """Says how many training frames show what is judged on, because they are of the same film and moment.

    Args:
        pictures: What is trained on.
        expression: Where it comes from.
        plan: The judged pictures.

    Returns:
        One note, or none.
    """
    spacing_s, trained = pictures.spacing_s, pictures.indices
    if spacing_s is None or trained is None:
        return ()
    source = open_samples(expression)
    judged: set[int] = set()
    for role in (plan.agreement, plan.selection):
        if role is not None and _same_film(source, role):
            judged.update(_indices(role))
    if plan.images is not None and _same_film(source, plan.images):
        judged.update(sample.index for sample, _ in plan.labelled())
    near = count_beside(trained, np.array(sorted(judged), np.int64), spacing_s)
    if not near:
        return ()
    where = f"within {BLOCK_S:g} s of judged ones of the same film ({source.path.name})"
    return (f"{near} training frames lie {where}: what is measured there flatters",)


def count_beside(trained: NDArray[np.int64], judged: NDArray[np.int64], spacing_s: float) -> int:
    """How many frames lie within ``BLOCK_S`` of another one.

    Args:
        trained: (n,) numbers of the frames.
        judged: (m,) numbers of the others, ascending.
        spacing_s: Seconds from one number to the next.
    """
    if not len(judged):
        return 0
    place = np.searchsorted(judged, trained)
    before, after = judged[np.maximum(place - 1, 0)], judged[np.minimum(place, len(judged) - 1)]
    nearest = np.minimum(np.abs(trained - before), np.abs(trained - after))
    return int((nearest * spacing_s < BLOCK_S).sum())


def _same_film(source: SampleSource, other: SampleSource) -> bool:
    if other.spacing_s is None or not other.path.exists():
        return False
    return source.path.samefile(other.path)


def _indices(source: SampleSource) -> Iterable[int]:
    known = source.indices()
    return (sample.index for sample in source) if known is None else known
