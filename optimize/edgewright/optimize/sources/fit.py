"""Whether a spec's decoding can read what a model puts out."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from edgewright.bundle.manifest import SsdDecode
from edgewright.optimize.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.bundle.manifest import ClassifyDecode, TensorSpec
    from edgewright.optimize.spec import ModelSpec

__all__ = ["check_fit"]

_CODES = 4


def check_fit(spec: ModelSpec, outputs: Sequence[TensorSpec], where: str) -> None:
    """Compares the sizes of outputs, anchors and labels.

    Args:
        spec: How the model is read.
        outputs: What it puts out, shapes fixed.
        where: The model in words, for messages.

    Raises:
        SpecError: Naming what does not fit, with both numbers.
    """
    by_name = {tensor.name: tensor for tensor in outputs}
    for name in spec.output_names:
        if name not in by_name:
            msg = (
                f"{where} has no output {name!r}; it has {', '.join(map(repr, by_name))}. Correct [decode] in the spec"
            )
            raise SpecError(msg)
        if by_name[name].dtype != "float32":
            msg = f"{where}: output {name!r} is {by_name[name].dtype}; decoding reads float32"
            raise SpecError(msg)
    if isinstance(spec.decode, SsdDecode):
        classes = _check_ssd(spec, spec.decode, by_name, where)
    else:
        classes = _check_classify(spec.decode, by_name, where)
    if spec.labels and len(spec.labels) != classes:
        msg = f"{where} tells {classes} classes apart, but {len(spec.labels)} labels were given"
        raise SpecError(msg)


def _check_ssd(spec: ModelSpec, decode: SsdDecode, outputs: dict[str, TensorSpec], where: str) -> int:
    """Returns the number of classes without the background."""
    count = len(spec.arrays[decode.anchors])
    boxes, scores = outputs[decode.boxes], outputs[decode.scores]
    if prod(boxes.shape) != _CODES * count:
        msg = (
            f"{where}: output {boxes.name!r} has shape {list(boxes.shape)}, which is not 4 codes for each of the "
            f"{count} anchors; the anchors belong to another input size or another model"
        )
        raise SpecError(msg)
    if prod(scores.shape) % count:
        msg = f"{where}: output {scores.name!r} has shape {list(scores.shape)}, which {count} anchors do not divide"
        raise SpecError(msg)
    columns = prod(scores.shape) // count
    if decode.background is None:
        return columns
    if not 0 <= decode.background < columns:
        msg = f"{where}: decode.background is {decode.background}, but output {scores.name!r} has {columns} columns"
        raise SpecError(msg)
    return columns - 1


def _check_classify(decode: ClassifyDecode, outputs: dict[str, TensorSpec], where: str) -> int:
    scores = outputs[decode.scores]
    classes = prod(scores.shape)
    if len(scores.shape) > 1 and max(scores.shape) != classes:
        msg = (
            f"{where}: output {scores.name!r} has shape {list(scores.shape)}; a classifier gives one row of scores. "
            "For a detector write a spec with [decode] head = 'ssd'"
        )
        raise SpecError(msg)
    if classes == 1:
        msg = (
            f"{where}: output {scores.name!r} is a single score; its best class is always the same, so nothing could be "
            "judged. Export two columns, such as no and yes"
        )
        raise SpecError(msg)
    return classes
