"""TensorFlow's formats to a ``FloatModel``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgewright.optimize.errors import ModelError
from edgewright.optimize.passes.runner import TOLERANCE, largest_difference, run_onnx
from edgewright.optimize.sources.draw import draw, finish
from edgewright.optimize.sources.feeds import picture_feeds
from edgewright.optimize.sources.tf.fold import fold_scales
from edgewright.optimize.sources.tf.formats import check_file, digest_of
from edgewright.optimize.sources.tf.reader import read_by_tensorflow
from edgewright.optimize.sources.tf.scaling import absorb_scaling
from edgewright.optimize.spec import ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.optimize.sources.draw import Drawn, Given
    from edgewright.optimize.sources.float_model import FloatModel
    from edgewright.optimize.sources.tf.formats import TfFormat
    from edgewright.optimize.sources.tf.names import GraphNames

__all__ = ["load_tensorflow"]


def load_tensorflow(path: Path, kind: TfFormat, names: GraphNames, given: Given) -> FloatModel:
    """Loads what TensorFlow reads, and proves the ONNX file against TensorFlow on the same inputs.

    Args:
        path: The file or folder.
        kind: Its format.
        names: Where to cut a frozen graph.
        given: What the user said; a layout in the spec is of no account, for the converter chooses it.

    Raises:
        ModelError: The file cannot be used, or what was made of it computes something else.
        SpecError: Nothing says how to read it, or the spec does not fit it.
        MissingExtraError: TensorFlow or tf2onnx is not installed.
    """
    import onnx

    where = str(path)
    try:
        check_file(path, kind)
        digest = digest_of(path)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise ModelError(msg) from error
    if isinstance(given.spec, ModelSpec):
        given = replace(given, spec=replace(given.spec, input_shape=None))
    with read_by_tensorflow(path, kind, names, given.size) as read:
        model = onnx.load_model_from_string(read.onnx)
        folded = fold_scales(model)
        drawn = draw(model, given, path, folded)
        outputs = read.run(drawn.feeds, [value.name for value in model.graph.output])
    preprocess = drawn.spec.preprocess
    drawn = _with_scaling_absorbed(drawn, given)
    found = run_onnx(
        model.SerializeToString(), drawn.feeds, ModelError, f"{where}: ONNX Runtime refuses the conversion"
    )
    difference = largest_difference(outputs, found)
    if not difference <= TOLERANCE:
        msg = (
            f"{where}: the converted ONNX differs from TensorFlow by {difference:.3g} (limit {TOLERANCE:g}) on "
            f"{len(drawn.feeds)} inputs; look for randomness, or for layers that act as in training"
        )
        raise ModelError(msg)
    tensorflow = read.versions.get("tensorflow-cpu") or read.versions.get("tensorflow", "?")
    note = (
        f"{kind.value} read by TensorFlow {tensorflow} and converted by tf2onnx {read.versions.get('tf2onnx', '?')}; "
        f"largest difference from TensorFlow on {len(drawn.feeds)} inputs: {difference:.2g}"
    )
    made = finish(replace(drawn, notes=(note, *drawn.notes)), where, digest)
    return replace(
        made,
        max_difference=difference,
        tools={**made.tools, **read.versions},
        reference=tuple(tuple(row) for row in outputs),
        scaling_moved=drawn.spec.preprocess != preprocess,
    )


def _with_scaling_absorbed(drawn: Drawn, given: Given) -> Drawn:
    spec, notes = absorb_scaling(drawn.model, drawn.spec)
    if not notes:
        return drawn
    feeds = picture_feeds(spec, drawn.model.graph.input[0].name, given.images)
    return replace(drawn, spec=spec, feeds=feeds, notes=(*drawn.notes, *notes))
