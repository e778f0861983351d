"""Average precision of any weighting of the frames, fast, from matches that were made once.

Leaving frames out (jackknife) and drawing them anew (bootstrap) both give every group of frames a weight. Which box
matches which label depends on one frame only, so that is decided once, by pycocotools; what is left is to sum weights
down the list of scores. Only true positives are points of the curve that count, so a matrix with one row for each of
them and one column for each group, times the weights, gives all replicates at once.

COCO's rules are kept: 101 recall points, precision made monotone from the right, mean over classes that have labels
and over the ten overlaps 0.50 to 0.95.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Curves"]

_RECALLS = 100  # above a recall of 0
_BATCH = 256  # replicates at a time, to bound memory
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class _Curve:
    """One class at one overlap, in the order of falling scores.

    Attributes:
        hits: (points, groups) true positives of each group up to and with each true positive.
        alarms: (points, groups) false positives of each group before it.
    """

    hits: NDArray[np.float32]
    alarms: NDArray[np.float32]

    def precision(self, weights: NDArray[np.float32], labels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of the interpolated precision for each replicate: (replicates,)."""
        if not len(self.hits):
            return np.zeros(len(weights))
        hits, alarms = self.hits @ weights.T, self.alarms @ weights.T
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = np.where(hits > 0, hits / (hits + alarms), np.float32(0))
            # How many of the recall points above 0 each true positive is the first to reach.
            levels = np.floor(hits * (_RECALLS / labels) + _ROUNDING)
        best = np.maximum.accumulate(shares[::-1], axis=0)[::-1]
        reached = np.diff(levels, axis=0, prepend=np.zeros((1, levels.shape[1])))
        total: NDArray[np.float64] = (best[0] + (best * reached).sum(axis=0)) / (_RECALLS + 1)
        return total


class Curves:
    """One model on labelled frames, ready to be weighed."""

    def __init__(self, matches: NDArray[Any], groups: NDArray[np.intp]) -> None:
        """Sorts the matches.

        Args:
            matches: (classes, frames) pycocotools' ``evalImgs``: for each frame a mapping, or None where it has neither
                labels nor boxes of the class.
            groups: (frames,) the group of each frame, from 0.
        """
        self._groups = int(groups[-1]) + 1
        rows = [[(match, int(group)) for match, group in zip(row, groups, strict=True) if match] for row in matches]
        self._labels = [self._count(row) for row in rows]
        self._curves = [self._sorted(row) for row in rows]

    def precision(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """AP at IoU 0.5 and AP over 0.50 to 0.95.

        Args:
            weights: (replicates, groups) how often each group counts.

        Returns:
            (replicates, 2); NaN where nothing labelled has weight.
        """
        parts = [weights[start : start + _BATCH] for start in range(0, len(weights), _BATCH)]
        return np.concatenate([self._precision(part) for part in parts])

    def _precision(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        by_class = []
        for labels, curves in zip(self._labels, self._curves, strict=True):
            total = weights @ labels
            values = np.stack([curve.precision(weights.astype(np.float32), total) for curve in curves], axis=1)
            values[total <= 0] = np.nan
            by_class.append(values)
        table = np.stack(by_class)  # (classes, replicates, overlaps)
        defined = ~np.isnan(table)
        sums, counts = np.where(defined, table, 0.0).sum(axis=0), defined.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = sums / counts
        return np.stack([mean[:, 0], mean.mean(axis=1)], axis=1)

    def _count(self, row: Sequence[tuple[Any, int]]) -> NDArray[np.float64]:
        labels = np.zeros(self._groups)
        for match, group in row:
            labels[group] += int((np.asarray(match["gtIgnore"]) == 0).sum())
        return labels

    def _sorted(self, row: Sequence[tuple[Any, int]]) -> list[_Curve]:
        scores = np.concatenate([np.asarray(match["dtScores"], np.float64) for match, _ in row])
        group = np.concatenate([np.full(len(match["dtScores"]), number) for match, number in row]).astype(np.intp)
        order = np.argsort(-scores, kind="stable")
        matched = np.concatenate([match["dtMatches"] for match, _ in row], axis=1)[:, order] != 0
        counted = np.concatenate([match["dtIgnore"] for match, _ in row], axis=1)[:, order] == 0
        owner = group[order]
        return [self._curve(hit & use, ~hit & use, owner) for hit, use in zip(matched, counted, strict=True)]

    def _curve(self, hits: NDArray[np.bool_], alarms: NDArray[np.bool_], owner: NDArray[np.intp]) -> _Curve:
        points = np.flatnonzero(hits)
        # The number of the point that each false positive comes before; those behind the last one change nothing.
        behind = np.searchsorted(points, np.flatnonzero(alarms))
        owners = owner[alarms][behind < len(points)]
        behind = behind[behind < len(points)]
        tables = np.zeros((2, len(points), self._groups), np.float32)
        tables[0, np.arange(len(points)), owner[points]] = 1
        np.add.at(tables[1], (behind, owners), 1)
        return _Curve(*np.cumsum(tables, axis=1))
