"""How good a network is while it trains: cheap figures for early stopping, larger is better.

The judge has the last word, on the exported file; these only choose among the weights of one training.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from edgewright.bundle.manifest import SsdDecode, TensorSpec
from edgewright.optimize.errors import DataError, SpecError
from edgewright.optimize.evaluate.coco import GroundTruth, as_truth, compare_precision
from edgewright.optimize.training.losses.outputs import Reading, answers
from edgewright.runtime.decode import SsdDecoder
from edgewright.runtime.preprocess import Placement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from numpy.typing import NDArray

    from edgewright.optimize.spec import ModelSpec
    from edgewright.optimize.training.sets.pictures import PictureSet
    from edgewright.optimize.training.types import Boxes
    from edgewright.runtime.types import Detections

__all__ = ["boxes_metric", "detections", "looking", "top1_metric"]

_BATCH = 64
_CURVE_THRESHOLD = 0.01
_SEEN = 0.05


def top1_metric(
    pictures: PictureSet, spec: ModelSpec, output_names: Sequence[str], *, batch: int = _BATCH
) -> Callable[[torch.nn.Module], float]:
    """Share of labelled pictures whose best class is right, 0..1.

    Args:
        pictures: Undistorted ones are looked at, those without a label are left out.
        spec: How the outputs are read.
        output_names: Of what the module answers.
        batch: Pictures at a time.

    Raises:
        DataError: Nothing is labelled.
    """
    reading = Reading(spec, output_names)
    plain = pictures.undistorted()
    rows = np.flatnonzero(plain.classes >= 0) if plain.classes is not None else np.zeros(0, np.intp)
    if not len(rows):
        msg = "no picture has a class; top-1 accuracy needs labels"
        raise DataError(msg)

    def measure(module: torch.nn.Module) -> float:
        right = 0
        with looking(module) as device:
            for part in _parts(rows, batch):
                given = plain.batch(part, np.random.default_rng(0)).to(device)
                best = reading.scores(answers(module, given.inputs)).argmax(-1)
                right += int(best.eq(given.classes).sum()) if given.classes is not None else 0
        return right / len(rows)

    return measure


def boxes_metric(
    pictures: PictureSet,
    spec: ModelSpec,
    output_names: Sequence[str],
    *,
    reference: torch.nn.Module | None = None,
    batch: int = 8,
) -> Callable[[torch.nn.Module], float]:
    """AP at IoU 0.5 against labelled boxes, or against those of another network (agreement), 0..1.

    Decoded by the device's own decoder, in pixels of the network's picture.

    Args:
        pictures: Undistorted ones are looked at.
        spec: How the outputs are read.
        output_names: Of what the module answers.
        reference: Its boxes are taken for true, and labels are not needed; it answers in the same form.
        batch: Pictures at a time.

    Raises:
        DataError: There is neither label nor reference.
        SpecError: It is no detector.
    """
    decode = spec.decode
    if not isinstance(decode, SsdDecode):
        msg = f"{spec.name} is no detector; it has no boxes to compare"
        raise SpecError(msg)
    reading = Reading(spec, output_names)
    plain = pictures.undistorted()
    if reference is not None:
        rows = np.arange(len(plain))
        seen = detections(reference, plain, rows, reading, batch)
        truth = [as_truth(found, decode.score_threshold) for found in seen]
    else:
        known = [boxes is not None for boxes in plain.boxes or ()]
        rows = np.flatnonzero(known)
        truth = [_truth(boxes, spec) for boxes in plain.boxes or () if boxes is not None]
    if not any(bool((~frame.ignore).any()) for frame in truth):
        msg = (
            "no picture has a box to compare with; give labelled pictures, or some on which the reference sees objects"
        )
        raise DataError(msg)

    def measure(module: torch.nn.Module) -> float:
        found = detections(module, plain, rows, reading, batch)
        # All frames in one block: only the figure is wanted, no interval.
        pair = compare_precision(truth, found, found, block=max(1, len(truth)))
        value = pair.float_.ap50.value
        return 0.0 if np.isnan(value) else value

    return measure


def detections(
    module: torch.nn.Module, pictures: PictureSet, rows: NDArray[np.intp], reading: Reading, batch: int
) -> list[Detections]:
    """What a module sees in some pictures, nearly all scores, in pixels of the network's picture.

    Raises:
        SpecError: It is no detector.
    """
    pre, decode = reading.spec.preprocess, reading.decode
    if not isinstance(decode, SsdDecode):
        msg = f"{reading.spec.name} is no detector"
        raise SpecError(msg)
    place = Placement(1.0, 1.0, 0.0, 0.0, pre.width, pre.height)
    found: list[Detections] = []
    decoder: SsdDecoder | None = None
    with looking(module) as device:
        for part in _parts(rows, batch):
            given = pictures.batch(part, np.random.default_rng(0)).to(device)
            outputs = answers(module, given.inputs)
            scores, codes = reading.scores(outputs).cpu().numpy(), reading.codes(outputs).cpu().numpy()
            if decoder is None:
                shapes = {decode.scores: scores.shape[1:], decode.boxes: codes.shape[1:]}
                tensors = {name: TensorSpec(name, (1, *shape), "float32") for name, shape in shapes.items()}
                decoder = SsdDecoder(decode, pre, reading.spec.arrays, tensors)
            for row_scores, row_codes in zip(scores, codes, strict=True):
                raw = {decode.scores: row_scores, decode.boxes: row_codes}
                found.append(decoder(raw, place, _CURVE_THRESHOLD))
    return found


@contextlib.contextmanager
def looking(module: torch.nn.Module) -> Iterator[torch.device]:
    """The module in eval mode without gradients, as it was afterwards; gives the device it is on."""
    import torch

    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
    finally:
        # One by one: a batch norm may have been frozen by itself.
        for part, training in modes:
            part.training = training


def _parts(rows: NDArray[np.intp], batch: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + batch].astype(np.int64) for start in range(0, len(rows), batch)]


def _truth(boxes: Boxes, spec: ModelSpec) -> GroundTruth:
    size = np.array([spec.preprocess.width, spec.preprocess.height] * 2, np.float64)
    return GroundTruth(boxes.corners.astype(np.float64) * size, boxes.classes, boxes.weights < _SEEN)
