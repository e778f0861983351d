"""What a board is, as data: every field says how it is known, and where that is written.

The public face of the portion: types from ``schema``, reading from ``reading``, writing from ``writing``.
"""

from __future__ import annotations

from edgewright.device_profiles.reading import list_profiles, load_profile, parse_profile
from edgewright.device_profiles.schema import DeviceProfile, IntegerDot, IntegerFormat, Known, Origin, Provider
from edgewright.device_profiles.writing import profile_toml

__all__ = [
    "DeviceProfile",
    "IntegerDot",
    "IntegerFormat",
    "Known",
    "Origin",
    "Provider",
    "list_profiles",
    "load_profile",
    "parse_profile",
    "profile_toml",
]
