"""What the system says of a machine, and which shipped profile that is near."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from edgewright.runtime.machine import Machine
from edgewright.runtime.probing.errors import ProbeError
from edgewright.runtime.probing.facts import EMULATED_VARIABLE, SystemFacts, read_facts
from edgewright.runtime.probing.nearest import nearest_profile


def facts(architecture: str, *instructions: str, board: str | None = None) -> SystemFacts:
    machine = Machine("a processor", architecture, 4, instructions, "Linux 6.1")
    return SystemFacts(machine, 4096, None, "3.11", "2.36", board, None)


NEAREST = {
    facts("x86_64", "avx2", "avx512_vnni"): "generic-x86-vnni",
    facts("x86_64", "avx2", "avx_vnni"): "generic-x86-vnni",
    facts("x86_64", "avx2", "avx512f"): "generic-x86-avx2",
    facts("x86_64"): "x86-64",
    facts("aarch64", "asimd", "asimddp"): "armv8.2-dotprod",
    facts("aarch64", "asimd"): "generic-arm64",
    facts("aarch64", "asimd", board="Raspberry Pi Zero 2 W Rev 1.0"): "raspberry-pi-zero-2w",
    facts("aarch64", "asimd", board="Raspberry Pi 4 Model B Rev 1.4"): "raspberry-pi-4",
    facts("aarch64", "asimddp", board="Raspberry Pi 5 Model B Rev 1.0"): "raspberry-pi-5",
    facts("aarch64", board="NVIDIA Jetson Nano Developer Kit"): "jetson-nano",
    facts("aarch64", board="NVIDIA Jetson Orin Nano Developer Kit"): "jetson-orin-nano",
    facts("aarch64", board="NVIDIA Jetson AGX Orin Developer Kit"): "jetson-agx-orin",
    facts("aarch64", board="Freescale i.MX8MQ Phanbell"): "coral-dev",
    facts("aarch64", board="Orange Pi 5"): "generic-arm64",
    facts("x86_64", "avx2", board="Raspberry Pi 5"): "generic-x86-avx2",
}


@pytest.mark.parametrize(("said", "name"), NEAREST.items(), ids=NEAREST.values())
def test_the_nearest_profile(said: SystemFacts, name: str) -> None:
    assert nearest_profile(said) == name


@pytest.mark.parametrize("architecture", ["armv7l", "i686", "riscv64"])
def test_no_profile_is_near_another_kind_of_machine(architecture: str) -> None:
    with pytest.raises(ProbeError, match=f"this system is '{architecture}'; edgewright runs on 64-bit"):
        nearest_profile(facts(architecture))


def test_this_machine() -> None:
    here = read_facts()
    assert here.machine.architecture == platform.machine()
    assert here.memory_mb is not None
    assert here.memory_mb > 256
    assert ".".join(platform.python_version_tuple()[:2]) == here.python
    assert here.glibc is not None
    assert here.glibc.startswith("2.")
    assert here.system


def test_a_board_names_itself_and_its_owner_an_emulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EMULATED_VARIABLE, raising=False)
    empty = read_facts(tmp_path)
    assert (empty.board, empty.memory_mb, empty.emulator) == (None, None, None)
    model = tmp_path / "proc/device-tree/model"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"Raspberry Pi 5\x1b[2J Model B Rev 1.0\0")
    (tmp_path / "proc/meminfo").write_text("MemTotal:        8257536 kB\nMemFree: 1 kB\n")
    monkeypatch.setenv(EMULATED_VARIABLE, "qemu-user")
    named = read_facts(tmp_path)
    assert named.board == "Raspberry Pi 5\\x1b[2J Model B Rev 1.0"
    assert (named.memory_mb, named.emulator) == (8064, "qemu-user")
