"""Errors of probing.

The tree::

    RuntimeFailure         (edgewright.runtime.errors)
    +-- ProbeError         something on this machine cannot be found out
"""

from __future__ import annotations

from edgewright.runtime.errors import RuntimeFailure

__all__ = ["ProbeError"]


class ProbeError(RuntimeFailure):
    """Something on this machine cannot be found out."""
