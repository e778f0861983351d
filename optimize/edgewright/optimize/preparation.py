"""The float graph made ready, or a message that names the node which stands in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.calibration import calibrate
from edgewright.optimize.errors import JudgeError, ModelError, PassError
from edgewright.optimize.passes import prepare_graph
from edgewright.optimize.quantization.checks import check_quantizable

if TYPE_CHECKING:
    from edgewright.optimize.sources import FloatModel

__all__ = ["prepare_source"]


def prepare_source(source: FloatModel) -> tuple[bytes, tuple[str, ...]]:
    """Prepares the graph and checks that it can be quantized.

    Args:
        source: The float model as loaded.

    Returns:
        The prepared graph, and notes on what was done and what is odd.

    Raises:
        ModelError: It cannot be quantized, naming the node.
        PassError: A pass changed what the model computes; a defect of ours.
    """
    try:
        prepared = prepare_graph(source.model, source.feeds)
    except PassError:
        # NaN is unlike everything, itself included, so the first pass gets the blame for a value that was there before.
        _refuse_odd_values(source)
        raise
    notes = check_quantizable(prepared.model)
    return prepared.model, (*prepared.notes, *notes)


def _refuse_odd_values(source: FloatModel) -> None:
    """Names the node whose weights, or else whose answers, are NaN or infinite.

    Raises:
        ModelError: There is one.
    """
    import onnx

    check_quantizable(source.model)
    shaped = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(source.model), data_prop=True)
    try:
        calibrate(shaped.SerializeToString(), lambda: iter(source.feeds))
    except JudgeError as error:
        raise ModelError(str(error)) from error
