"""What estimating raises on purpose."""

from __future__ import annotations

from edgewright.optimize.errors import OptimizeError

__all__ = ["EstimateError"]


class EstimateError(OptimizeError):
    """There is nothing to estimate with: the profile holds no kernels, or none for any variant of the bundle."""
