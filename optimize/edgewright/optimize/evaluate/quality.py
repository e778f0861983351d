"""From both models' answers to the figures of the contract, the bundle and the report.

- With labels: AP (``ap50``, ``ap``) for detectors, ``top1_accuracy`` for classifiers, and the paired drop of each.
- Without: agreement with the float model: ``boxes_kept``, ``boxes_extra``, ``mean_iou``, ``score_rmse``,
  ``agreement_ap50`` for detectors; ``top1_agreement``, ``top1_score_rmse`` for classifiers.

Shares are 0..1; the headline of each kind is in the contract's units (points, percent).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Metric
from edgewright.optimize.errors import JudgeError
from edgewright.optimize.evaluate.accuracy import compare_accuracy
from edgewright.optimize.evaluate.agreement import box_agreement, match_frame, top_agreement
from edgewright.optimize.evaluate.coco import GroundTruth, compare_precision
from edgewright.optimize.evaluate.doubt import accuracy_doubt, agreement_doubt, precision_doubt
from edgewright.optimize.evaluate.intervals import CONFIDENCE
from edgewright.runtime.types import Classification, Detections

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgewright.optimize.contract import Measured
    from edgewright.optimize.evaluate.coco import PrecisionPair
    from edgewright.optimize.evaluate.observe import Observation

__all__ = ["FLOAT", "INT8", "METRICS", "Quality", "agreement_quality", "labelled_quality"]

FLOAT = "float"
INT8 = "int8"
METRICS = ("ap50", "ap")
"""What ``max_drop`` may be about on a detector; a classifier has only top-1 accuracy."""


@dataclass(frozen=True, eq=False)
class Quality:
    """The figures of one evaluation.

    Attributes:
        headline: The figure a contract is about, in its units; None when it is undefined (float saw nothing).
        title: What the headline is, in words.
        metrics: All figures, for the manifest.
        details: Counts for the report, JSON values.
        disagreement: Per picture, how much the two models differ: what was lost, then what else; larger is worse.
        doubt: Why the headline tells nothing, whatever it is; None where it does.
    """

    headline: Measured | None
    title: str
    metrics: tuple[Metric, ...]
    details: Mapping[str, Any]
    disagreement: tuple[tuple[float, float], ...]
    doubt: str | None = None


def labelled_quality(
    seen: Observation,
    truth: Sequence[GroundTruth | int],
    metric: str,
    threshold: float | None,
    classes: int | None = None,
) -> Quality:
    """Against labels.

    Args:
        seen: Both models on the labelled pictures.
        truth: Boxes or class ids, in the same order.
        metric: For detectors, which AP the headline is about: ``ap50`` or ``ap``.
        threshold: A detector's score threshold; None for a classifier.
        classes: How many classes a classifier tells apart; None for as many as were answered or labelled.

    Returns:
        The figures; the headline is the drop in points.
    """
    if threshold is None:
        return _accuracy_quality(seen, [_class_id(label) for label in truth], classes)
    boxes = [_boxes(frame) for frame in truth]
    float_, int8 = _detections(seen)
    pair = compare_precision(boxes, float_, int8, block=seen.block)
    rows = {
        ("ap50", FLOAT): pair.float_.ap50,
        ("ap50", INT8): pair.int8.ap50,
        ("ap50_drop", INT8): pair.drop.ap50,
        ("ap", FLOAT): pair.float_.ap,
        ("ap", INT8): pair.int8.ap,
        ("ap_drop", INT8): pair.drop.ap,
    }
    details = {
        "frames": pair.frames,
        "boxes": sum(int((~frame.ignore).sum()) for frame in boxes),
        "ignored": sum(int(frame.ignore.sum()) for frame in boxes),
        "headline": metric,
        "intervals": _interval_rows(pair),
    }
    drop = _scaled(pair.drop.ap50 if metric == "ap50" else pair.drop.ap, 100.0)
    return Quality(
        headline=drop,
        title=_TITLES[metric],
        metrics=_metrics(rows, seen.digest),
        details=details,
        disagreement=_box_disagreement(seen, threshold),
        doubt=precision_doubt(rows[metric, FLOAT], _TITLES[metric]),
    )


def _interval_rows(pair: PrecisionPair) -> dict[str, dict[str, list[float]]]:
    """The drop's intervals by both methods, in points; empty where there were too few frames for either."""
    rows = {"jackknife": pair.jackknife, "bootstrap": pair.bootstrap}
    return {
        method: {name: [100 * figure.low, 100 * figure.high] for name, figure in (("ap50", row.ap50), ("ap", row.ap))}
        for method, row in rows.items()
        if row is not None
    }


_TITLES = {"ap50": "AP at IoU 0.5", "ap": "AP at IoU 0.50 to 0.95"}


def _accuracy_quality(seen: Observation, truth: Sequence[int], classes: int | None) -> Quality:
    float_, int8 = _classifications(seen)
    if classes is None:
        classes = 1 + max(*truth, *(int(said.class_ids.max()) for said in float_))
    pair = compare_accuracy(truth, float_, int8, block=seen.block)
    rows = {
        ("top1_accuracy", FLOAT): pair.float_,
        ("top1_accuracy", INT8): pair.int8,
        ("top1_accuracy_drop", INT8): pair.drop,
    }
    test = pair.mcnemar
    details = {
        "frames": pair.frames,
        "headline": "top1_accuracy",
        "mcnemar": {
            "only_float_right": test.only_first,
            "only_int8_right": test.only_second,
            "exact_p": test.exact_p,
            "mid_p": test.mid_p,
        },
    }
    metrics = _metrics(rows, seen.digest)
    return Quality(
        headline=_scaled(pair.drop, 100.0),
        title="top-1 accuracy",
        metrics=metrics,
        details=details,
        disagreement=_class_disagreement(seen),
        doubt=accuracy_doubt(pair.float_, classes),
    )


def agreement_quality(seen: Observation, threshold: float | None) -> Quality:
    """Against the float model, without labels.

    Args:
        seen: Both models on unlabelled pictures.
        threshold: A detector's score threshold; None for a classifier.

    Returns:
        The figures; the headline is the percentage kept.
    """
    if threshold is None:
        return _top_quality(seen)
    agreement = box_agreement(*_detections(seen), threshold, block=seen.block)
    optional = {
        "boxes_kept": agreement.kept,
        "boxes_extra": agreement.extra,
        "mean_iou": agreement.mean_iou,
        "score_rmse": agreement.score_rmse,
        "agreement_ap50": agreement.agreement_ap50,
    }
    rows = {(name, INT8): figure for name, figure in optional.items() if figure is not None}
    details = {
        "frames": agreement.frames,
        "float_boxes": agreement.float_boxes,
        "kept_boxes": agreement.kept_boxes,
        "extra_boxes": agreement.extra_boxes,
        "score_threshold": threshold,
        "headline": "boxes_kept",
    }
    headline = None if agreement.kept is None else _scaled(agreement.kept, 100.0)
    metrics = _metrics(rows, seen.digest)
    return Quality(headline, "boxes kept", metrics, details, tuple(match.harm for match in agreement.per_frame))


def _top_quality(seen: Observation) -> Quality:
    agreement = top_agreement(*_classifications(seen), block=seen.block)
    rows = {("top1_agreement", INT8): agreement.share, ("top1_score_rmse", INT8): agreement.score_rmse}
    details = {"frames": agreement.frames, "differing": len(agreement.differing), "headline": "top1_agreement"}
    headline = _scaled(agreement.share, 100.0)
    metrics = _metrics(rows, seen.digest)
    doubt = agreement_doubt([int(said.class_ids[0]) for said in _classifications(seen)[0]])
    return Quality(headline, "top-1 agreement", metrics, details, _class_disagreement(seen), doubt)


def _metrics(rows: Mapping[tuple[str, str], Measured], dataset: str) -> tuple[Metric, ...]:
    return tuple(
        Metric(name, variant, row.value, row.low, row.high, CONFIDENCE, row.samples, dataset)
        for (name, variant), row in rows.items()
    )


def _scaled(figure: Measured, factor: float) -> Measured:
    return replace(figure, value=figure.value * factor, low=figure.low * factor, high=figure.high * factor)


def _box_disagreement(seen: Observation, threshold: float) -> tuple[tuple[float, float], ...]:
    pairs = zip(*_detections(seen), strict=True)
    return tuple(match_frame(float_, int8, threshold).harm for float_, int8 in pairs)


def _class_disagreement(seen: Observation) -> tuple[tuple[float, float], ...]:
    """The surer float was of an answer that changed, the worse; then by how far the probability moved."""
    return tuple(
        (float(a.scores[0]) * float(a.class_ids[0] != b.class_ids[0]), abs(float(a.scores[0]) - float(b.scores[0])))
        for a, b in zip(*_classifications(seen), strict=True)
    )


def _detections(seen: Observation) -> tuple[list[Detections], list[Detections]]:
    float_ = [row.float_ for row in seen.seen if isinstance(row.float_, Detections)]
    int8 = [row.int8 for row in seen.seen if isinstance(row.int8, Detections)]
    return float_, int8


def _classifications(seen: Observation) -> tuple[list[Classification], list[Classification]]:
    pairs = [(row.float_, row.int8, row.name) for row in seen.seen]
    for float_, int8, name in pairs:
        for said in (float_, int8):
            if not isinstance(said, Classification) or not len(said.scores) or not math.isfinite(said.scores[0]):
                msg = f"the model gave no class for {name}; its scores must be finite numbers"
                raise JudgeError(msg)
    float_rows = [row.float_ for row in seen.seen if isinstance(row.float_, Classification)]
    return float_rows, [row.int8 for row in seen.seen if isinstance(row.int8, Classification)]


def _boxes(frame: GroundTruth | int) -> GroundTruth:
    if isinstance(frame, int):
        msg = "a detector is judged against boxes, these labels name classes"
        raise JudgeError(msg)
    return frame


def _class_id(label: GroundTruth | int) -> int:
    if isinstance(label, int):
        return label
    msg = "a classifier is judged against classes, these labels hold boxes"
    raise JudgeError(msg)
