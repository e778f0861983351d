"""Average precision against labelled boxes, by pycocotools, with a paired bootstrap over frames.

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
from edgewright.optimize.evaluate.intervals import MIN_SAMPLES, block_indices, percentile_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.runtime.types import Detections

__all__ = ["MAX_DETECTIONS", "AveragePrecision", "GroundTruth", "PrecisionPair", "as_truth", "compare_precision"]

MAX_DETECTIONS = 100
_ROUNDS = 1000
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
        drop: Float minus INT8, from paired resamples (0..1, negative when INT8 is better).
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
        block: Consecutive frames that are resampled together.

    Returns:
        Both, and the paired drop. With fewer than ``MIN_SAMPLES`` frames every interval is the whole range.

    Raises:
        MissingExtraError: pycocotools is not installed.
    """
    first, second = _Evaluation(truth, float_), _Evaluation(truth, int8)
    whole = np.arange(len(truth), dtype=np.intp)
    at_first, at_second = first.precision(whole), second.precision(whole)
    resamples = block_indices(len(truth), block, _ROUNDS)
    rounds = [np.array([side.precision(index) for index in resamples]) for side in (first, second)]
    rounds_drop = rounds[0] - rounds[1]
    frames = len(truth)
    return PrecisionPair(
        float_=_summary(at_first, rounds[0], frames, 0.0),
        int8=_summary(at_second, rounds[1], frames, 0.0),
        drop=_summary(at_first - at_second, rounds_drop, frames, -1.0),
        frames=frames,
    )


def _summary(value: NDArray[np.float64], rounds: NDArray[np.float64], frames: int, lowest: float) -> AveragePrecision:
    figures = [_measured(float(value[k]), rounds[:, k], frames, lowest) for k in range(2)]
    return AveragePrecision(*figures)


def _measured(value: float, rounds: NDArray[np.float64], frames: int, lowest: float) -> Measured:
    if frames < MIN_SAMPLES or np.isnan(rounds).all():
        return Measured(value, lowest, 1.0, frames)
    low, high = percentile_interval(rounds)
    if low == high:
        # No resample differs: up to 3/n of all frames may still do so, unseen (the rule of three).
        low, high = max(lowest, value - 3 / frames), min(1.0, value + 3 / frames)
    return Measured(value, min(low, value), max(high, value), frames)


class _Evaluation:
    """Per-frame matches computed once; ``precision`` accumulates any resample of the frames."""

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

    def precision(self, frames: NDArray[np.intp]) -> NDArray[np.float64]:
        """AP at IoU 0.5 and AP over IoU 0.5 to 0.95 on ``frames``; NaN when nothing is labelled there."""
        self._eval.evalImgs = list(self._matches[:, frames].ravel())
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
