"""Errors of the device profiles.

The tree::

    EdgewrightError
    +-- ProfileError   no such profile, or its TOML says something it must not say
"""

from __future__ import annotations

from edgewright.bundle.errors import EdgewrightError

__all__ = ["ProfileError"]


class ProfileError(EdgewrightError):
    """A device profile cannot be had."""
