"""How long a bundle's variants will take on a board that is not at hand: a range, from its measured kernels.

Roofline-like (Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model"): every operator
takes as long as its multiplications or its bytes do, whichever is more, and what any operator costs. The rates come out of
the board's profile; a profile without measured kernels is refused, for a guess would look like a figure.
"""

from edgewright.optimize.estimate.bundle import estimate_bundle
from edgewright.optimize.estimate.errors import EstimateError
from edgewright.optimize.estimate.estimates import Estimates, VariantEstimate

__all__ = ["EstimateError", "Estimates", "VariantEstimate", "estimate_bundle"]
