"""Average precision against labelled boxes, by pycocotools, with paired intervals over frames.

The interval that a verdict rests on is a paired block bootstrap (``bootstrap``), made symmetric about the estimate by
its longer side and widened by ``1 + 6 / groups``. Both were found necessary by drawing made-up street scenes anew, many
times, and counting how often an interval held the true drop: see ``tests/optimize/evaluate/test_coverage.py``. The
delete-a-block jackknife, which stands beside it in the report, is as good with 20 to 30 frames; with 200 its width is
wrong in either direction, for AP is summed at fixed recalls and so is no smooth function of the frames.

Two traps of pycocotools are met here: it overwrites ``ignore`` with ``iscrowd`` (people marked "do not count" would
count as misses, so ``iscrowd`` is set from ``ignore`` before it looks), and it talks on standard output.

Only boxes of all sizes and at most ``MAX_DETECTIONS`` a frame are evaluated, which is COCO's own headline setting.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.contract import Measured
from edgewright.optimize.evaluate.bootstrap import REPLICATES, draws, expanded_percentiles
from edgewright.optimize.evaluate.curves import Curves
from edgewright.optimize.evaluate.intervals import enough_frames, film_span, groups_of, half_width, rule_of_three

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edgewright.runtime.types import Detections

__all__ = [
    "MAX_DETECTIONS",
    "MIN_CURVE_BLOCKS",
    "AveragePrecision",
    "GroundTruth",
    "PrecisionPair",
    "as_truth",
    "compare_precision",
]

MAX_DETECTIONS = 100
#: With fewer blocks of frames the interval of an AP is the whole range: a curve of a few frames is mostly luck.
MIN_CURVE_BLOCKS = 20
_SHORTFALL = 6.0  # see the module
_EVERYTHING = [[0.0, 1e10]]


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The labelled boxes of one frame.

    Attributes:
        boxes: (n, 4) float64 xyxy pixels.
        class_ids: (n,) int64.
        ignore: (n,) bool; a detection there is neither hit nor miss.
    """

    boxes: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    ignore: NDArray[np.bool_]


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's two headline figures, 0..1.

    Attributes:
        ap50: AP at IoU 0.5.
        ap: AP averaged over IoU 0.50 to 0.95.
    """

    ap50: Measured
    ap: Measured


@dataclass(frozen=True)
class PrecisionPair:
    """Float and INT8 on the same frames.

    Attributes:
        float_: Of the float model.
        int8: Of the INT8 model.
        drop: Float minus INT8 on the same frames (0..1, negative when INT8 is better); the interval for verdicts.
        frames: How many.
        jackknife: The drop with the jackknife's interval, None where there are too few frames for one.
        bootstrap: The drop with the paired block bootstrap's interval, likewise.
    """

    float_: AveragePrecision
    int8: AveragePrecision
    drop: AveragePrecision
    frames: int
    jackknife: AveragePrecision | None = None
    bootstrap: AveragePrecision | None = None


def compare_precision(
    truth: Sequence[GroundTruth],
    float_: Sequence[Detections],
    int8: Sequence[Detections],
    *,
    block: int = 1,
    replicates: int = REPLICATES,
) -> PrecisionPair:
    """AP of two models on the same labelled frames.

    Args:
        truth: Labels, one entry a frame.
        float_: What the float model saw at a low score threshold, in the same order.
        int8: The same of the INT8 model.
        block: Consecutive frames that are left out together; 1 for unrelated ones.
        replicates: Of the bootstrap.

    Returns:
        Both, and the paired drop. With fewer than ``MIN_CURVE_BLOCKS`` blocks every interval is the whole range.

    Raises:
        MissingExtraError: pycocotools is not installed.
    """
    groups = groups_of(len(truth), block)
    evaluations = [_Evaluation(truth, seen) for seen in (float_, int8)]
    points = [evaluation.precision() for evaluation in evaluations]
    points.append(points[0] - points[1])
    frames, count = len(truth), int(groups[-1]) + 1
    if count < MIN_CURVE_BLOCKS:
        unknown = [
            _precision(point, np.full((2, 2), np.nan), frames, lowest, block=block) for point, lowest in _ranges(points)
        ]
        return PrecisionPair(unknown[0], unknown[1], unknown[2], frames)
    curves = [evaluation.curves(groups) for evaluation in evaluations]
    weights = draws(count, replicates)
    drawn = [model.precision(weights) for model in curves]
    drawn.append(drawn[0] - drawn[1])
    reached = [_widened(point, rows, count) for point, rows in zip(points, drawn, strict=True)]
    figures = [
        _precision(point, ends, frames, lowest, still=_unmoved(point, rows))
        for (point, lowest), ends, rows in zip(_ranges(points), reached, drawn, strict=True)
    ]
    left_out = [model.precision(1.0 - np.eye(count)) for model in curves]
    half = np.array([half_width((left_out[0] - left_out[1])[:, k]) for k in range(2)])
    jackknife = _precision(points[2], np.stack([points[2] - half, points[2] + half]), frames, -1.0)
    ends = np.array([expanded_percentiles(drawn[2][:, k], count) for k in range(2)]).T
    bootstrap = _precision(points[2], ends, frames, -1.0)
    return PrecisionPair(figures[0], figures[1], figures[2], frames, jackknife, bootstrap)


def _ranges(points: Sequence[NDArray[np.float64]]) -> Iterator[tuple[NDArray[np.float64], float]]:
    """Float's and INT8's figures begin at 0, their difference at -1."""
    return zip(points, (0.0, 0.0, -1.0), strict=True)


def _widened(point: NDArray[np.float64], drawn: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Both ends for both figures, (2, 2), the same distance from the estimate; see the module."""
    ends = np.array([expanded_percentiles(drawn[:, k], groups) for k in range(2)]).T
    reach = np.abs(ends - point).max(axis=0) * (1.0 + _SHORTFALL / groups)
    # Where nothing changes whatever is drawn, the frames not seen may still differ.
    reach[reach == 0] = rule_of_three(groups)
    return np.stack([point - reach, point + reach])


def _unmoved(point: NDArray[np.float64], drawn: NDArray[np.float64]) -> tuple[bool, bool]:
    """For both figures, whether nothing changes whatever is drawn."""
    same = [bool((np.isnan(drawn[:, k]) | (drawn[:, k] == point[k])).all()) for k in range(2)]
    return same[0], same[1]


def _precision(
    point: NDArray[np.float64],
    ends: NDArray[np.float64],
    frames: int,
    lowest: float,
    *,
    block: int | None = None,
    still: tuple[bool, bool] = (False, False),
) -> AveragePrecision:
    """Both figures with their intervals, which are the whole range where the ends are NaN.

    ``block`` is given where that is for want of blocks.
    """
    enough = None if block is None else enough_frames(frames, block, MIN_CURVE_BLOCKS)
    span = None if block is None else film_span(frames, block, MIN_CURVE_BLOCKS)
    figures = []
    for value, low, high, same in zip(point, *ends, still, strict=True):
        low, high = (lowest, 1.0) if np.isnan(low + high) else (max(low, lowest), min(high, 1.0))  # noqa: PLW2901
        ends_at = float(min(low, value)), float(max(high, value))
        figures.append(Measured(float(value), *ends_at, frames, enough, same, span))
    return AveragePrecision(*figures)


class _Evaluation:
    """Per-frame matches, by pycocotools."""

    def __init__(self, truth: Sequence[GroundTruth], seen: Sequence[Detections]) -> None:
        coco, coco_eval = _pycocotools()
        with contextlib.redirect_stdout(io.StringIO()):
            labelled = coco()
            labelled.dataset = _dataset(truth)
            labelled.createIndex()
            found = coco()
            found.dataset = {**labelled.dataset, "annotations": _results(seen)}
            found.createIndex()
            self._eval: Any = coco_eval(labelled, found, "bbox")
            parameters = self._eval.params
            parameters.areaRng, parameters.areaRngLbl = _EVERYTHING, ["all"]
            parameters.maxDets = [MAX_DETECTIONS]
            self._eval.evaluate()
        self._matches = np.empty((len(parameters.catIds), len(truth)), object)
        for position, match in enumerate(self._eval.evalImgs):
            self._matches[divmod(position, len(truth))] = match

    def precision(self) -> NDArray[np.float64]:
        """AP at IoU 0.5 and AP over IoU 0.5 to 0.95 on all frames, as pycocotools sums it up; NaN without labels."""
        with contextlib.redirect_stdout(io.StringIO()):
            self._eval.accumulate()
        precision = self._eval.eval["precision"][:, :, :, 0, 0]
        return np.array([_mean_defined(precision[:1]), _mean_defined(precision)])

    def curves(self, groups: NDArray[np.intp]) -> Curves:
        """The same for any weighting of groups of frames."""
        return Curves(self._matches, groups)


def _mean_defined(precision: NDArray[np.float64]) -> float:
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else float("nan")


def _dataset(truth: Sequence[GroundTruth]) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    classes = sorted({int(label) for frame in truth for label in frame.class_ids})
    for number, frame in enumerate(truth, start=1):
        for box, label, ignore in zip(frame.boxes, frame.class_ids, frame.ignore, strict=True):
            annotation = _annotation(len(annotations) + 1, number, int(label), box)
            # pycocotools throws `ignore` away and copies `iscrowd` over it.
            annotation["iscrowd"] = annotation["ignore"] = int(ignore)
            annotations.append(annotation)
    images = [{"id": number} for number in range(1, len(truth) + 1)]
    return {"images": images, "annotations": annotations, "categories": [{"id": label + 1} for label in classes]}


def _results(seen: Sequence[Detections]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for number, detections in enumerate(seen, start=1):
        for box, score, label in zip(detections.boxes, detections.scores, detections.class_ids, strict=True):
            result = _annotation(len(results) + 1, number, int(label), box.astype(np.float64))
            result["score"] = float(score)
            results.append(result)
    return results


def _annotation(identity: int, image: int, label: int, box: NDArray[np.float64]) -> dict[str, Any]:
    x, y, width, height = float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])
    return {
        "id": identity,
        "image_id": image,
        "category_id": label + 1,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
    }


def _pycocotools() -> tuple[Any, Any]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        what = "pycocotools, which computes average precision, is not installed"
        raise MissingExtraError(what, "optimize") from error
    return COCO, COCOeval


def as_truth(seen: Detections, threshold: float) -> GroundTruth:
    """Detections above ``threshold`` taken as labels, to score agreement by AP.

    Args:
        seen: What a model saw.
        threshold: Boxes with a lower score are not taken.

    Returns:
        Labels without ignored boxes.
    """
    kept = seen.select(seen.scores >= threshold)
    ignore = np.zeros(len(kept), np.bool_)
    return GroundTruth(kept.boxes.astype(np.float64), kept.class_ids, ignore)
