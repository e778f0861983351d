"""The prepared float graph: the baseline of every comparison, and what the quantizer starts from.

Both sides of a speed-up get the same folding; otherwise the quantized model would be praised for work that was
merely removed from it (Pads folded into convolutions save the float person detector a tenth of its time as well).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewright.optimize.passes.clips import GuardClips
from edgewright.optimize.passes.fold import FoldBatchNorm, FoldConstants, FoldPads, Simplify
from edgewright.optimize.passes.gemm import PlainGemm
from edgewright.optimize.passes.order import InferShapes, SortTopologically
from edgewright.optimize.passes.runner import TOLERANCE, run_passes
from edgewright.optimize.passes.strip_metadata import StripMetadata
from edgewright.optimize.passes.unshare import UnshareConstants

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.passes.base import Pass

__all__ = ["PreparedGraph", "default_passes", "prepare_graph"]


@dataclass(frozen=True, eq=False)
class PreparedGraph:
    """A float graph ready to be timed and quantized.

    Attributes:
        model: The ONNX file.
        notes: What each pass did.
        max_difference: Largest relative difference from the graph given (see ``passes.runner.TOLERANCE``).
    """

    model: bytes
    notes: tuple[str, ...]
    max_difference: float


def default_passes() -> tuple[Pass, ...]:
    """The passes of ``prepare_graph``, in order."""
    folding = (FoldConstants(), FoldBatchNorm(), FoldPads(), Simplify())
    # GuardClips undoes what Simplify would fold back, and shared constants are told apart when all folding is done.
    return (
        SortTopologically(),
        *folding,
        StripMetadata(),
        GuardClips(),
        PlainGemm(),
        UnshareConstants(),
        InferShapes(),
    )


def prepare_graph(
    model: bytes, feeds: Sequence[Mapping[str, NDArray[Any]]], tolerance: float = TOLERANCE
) -> PreparedGraph:
    """Folds what can be folded, and proves on ``feeds`` that nothing else changed.

    Args:
        model: A float ONNX file with fixed shapes, as in ``FloatModel.model``.
        feeds: Inputs to compare on, such as ``FloatModel.feeds``; at least one.
        tolerance: Largest relative difference that is allowed.

    Raises:
        PassError: A pass broke the model; nothing is returned.
    """
    import onnx

    run = run_passes(onnx.load_model_from_string(model), default_passes(), feeds, tolerance)
    return PreparedGraph(run.model.SerializeToString(deterministic=True), run.notes, run.max_difference)
