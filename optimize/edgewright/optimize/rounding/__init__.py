"""Better integers for a quantized graph: weights rounded by what they do to outputs, biases that mend mean errors.

``ROUNDING_PASSES`` names the passes for recipes; each is made without arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.rounding.base import RoundingInput, RoundingPass
from edgewright.optimize.rounding.bias import CorrectBias
from edgewright.optimize.rounding.depthwise import RoundDepthwise
from edgewright.optimize.rounding.moments import LayerMoments, MomentObserver
from edgewright.optimize.rounding.second_moment import RoundSecondMoment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ROUNDING_PASSES",
    "CorrectBias",
    "LayerMoments",
    "MomentObserver",
    "RoundDepthwise",
    "RoundSecondMoment",
    "RoundingInput",
    "RoundingPass",
]

ROUNDING_PASSES: Mapping[str, Callable[[], RoundingPass]] = {
    "round-depthwise": RoundDepthwise,
    "round-second-moment": RoundSecondMoment,
    "correct-bias": CorrectBias,
}
