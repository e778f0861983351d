"""How far one picture's answers of a candidate are from the float model's, as one smooth number.

What matters is what the device makes of the outputs, and counting that (boxes kept, classes repeated) is mostly noise:
a score of .501 that becomes .499 is one box lost. Distances of raw outputs, on the other hand, mislead: most anchors
of a detector are background that nobody looks at, and a clipped logit can raise the signal-to-noise ratio and change
the answer. So each head has a distance of its own that is smooth and weighs what decides:

- ``BoxLoss``: scores where one of the two models is near the threshold or above it, overlap of the boxes there, and a
  soft count of boxes lost and added.
- ``ClassLoss``: Jensen-Shannon divergence of the probabilities, angle between the logits, and a soft count of changed
  answers.
- ``NoiseLoss``: for heads that nobody described, noise over signal of each output.

All are 0 for equal outputs and grow with the error; a candidate that answers NaN gets an infinite loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgewright.bundle.manifest import Box, ClassifyDecode, ScoreActivation, SsdDecode
from edgewright.runtime.overlap import iou_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgewright.optimize.spec import ModelSpec

__all__ = ["BoxLoss", "ClassLoss", "HeadLoss", "NoiseLoss", "activate", "loss_for"]

_LIMIT = 80.0
_NEAR = 0.5  # of the score threshold: from there on an anchor is looked at
_LOST = 0.5  # a score error that costs as much as a lost box
_SOFT = 0.05  # width of the soft threshold, in scores: what JPEG compression does to a score
_SAME_OBJECT = 0.5  # IoU from which two anchors of the float model speak of the same object
_SOFT_MARGIN = 0.1  # width of the soft change of the best class, in probabilities
_TINY = 1e-12


class HeadLoss(Protocol):
    """A distance between two models' raw outputs for one picture."""

    def __call__(self, reference: Mapping[str, NDArray[Any]], seen: Mapping[str, NDArray[Any]]) -> float:
        """Not negative, 0 for equal outputs."""
        ...


def loss_for(spec: ModelSpec | None) -> HeadLoss:
    """The distance that fits a model's head.

    Args:
        spec: How the model's outputs are read, None where nobody knows.
    """
    if spec is None:
        return NoiseLoss()
    if isinstance(spec.decode, SsdDecode):
        return BoxLoss(spec.decode, spec.arrays[spec.decode.anchors].astype(np.float64))
    return ClassLoss(spec.decode)


def activate(values: NDArray[np.float64], activation: ScoreActivation) -> NDArray[np.float64]:
    """Raw scores to probabilities, along the last axis.

    Args:
        values: (..., classes).
        activation: As the bundle says.
    """
    if activation is ScoreActivation.SIGMOID:
        return _sigmoid(values)
    if activation is ScoreActivation.SOFTMAX:
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
        return shares
    return values


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(values, -_LIMIT, _LIMIT)))
    return result


@dataclass(frozen=True, eq=False)
class BoxLoss:
    """For heads of anchors and codes.

    Per picture, a sum over what one of the two models nearly sees, so that an empty street costs nothing:

        score errors + (1 - IoU of the boxes, weighed by score) + soft change of "above the threshold"

    Attributes:
        decode: The head.
        anchors: (n, 4) float64 cx, cy, w, h.
    """

    decode: SsdDecode
    anchors: NDArray[np.float64]

    def __call__(self, reference: Mapping[str, NDArray[Any]], seen: Mapping[str, NDArray[Any]]) -> float:
        """See ``HeadLoss``."""
        before, after = self.scores(reference), self.scores(seen)
        if not np.isfinite(after).all():
            return float("inf")
        rows, classes = np.nonzero(np.maximum(before, after) >= _NEAR * self.decode.score_threshold)
        if not len(rows):
            return 0.0
        s, t = before[rows, classes], after[rows, classes]
        boxes, moved = self.boxes(reference, rows), self.boxes(seen, rows)
        if not np.isfinite(moved).all():
            return float("inf")
        # An object fires many anchors; each counts by its share, so that every object counts once.
        same = (classes[:, None] == classes[None, :]) & (iou_matrix(boxes, boxes) >= _SAME_OBJECT)
        share = 1.0 / np.maximum(same.sum(axis=1), 1)
        anchor_terms = np.square((t - s) / _LOST) + np.minimum(s, t) * (1.0 - _paired_ious(boxes, moved))
        # Whether the object is seen is up to its best anchor.
        best_before, best_after = np.where(same, s[None, :], 0).max(axis=1), np.where(same, t[None, :], 0).max(axis=1)
        flips = np.abs(self._above(best_after) - self._above(best_before))
        return float((share * (anchor_terms + flips)).sum())

    def scores(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """(n, classes without background) probabilities."""
        raw = outputs[self.decode.scores].astype(np.float64).reshape(len(self.anchors), -1)
        values = activate(raw, self.decode.activation)
        foreground = [column for column in range(raw.shape[1]) if column != self.decode.background]
        return values[:, foreground]

    def boxes(self, outputs: Mapping[str, NDArray[Any]], rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """(m, 4) xyxy in fractions of the picture, of the anchors ``rows``; the formula is ``SsdDecode``'s."""
        codes = outputs[self.decode.boxes].astype(np.float64).reshape(-1, 4)[rows]
        if self.decode.order is Box.YXHW:
            codes = codes[:, [1, 0, 3, 2]]
        anchors = self.anchors[rows]
        centre = codes[:, :2] * self.decode.variance_xy * anchors[:, 2:] + anchors[:, :2]
        half = np.exp(np.clip(codes[:, 2:] * self.decode.variance_wh, -_LIMIT, _LIMIT)) * anchors[:, 2:] / 2
        corners: NDArray[np.float64] = np.concatenate([centre - half, centre + half], axis=1)
        return corners

    def _above(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return _sigmoid((scores - self.decode.score_threshold) / _SOFT)


def _paired_ious(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    shared = np.maximum(sides, 0.0).prod(axis=1)
    areas = [np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0).prod(axis=1) for boxes in (first, second)]
    union = areas[0] + areas[1] - shared
    overlap: NDArray[np.float64] = np.divide(shared, union, out=np.ones_like(shared), where=union > 0)
    return overlap


@dataclass(frozen=True, eq=False)
class ClassLoss:
    """For classifiers: divergence of the probabilities + angle of the logits + soft change of the best class.

    Attributes:
        decode: The head.
    """

    decode: ClassifyDecode

    def __call__(self, reference: Mapping[str, NDArray[Any]], seen: Mapping[str, NDArray[Any]]) -> float:
        """See ``HeadLoss``."""
        raw = [outputs[self.decode.scores].astype(np.float64).reshape(-1) for outputs in (reference, seen)]
        if not np.isfinite(raw[1]).all():
            return float("inf")
        p, q = (activate(values, self.decode.activation) for values in raw)
        return _divergence(p, q) + 1.0 - _cosine(raw[0], raw[1]) + _changed(p, q)


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Jensen-Shannon in bits, 0..1 (Lin 1991); of what need not sum to one, the shares are compared."""
    p, q = (np.maximum(values, _TINY) / np.maximum(values, _TINY).sum() for values in (p, q))
    middle = (p + q) / 2
    return max(0.0, float((p * np.log2(p / middle)).sum() + (q * np.log2(q / middle)).sum()) / 2)


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Of the values less their mean: adding one number to all logits changes no answer."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    if size <= _TINY:
        return 1.0 if np.allclose(a, b) else 0.0
    cosine = float(a @ b) / size
    return cosine if cosine < 1.0 - _TINY else 1.0


def _changed(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Rises softly from 0 to 1 as float's best class loses its lead."""
    best = int(p.argmax())
    leads = [values[best] - np.delete(values, best).max(initial=-1.0) for values in (p, q)]
    before, after = (float(_sigmoid(-np.float64(lead) / _SOFT_MARGIN)) for lead in leads)  # type: ignore[arg-type]
    return max(0.0, after - before)


class NoiseLoss:
    """For outputs of unknown meaning: the mean over outputs of noise power over signal power (1 / SQNR)."""

    def __call__(self, reference: Mapping[str, NDArray[Any]], seen: Mapping[str, NDArray[Any]]) -> float:
        """See ``HeadLoss``."""
        ratios = []
        for name, expected in reference.items():
            signal = expected.astype(np.float64)
            noise = float(np.square(seen[name].astype(np.float64) - signal).mean())
            ratios.append(noise / max(float(np.square(signal).mean()), _TINY))
        mean = float(np.mean(ratios))
        return mean if np.isfinite(mean) else float("inf")
