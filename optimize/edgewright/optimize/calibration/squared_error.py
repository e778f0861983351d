"""The clipping range with the least mean squared error on the integer grid.

Every bin's centre is quantized with the scale and the integer zero point that the candidate range gives, and the
squared errors are weighed by the counts: rounding noise grows with the range, clipping error shrinks. Choosing
activation ranges so is common practice, for example in R. Krishnamoorthi, "Quantizing deep convolutional networks for
efficient inference", 2018, and Nagel et al., "A white paper on neural network quantization", 2021, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgewright.optimize.calibration.search import search_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.optimize.calibration.search import Bins

__all__ = ["squared_error_range", "squared_errors"]

_STEPS = 255
_SIGNED_STEPS = 254


def squared_error_range(bins: Bins) -> tuple[int, int]:
    """Start and stop bin of the best range; see ``search_range``."""
    return search_range(bins, squared_errors, 1)


def squared_errors(bins: Bins, starts: NDArray[np.intp], stops: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean squared error of each candidate range.

    Args:
        bins: What was counted.
        starts: (k,) first bins.
        stops: (k,) one past the last bins.

    Returns:
        (k,) in squared units of the tensor.
    """
    used = np.flatnonzero(bins.counts)
    if not len(used):
        return np.zeros(len(starts))
    width = bins.edges[1] - bins.edges[0]
    # In bins' widths, counted from zero, so that tiny and huge tensors do not leave the range of floats.
    centres, weights = used - bins.zero + 0.5, bins.counts[used]
    scale = (stops - starts)[:, None] / (_SIGNED_STEPS if bins.symmetric else _STEPS)
    zero = np.rint((bins.zero - starts)[:, None] / scale)
    steps = np.clip(np.rint(centres / scale) + zero, 0, _SIGNED_STEPS if bins.symmetric else _STEPS) - zero
    errors = np.asarray(((steps * scale - centres) ** 2) @ weights / weights.sum())
    return errors * float(width) ** 2
