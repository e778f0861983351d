"""Whether a classifier's scores are probabilities already; a second softmax would flatten them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.manifest import ScoreActivation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx
    from numpy.typing import NDArray

__all__ = ["activation_of"]

_HANDING_ON = frozenset(
    {"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
_ENDS = {
    "Softmax": (ScoreActivation.NONE, "the graph ends in a softmax"),
    "Sigmoid": (ScoreActivation.NONE, "the graph ends in a sigmoid"),
    "HardSigmoid": (ScoreActivation.NONE, "the graph ends in a hard sigmoid"),
    # softmax(log p) = p
    "LogSoftmax": (ScoreActivation.SOFTMAX, "the graph ends in a log-softmax"),
}
_ROUNDING = 1e-3


def activation_of(model: onnx.ModelProto, output: str, observed: Sequence[NDArray[Any]]) -> tuple[ScoreActivation, str]:
    """What decoding must apply to the scores.

    Args:
        model: The graph.
        output: Name of the scores.
        observed: The scores of some pictures, for graphs that spell a softmax out.

    Returns:
        The activation, and why, in words.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    node = producers.get(output)
    while node is not None and node.op_type in _HANDING_ON:
        node = producers.get(node.input[0])
    if node is not None and node.op_type in _ENDS:
        return _ENDS[node.op_type]
    if observed and all(_is_distribution(scores) for scores in observed):
        return ScoreActivation.NONE, "the scores of every picture tried lie within 0..1 and sum to 1"
    return ScoreActivation.SOFTMAX, "the scores are not probabilities yet"


def _is_distribution(scores: NDArray[Any]) -> bool:
    values = scores.astype(np.float64).ravel()
    return bool((values >= 0).all() and abs(values.sum() - 1.0) <= _ROUNDING)
