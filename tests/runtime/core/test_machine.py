"""The machine in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgewright.runtime import machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("implementer", "part", "name"),
    [("0x41", "0xd08", "Cortex-A72"), ("0x41", "0xd0b", "Cortex-A76"), ("0x41", "0xfff", "ARM core 0xfff")],
)
def test_a_core_that_the_kernel_names_by_number_gets_its_name(
    implementer: str, part: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU implementer\t: {implementer}\nCPU part\t: {part}\n"
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    seen = machine.describe_machine()
    assert seen.processor == name
    assert seen.instructions == ("asimd", "asimddp")


def test_a_board_that_says_its_model_is_called_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "CPU implementer\t: 0x41\nCPU part\t: 0xd0b\n\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine.describe_machine().processor == "Raspberry Pi 5 Model B Rev 1.0"
