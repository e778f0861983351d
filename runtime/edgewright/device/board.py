"""What the profile of a board means for a run: engine threads, camera pipelines, limits of temperature."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgewright.device_profiles.profile import load_profile
from edgewright.runtime.probing.errors import ProbeError
from edgewright.runtime.probing.facts import read_facts
from edgewright.runtime.probing.nearest import nearest_profile

if TYPE_CHECKING:
    from edgewright.device.config import ModelSettings
    from edgewright.device_profiles.profile import DeviceProfile

__all__ = ["engine_threads", "named_profile", "profile_here"]


def named_profile(settings: ModelSettings) -> DeviceProfile | None:
    """The profile that the settings name, None when they name none.

    Raises:
        ProfileError: There is no such profile, or its file is wrong.
    """
    return None if settings.profile is None else load_profile(settings.profile)


def profile_here(named: DeviceProfile | None) -> DeviceProfile | None:
    """The named profile, else the nearest to this machine; None where none is near."""
    if named is not None:
        return named
    try:
        return load_profile(nearest_profile(read_facts()))
    except ProbeError:
        return None


def engine_threads(asked: int | None, profile: DeviceProfile | None) -> int:
    """Threads of the engine: as asked, else as the named profile says but no more than there are cores, else one."""
    if asked is not None:
        return asked
    if profile is None or profile.threads is None:
        return 1
    return min(profile.threads.value, os.cpu_count() or 1)
