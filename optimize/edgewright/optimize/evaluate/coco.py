"""Average precision against labelled boxes, by pycocotools, with a paired jackknife over frames.

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
from edgewright.optimize.evaluate.intervals import groups_of, half_width, rule_of_three

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        drop: Float minus INT8, from leaving out the same frames of both (0..1, negative when INT8 is better).
        frames: How many.
    """

    float_: AveragePrecision
    int8: AveragePrecision
    drop: AveragePrecision
    frames: int


def compare_precision(
    truth: Sequence[GroundTruth], float_: Sequence[Detections], int8: Sequence[Detections], *, block: int = 1
) -> PrecisionPair:
    """AP of two models on the same labelled frames.

    Args:
        truth: Labels, one entry a frame.
        float_: What the float model saw at a low score threshold, in the same order.
        int8: The same of the INT8 model.
        block: Consecutive frames that are left out together; 1 for unrelated ones.

    Returns:
        Both, and the paired drop. With fewer than ``MIN_CURVE_BLOCKS`` blocks every interval is the whole range.

    Raises:
        MissingExtraError: pycocotools is not installed.
    """
    groups = groups_of(len(truth), block)
    sides = [_jackknife(_Evaluation(truth, seen), groups) for seen in (float_, int8)]
    rows = [*sides, sides[0] - sides[1]]
    figures = [_summary(row, len(truth), lowest) for row, lowest in zip(rows, (0.0, 0.0, -1.0), strict=True)]
    return PrecisionPair(figures[0], figures[1], figures[2], len(truth))


def _jackknife(evaluation: _Evaluation, groups: NDArray[np.intp]) -> NDArray[np.float64]:
    """Both figures on all frames, then without each group: (1 + groups, 2)."""
    without = [evaluation.precision(groups != group) for group in range(groups[-1] + 1)]
    return np.array([evaluation.precision(groups >= 0), *without])


def _summary(rows: NDArray[np.float64], frames: int, lowest: float) -> AveragePrecision:
    figures = [_measured(float(rows[0, k]), rows[1:, k], frames, lowest) for k in range(2)]
    return AveragePrecision(*figures)


def _measured(value: float, left_out: NDArray[np.float64], frames: int, lowest: float) -> Measured:
    if len(left_out) < MIN_CURVE_BLOCKS or np.isnan(left_out).any():
        return Measured(value, lowest, 1.0, frames)
    # Where nothing changes whatever is left out, the frames not seen may still differ.
    half = half_width(left_out) or rule_of_three(len(left_out))
    return Measured(value, max(value - half, lowest), min(value + half, 1.0), frames)


class _Evaluation:
    """Per-frame matches computed once; ``precision`` accumulates any part of the frames."""

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

    def precision(self, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """AP at IoU 0.5 and AP over IoU 0.5 to 0.95 on the frames ``kept``; NaN when nothing is labelled there."""
        self._eval.evalImgs = [
            match if keep else None for row in self._matches for match, keep in zip(row, kept, strict=True)
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            self._eval.accumulate()
        precision = self._eval.eval["precision"][:, :, :, 0, 0]
        return np.array([_mean_defined(precision[:1]), _mean_defined(precision)])


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
