"""Float graphs rescaled so that they quantize better and compute the same.

Two of the passes move factors from the output channels of one operator into the input channels of those that read it,
the third takes channels that never fire out of the arithmetic. They are passes like those of
``edgewright.optimize.passes``, so the runner proves on pictures that the function stays.

Example:
    >>> maxima = ChannelMaxima(model)                                        # doctest: +SKIP
    >>> walk(model, feeds, [maxima])                                         # doctest: +SKIP
    >>> scaled = scale_graph(model, [SCALING_PASSES["equalize"](maxima.values())], pictures)  # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.optimize.passes.runner import TOLERANCE, run_passes
from edgewright.optimize.scaling.dead import FoldDeadChannels
from edgewright.optimize.scaling.equalize import Equalize
from edgewright.optimize.scaling.maxima import ChannelMaxima, Maxima
from edgewright.optimize.scaling.smooth import Smooth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgewright.optimize.passes.base import Pass
    from edgewright.optimize.types import Feeds

__all__ = [
    "SCALING_PASSES",
    "ChannelMaxima",
    "Equalize",
    "FoldDeadChannels",
    "Maxima",
    "ScaledGraph",
    "Smooth",
    "scale_graph",
]

SCALING_PASSES: Mapping[str, Callable[[Maxima], Pass]] = {
    "fold-dead-channels": FoldDeadChannels,
    "equalize": Equalize,
    "smooth": Smooth,
}
"""The passes by name; each is made from the channels' maxima on calibration pictures."""


@dataclass(frozen=True, eq=False)
class ScaledGraph:
    """A rescaled float graph.

    Attributes:
        model: The ONNX file; ranges and moments of the graph before do not hold for it.
        notes: What each pass did.
        max_difference: Largest relative difference of outputs (see ``passes.runner.TOLERANCE``).
    """

    model: bytes
    notes: tuple[str, ...]
    max_difference: float


def scale_graph(
    model: bytes, passes: Sequence[Pass], feeds: Sequence[Feeds], tolerance: float = TOLERANCE
) -> ScaledGraph:
    """Applies scaling passes and proves on ``feeds`` that the graph computes the same.

    Args:
        model: A prepared float ONNX file.
        passes: In order.
        feeds: Inputs to compare on, at least one.
        tolerance: Largest relative difference that is allowed.

    Raises:
        PassError: A pass changed the function; nothing is returned.
    """
    import onnx

    run = run_passes(onnx.load_model_from_string(model), passes, feeds, tolerance)
    return ScaledGraph(run.model.SerializeToString(deterministic=True), run.notes, run.max_difference)
