"""Top-1 accuracy of classifiers against labelled pictures, float and INT8 on the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.contract import Measured
from edgewright.optimize.evaluate.intervals import (
    film_span,
    measured_mean,
    measured_share,
    paired_difference,
    wilson,
)
from edgewright.optimize.evaluate.mcnemar import mcnemar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.evaluate.mcnemar import McNemar
    from edgewright.runtime.types import Classification

__all__ = ["AccuracyPair", "compare_accuracy"]


@dataclass(frozen=True)
class AccuracyPair:
    """Top-1 accuracy of both models on the same pictures, 0..1.

    Attributes:
        float_: Of the float model.
        int8: Of the INT8 model.
        drop: Float minus INT8, with the paired interval.
        frames: How many pictures.
        mcnemar: The test of whether the two differ at all; it knows nothing of neighbouring frames.
    """

    float_: Measured
    int8: Measured
    drop: Measured
    frames: int
    mcnemar: McNemar


def compare_accuracy(
    truth: Sequence[int], float_: Sequence[Classification], int8: Sequence[Classification], *, block: int = 1
) -> AccuracyPair:
    """Accuracy of two classifiers on the same labelled pictures.

    Args:
        truth: Class id of each picture; at least one.
        float_: What the float model said.
        int8: What the INT8 model said.
        block: Consecutive pictures that belong together; 1 for unrelated ones.

    Returns:
        Both accuracies (Wilson) and the paired drop (Newcombe's method 10); neighbouring frames widen them.
    """
    right_float, right_int8 = _right(truth, float_), _right(truth, int8)
    value, low, high = paired_difference(right_float, right_int8)
    enough = None
    if block > 1:
        apart = measured_mean(right_float.astype(np.float64) - right_int8, block=block)
        low, high, enough = min(low, apart.low), max(high, apart.high), apart.enough
    still = bool((right_float == right_int8).all())
    span = film_span(len(truth), block)
    drop = Measured(value, min(low, value), max(high, value), len(truth), enough, still, span)
    test = mcnemar(right_float, right_int8)
    return AccuracyPair(_accuracy(right_float, block), _accuracy(right_int8, block), drop, len(truth), test)


def _right(truth: Sequence[int], seen: Sequence[Classification]) -> NDArray[np.bool_]:
    return np.array([int(said.class_ids[0]) == label for label, said in zip(truth, seen, strict=True)], np.bool_)


def _accuracy(right: NDArray[np.bool_], block: int) -> Measured:
    hits, total = int(right.sum()), len(right)
    low, high = wilson(hits, total)
    value = hits / total
    if block > 1:
        apart = measured_share(right.astype(np.int64), np.ones(total, np.int64), block=block)
        low, high = (0.0, 1.0) if apart is None else (min(low, apart.low), max(high, apart.high))
    return Measured(value, min(low, value), max(high, value), total)
