"""The unit as systemd itself reads it."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.deploy.errors import DeployError
from edgewright.deploy.unit import UnitPaths, render_journald, render_unit
from edgewright.deploy.unit_syntax import account, argument, item, whole
from edgewright.device_profiles.profile import DeviceProfile, Known, Origin, load_profile

EXPOSURE = 2.0  # of 10; what is left is the network, the camera and the sight of /proc
ODD = "a b%h$HOME;c#d"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def program(folder: Path) -> PurePosixPath:
    """Something that can be executed."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "edgewright"
    made.write_text("#!/bin/sh\n")
    made.chmod(0o755)
    return PurePosixPath(made)


def analyzed(folder: Path, text: str, *command: str) -> subprocess.CompletedProcess[str]:
    """What systemd says of the unit."""
    unit = folder / "edgewright.service"
    unit.write_text(text)
    return subprocess.run(["systemd-analyze", *command, str(unit)], capture_output=True, text=True, check=False)


def values(text: str, key: str) -> list[str]:
    return re.findall(rf"(?m)^{key}=(.*)$", text)


def known(value: int) -> Known[int]:
    # Every field but the first two has a default in one version of the record or another.
    return replace(next(iter(load_profile("raspberry-pi-4").known().values())), value=value, origin=Origin.ASSUMED)


@needs_systemd
@pytest.mark.parametrize("name", [None, "generic-x86-avx2", "raspberry-pi-5", "jetson-orin-nano", "coral-dev"])
def test_systemd_takes_the_unit_of_every_profile_without_a_remark(name: str | None, tmp_path: Path) -> None:
    profile = None if name is None else load_profile(name)
    text = render_unit(UnitPaths(program(tmp_path)), profile)
    done = analyzed(tmp_path, text, "verify")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize("name", [None, "raspberry-pi-5", "jetson-orin-nano", "coral-dev"])
def test_little_is_left_to_attack(name: str | None, tmp_path: Path) -> None:
    profile = None if name is None else load_profile(name)
    text = render_unit(UnitPaths(program(tmp_path)), profile)
    done = analyzed(tmp_path, text, "security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}")
    assert done.returncode == 0, done.stdout[-200:]
    # The measure means something: the bare command is far above it.
    bare = f"[Service]\nExecStart={program(tmp_path)}\n"
    assert analyzed(tmp_path, bare, "security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}").returncode != 0


@needs_systemd
def test_odd_paths_mean_themselves(tmp_path: Path) -> None:
    odd = program(tmp_path / ODD)
    state = PurePosixPath(tmp_path / "a b%h$HOME")
    text = render_unit(UnitPaths(odd, odd.with_name("device.toml"), state))
    done = analyzed(tmp_path, text, "verify")
    assert (done.returncode, done.stderr) == (0, "")
    # Unescaped, the same path is another one, and systemd finds nothing there.
    assert analyzed(tmp_path, text.replace(item(odd), str(odd)), "verify").returncode != 0


@pytest.mark.parametrize(
    "bad",
    ["relative/path", "/a\nExecStartPost=/bin/evil", "/a\x00b", "/a\x1b[2J", "/a\u2028b", '/a"b', "/a\\b", "/it's"],
)
def test_what_cannot_stand_in_a_unit_is_refused(bad: str) -> None:
    for place in ("program", "config", "state"):
        with pytest.raises(DeployError):
            render_unit(replace(UnitPaths(), **{place: PurePosixPath(bad)}))


@pytest.mark.parametrize("name", ["", "Root", "a b", "root\nUser=x", "0user", "-x", "x" * 40, "%u", "${USER}"])
def test_accounts_must_be_accounts(name: str) -> None:
    with pytest.raises(DeployError, match="no name of a system account"):
        render_unit(replace(UnitPaths(), user=name))


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_path_stays_on_its_line_and_can_be_read_back(text: str) -> None:
    path = PurePosixPath("/" + text)
    for write in (argument, item, whole):
        try:
            written = write(path)
        except DeployError:
            continue
        assert len(written.splitlines()) == 1
        assert unescaped(written, dollars=write is argument) == str(path)


def unescaped(text: str, *, dollars: bool) -> str:
    """What systemd makes of a value: quotes, specifiers, variables."""
    if text.startswith('"'):
        assert text.endswith('"')
        text = text[1:-1]
    assert "%" not in text.replace("%%", "")
    text = text.replace("%%", "%")
    return text.replace("$$", "$") if dollars else text


def test_a_board_without_figures_gets_what_suits_any() -> None:
    text = render_unit(UnitPaths())
    assert values(text, "WatchdogSec") == ["30"]
    assert values(text, "MemoryMax") == ["80%"]
    assert values(text, "CPUQuota") == []
    assert values(text, "MemoryDenyWriteExecute") == []  # it may have an accelerator
    assert render_unit(UnitPaths(), DeviceProfile("bare", "nothing is known")).count("MemoryMax=80%") == 1


def test_a_profile_sets_the_limits() -> None:
    profile = replace(
        load_profile("raspberry-pi-5"), memory_max_mb=known(1000), watchdog_s=known(12), cpu_quota=known(250)
    )
    text = render_unit(UnitPaths(), profile)
    assert values(text, "MemoryMax") == ["1000M"]
    assert values(text, "MemoryHigh") == ["900M"]
    assert values(text, "WatchdogSec") == ["12"]
    assert values(text, "CPUQuota") == ["250%"]
    assert values(text, "MemoryDenyWriteExecute") == ["yes"]


def test_devices_are_those_of_the_board() -> None:
    pi, jetson = (values(render_unit(UnitPaths(), load_profile(name)), "DeviceAllow") for name in
                  ("raspberry-pi-5", "jetson-orin-nano"))  # fmt: skip
    assert "char-video4linux rw" in pi
    assert not [line for line in pi if "nv" in line]
    assert {"char-video4linux rw", "char-nv* rw", "/dev/nvmap rw"} <= set(jetson)


def test_it_restarts_for_ever_and_is_watched() -> None:
    text = render_unit(UnitPaths())
    for line in ("Type=notify", "Restart=always", "StartLimitIntervalSec=0", "User=edgewright", "NoNewPrivileges=yes"):
        assert f"\n{line}\n" in text


def test_the_state_folder_is_writable_wherever_it_is() -> None:
    assert values(render_unit(UnitPaths()), "StateDirectory") == ["edgewright"]
    text = render_unit(replace(UnitPaths(), state=PurePosixPath("/data/camera one")))
    assert values(text, "StateDirectory") == []
    assert values(text, "ReadWritePaths") == ['"/data/camera one"']


def test_the_journal_is_bounded() -> None:
    text = render_journald(64)
    assert (values(text, "SystemMaxUse"), values(text, "Storage")) == (["64M"], ["auto"])
    assert values(text, "RateLimitBurst")
    assert values(render_journald(64, volatile=True), "Storage") == ["volatile"]
    with pytest.raises(DeployError, match=r"--journal-mb 7 is too small; give 8 or more, or .* --journal volatile"):
        render_journald(7)
    with pytest.raises(DeployError, match=r"--journal-mb 7 is too small; give 8 or more$"):
        render_journald(7, volatile=True)


@pytest.mark.parametrize("name", ["edgewright", "_x", "cam-1"])
def test_usual_accounts_are_taken(name: str) -> None:
    assert account(name) == name
