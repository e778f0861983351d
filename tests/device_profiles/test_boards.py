"""What the shipped boards say hangs together, and the page about them says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from boards_table import BEGIN, END, boards_table

from edgewright.device_profiles.profile import Origin, list_profiles, load_profile
from edgewright.device_profiles.rules import FIELDS, FORMAT_FIELDS, PIPELINES, PROVIDER_OPTIONS
from edgewright.device_profiles.wheels import wheel_platforms

PAGE = (Path(__file__).parents[2] / "docs/reference/profiles.md").read_text(encoding="utf-8")
BOARDS = (
    "generic-x86-vnni",
    "generic-x86-avx2",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "raspberry-pi-zero-2w",
    "jetson-nano",
    "jetson-orin-nano",
    "jetson-agx-orin",
    "coral-dev",
    "generic-arm64",
)


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_says_what_deployment_and_service_need(name: str) -> None:
    known = load_profile(name).known()
    wanted = {"architecture", "backends", "glibc", "wheel_platforms", "python", "memory_max_mb", "watchdog_s"}
    assert wanted <= set(known)
    assert "gstreamer.usb" in known
    if not name.startswith("generic"):
        assert {"cores", "memory_mb", "threads", "processor", "os", "warn_celsius"} <= set(known)


@pytest.mark.parametrize("name", list_profiles())
def test_wheels_fit_architecture_and_c_library(name: str) -> None:
    board = load_profile(name)
    assert board.architecture is not None
    assert board.glibc is not None
    assert board.wheel_platforms is not None
    assert board.wheel_platforms.value == wheel_platforms(board.architecture.value, board.glibc.value)


@pytest.mark.parametrize("name", list_profiles())
def test_nothing_is_called_measured_that_only_a_board_could_tell(name: str) -> None:
    """No board was at hand: what is measured is x86, or sums of products under an emulated processor."""
    for field, known in load_profile(name).known().items():
        if known.origin is Origin.MEASURED:
            arm = load_profile(name).architecture.value == "aarch64"  # type: ignore[union-attr]
            assert not arm or (field == "integer_dot" and "emulated" in known.source)
        if "from memory" in known.source or "not read" in known.source:
            assert known.origin is Origin.ASSUMED


def test_no_shipped_profile_claims_speed() -> None:
    for name in list_profiles():
        board = load_profile(name)
        assert (board.kernels, board.memory_bandwidth_gbs, board.fsync_ms, board.cameras) == ({}, None, None, None)


def test_the_page_shows_the_boards_as_they_are() -> None:
    shown = PAGE.split(BEGIN)[1].split(END)[0].strip()
    assert shown == boards_table(), "print it with: python tests/support/boards_table.py"


def test_the_page_explains_every_field() -> None:
    names = {*FIELDS, *FORMAT_FIELDS, *PROVIDER_OPTIONS, *PIPELINES, "formats", "providers", "gstreamer", "kernels"}
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []


def test_the_page_s_own_profile_is_good(tmp_path: Path) -> None:
    text = PAGE.split("```toml\n# my-camera.toml\n")[1].split("```")[0]
    (tmp_path / "my-camera.toml").write_text(text)
    assert load_profile(str(tmp_path / "my-camera.toml")).lineage[0] == "raspberry-pi-5"
