"""Errors of the wiring.

The tree::

    EdgewrightError          (edgewright.bundle.errors) exit code 2
    +-- DeviceConfigError    the configuration says something that cannot be meant
"""

from __future__ import annotations

from edgewright.bundle.errors import EdgewrightError

__all__ = ["DeviceConfigError"]


class DeviceConfigError(EdgewrightError):
    """The configuration, or a flag that overrides it, says something that cannot be meant."""
