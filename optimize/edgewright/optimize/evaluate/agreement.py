"""How faithfully a quantized detector repeats the float one, on frames without labels.

A float box above the score threshold is *kept* when INT8 also has a box there above the threshold: same class, IoU at
least ``MATCH_IOU``, matched one to one so that the total overlap is largest. Boxes near the threshold flip for any
disturbance, a grey level of noise included, so the AP that takes float's boxes as truth and INT8's whole score list
stands beside the share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.evaluate.coco import as_truth, compare_precision
from edgewright.optimize.evaluate.intervals import measured_ratio, measured_share
from edgewright.runtime.overlap import iou_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.contract import Measured
    from edgewright.runtime.types import Classification, Detections

__all__ = [
    "MATCH_IOU",
    "BoxAgreement",
    "FrameMatch",
    "TopAgreement",
    "box_agreement",
    "match_frame",
    "top_agreement",
]

MATCH_IOU = 0.5
_REPLICATES = 1000


@dataclass(frozen=True, eq=False)
class FrameMatch:
    """One frame's boxes of both models set against each other.

    Attributes:
        float_boxes: Float boxes above the threshold.
        int8_boxes: INT8 boxes above the threshold.
        pairs: (kept, 2) positions of matched boxes among each side's boxes above the threshold.
        ious: (kept,) IoU of each matched pair.
        score_errors: (kept,) INT8 score minus float score of each pair.
        lost: Float boxes that INT8 has not, best first.
        extra: INT8 boxes that float has not, best first.
    """

    float_boxes: int
    int8_boxes: int
    pairs: NDArray[np.intp]
    ious: NDArray[np.float64]
    score_errors: NDArray[np.float64]
    lost: Detections
    extra: Detections

    @property
    def kept(self) -> int:
        """Float boxes that INT8 has too."""
        return len(self.ious)

    @property
    def disagreements(self) -> int:
        """Boxes that only one of the two has."""
        return self.float_boxes + self.int8_boxes - 2 * self.kept

    @property
    def harm(self) -> tuple[float, float]:
        """How bad it is: the score of the surest box lost, then that of the surest one made up. Larger is worse."""
        return _surest(self.lost), _surest(self.extra)


@dataclass(frozen=True)
class BoxAgreement:
    """Agreement of two detectors over frames.

    Attributes:
        kept: Share of float's boxes kept, None when float saw nothing.
        float_boxes: How many float boxes there were.
        kept_boxes: How many of them INT8 has.
        extra: Share of INT8's boxes that float does not have, None when INT8 saw nothing.
        extra_boxes: How many those are.
        mean_iou: Mean IoU of the matched pairs, None without any.
        score_rmse: Root mean square score difference of the pairs, None without any.
        agreement_ap50: AP at IoU 0.5 with float's boxes as truth; None when float saw nothing.
        frames: How many.
        per_frame: Matches, frame by frame.
    """

    kept: Measured | None
    float_boxes: int
    kept_boxes: int
    extra: Measured | None
    extra_boxes: int
    mean_iou: Measured | None
    score_rmse: Measured | None
    agreement_ap50: Measured | None
    frames: int
    per_frame: tuple[FrameMatch, ...]

    @property
    def disagreements(self) -> tuple[int, ...]:
        """Boxes that only one of the two has, frame by frame."""
        return tuple(match.disagreements for match in self.per_frame)


@dataclass(frozen=True)
class TopAgreement:
    """Agreement of two classifiers over pictures.

    Attributes:
        share: Share of pictures with the same best class.
        score_rmse: Root mean square difference of INT8's probability for float's best class.
        frames: How many pictures.
        differing: Positions of the pictures on which they differ.
    """

    share: Measured
    score_rmse: Measured
    frames: int
    differing: tuple[int, ...]


def match_frame(float_: Detections, int8: Detections, threshold: float) -> FrameMatch:
    """Matches two models' boxes of one frame, one to one (Hungarian assignment).

    Args:
        float_: What float saw.
        int8: What INT8 saw.
        threshold: Boxes with a lower score are left out on both sides.

    Returns:
        The pairs that agree.
    """
    from scipy.optimize import linear_sum_assignment

    ours = float_.select(float_.scores >= threshold)
    theirs = int8.select(int8.scores >= threshold)
    ious = iou_matrix(ours.boxes, theirs.boxes)
    allowed = (ours.class_ids[:, None] == theirs.class_ids[None, :]) & (ious >= MATCH_IOU)
    # One for every allowed pair comes first: as many pairs as possible, then the best overlap among them.
    gain = np.where(allowed, 1.0 + ious / (1.0 + min(ious.shape, default=0)), 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    good = allowed[rows, columns]
    rows, columns = rows[good], columns[good]
    errors = theirs.scores[columns].astype(np.float64) - ours.scores[rows]
    return FrameMatch(
        float_boxes=len(ours),
        int8_boxes=len(theirs),
        pairs=np.stack([rows, columns], axis=1),
        ious=ious[rows, columns],
        score_errors=errors,
        lost=_others(ours, rows),
        extra=_others(theirs, columns),
    )


def _others(boxes: Detections, matched: NDArray[np.intp]) -> Detections:
    """Those that found no partner, best first."""
    alone = np.setdiff1d(np.arange(len(boxes)), matched)
    return boxes.select(alone[np.argsort(-boxes.scores[alone], kind="stable")])


def _surest(boxes: Detections) -> float:
    return float(boxes.scores.max(initial=0.0))


def box_agreement(
    float_: Sequence[Detections], int8: Sequence[Detections], threshold: float, *, block: int
) -> BoxAgreement:
    """Agreement of two detectors over frames in order.

    Args:
        float_: What float saw, at a low score threshold.
        int8: What INT8 saw, at the same low threshold.
        threshold: Score from which a box counts on the device.
        block: Consecutive frames that belong together; 1 for unrelated pictures.

    Returns:
        All figures.
    """
    matches = tuple(match_frame(ours, theirs, threshold) for ours, theirs in zip(float_, int8, strict=True))
    kept = np.array([match.kept for match in matches], np.int64)
    totals = np.array([match.float_boxes for match in matches], np.int64)
    theirs = np.array([match.int8_boxes for match in matches], np.int64)
    share = measured_share(kept, totals, block=block)
    agreement_ap = None
    if share is not None:
        truth = [as_truth(seen, threshold) for seen in float_]
        agreement_ap = compare_precision(truth, float_, int8, block=block, replicates=_REPLICATES).int8.ap50
    return BoxAgreement(
        kept=share,
        float_boxes=int(totals.sum()),
        kept_boxes=int(kept.sum()),
        extra=measured_share(theirs - kept, theirs, block=block),
        extra_boxes=int((theirs - kept).sum()),
        mean_iou=measured_ratio(np.array([match.ious.sum() for match in matches]), kept.astype(float), block=block),
        score_rmse=_rmse([match.score_errors for match in matches], block=block),
        agreement_ap50=agreement_ap,
        frames=len(matches),
        per_frame=matches,
    )


def top_agreement(float_: Sequence[Classification], int8: Sequence[Classification], *, block: int) -> TopAgreement:
    """Top-1 agreement of two classifiers over pictures in order.

    Args:
        float_: What float said; at least one picture.
        int8: What INT8 said.
        block: Consecutive pictures that belong together; 1 for unrelated ones.

    Returns:
        All figures.
    """
    same = np.array([a.class_ids[0] == b.class_ids[0] for a, b in zip(float_, int8, strict=True)], np.int64)
    share = measured_share(same, np.ones_like(same), block=block)
    errors = [_score_of(b, int(a.class_ids[0])) - float(a.scores[0]) for a, b in zip(float_, int8, strict=True)]
    rmse = _rmse([np.array([error]) for error in errors], block=block)
    if share is None or rmse is None:
        msg = "top-1 agreement needs at least one picture"
        raise ValueError(msg)
    return TopAgreement(share, rmse, len(same), tuple(int(k) for k in np.flatnonzero(same == 0)))


def _score_of(seen: Classification, label: int) -> float:
    """The probability given to ``label``; 0 when it is not among the best classes carried."""
    return float(seen.scores[seen.class_ids == label].sum())


def _rmse(errors: Sequence[NDArray[np.float64]], *, block: int) -> Measured | None:
    squares = np.array([float(np.square(frame).sum()) for frame in errors])
    counts = np.array([len(frame) for frame in errors], np.float64)
    mean = measured_ratio(squares, counts, block=block)
    if mean is None:
        return None
    low, high = math.sqrt(max(mean.low, 0.0)), math.sqrt(mean.high)
    return replace(mean, value=math.sqrt(mean.value), low=low, high=high)
