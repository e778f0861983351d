"""Which wheels a system takes, from its architecture and the version of its C library."""

from __future__ import annotations

__all__ = ["wheel_platforms"]

_OLDEST_MINOR = 17
"""The first version that a tag of PEP 600 names on ARM; older ones have names of their own."""


def wheel_platforms(architecture: str, glibc: str) -> tuple[str, ...]:
    """Platform tags, the best first (PEP 600): a wheel for an older glibc runs on a newer one.

    Args:
        architecture: Such as ``aarch64``.
        glibc: Such as ``2.36``.
    """
    major, _, minor = glibc.partition(".")
    tags = [f"manylinux_{major}_{number}_{architecture}" for number in range(int(minor), _OLDEST_MINOR - 1, -1)]
    old = [f"manylinux2014_{architecture}"] if int(minor) >= _OLDEST_MINOR else []
    return (*tags, *old, f"linux_{architecture}")
