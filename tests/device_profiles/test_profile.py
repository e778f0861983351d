"""Boards as data."""

from __future__ import annotations

import pytest

from edgewright.device_profiles.errors import ProfileError
from edgewright.device_profiles.profile import Origin, list_profiles, load_profile


@pytest.mark.parametrize("name", list_profiles())
def test_every_profile_loads_and_says_how_it_knows(name: str) -> None:
    profile = load_profile(name)
    assert profile.description
    assert profile.architecture is not None
    assert all(known.origin in Origin for known in profile.known().values())


def test_a_profile_takes_over_what_it_does_not_say() -> None:
    board = load_profile("raspberry-pi-5")
    assert board.lineage == ("armv8.2-dotprod", "armv8-a")
    assert board.instructions is not None
    assert "asimddp" in board.instructions.value
    assert board.architecture == load_profile("armv8-a").architecture


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(ProfileError, match="raspberry-pi-5"):
        load_profile("toaster")
