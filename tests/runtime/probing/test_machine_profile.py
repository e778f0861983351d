"""This machine, measured into a profile."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from edgewright.device_profiles.errors import ProfileError
from edgewright.device_profiles.profile import Origin, parse_profile, profile_toml
from edgewright.runtime.machine import Machine
from edgewright.runtime.probing.cameras import CameraNode
from edgewright.runtime.probing.disk import DiskFigure, fsync_latency
from edgewright.runtime.probing.errors import ProbeError
from edgewright.runtime.probing.facts import SystemFacts
from edgewright.runtime.probing.machine_profile import Measured, measure, profile_of
from edgewright.runtime.probing.memory import copy_bandwidth_gbs

ZERO = SystemFacts(
    Machine("Cortex-A53", "aarch64", 2, ("asimd",), "Linux 6.6"),
    416,
    "Debian GNU/Linux 12 (bookworm)",
    "3.11",
    "2.36",
    "Raspberry Pi Zero 2 W Rev 1.0",
    None,
)
MEASURED = Measured(
    facts=ZERO,
    bandwidth_gbs=1.23456,
    disk=DiskFigure(7.654321, 25, "ext4"),
    cameras=(CameraNode("/dev/video0", "camera", 640, 480), CameraNode("/dev/video1", "other")),
    elements=("libcamerasrc",),
    kernels={"onnxruntime-cpu": {"int8_pointwise_gmacs": 3.14159}, "litert-xnnpack": {}},
    threads=2,
    load=0.25,
    date=dt.date(2026, 11, 23),
)


def test_what_was_measured_says_when_how_and_under_which_conditions() -> None:
    profile = profile_of(MEASURED, "my-zero")
    assert profile.lineage == ("raspberry-pi-zero-2w", "armv8-a")
    measured = {
        "memory_bandwidth_gbs": (1.235, "one thread, median of 9 copies"),
        "fsync_ms": (7.654, "median of 25 writes of 4 KiB, ext4"),
        "cameras": (("/dev/video0",), "those of 2 V4L2 nodes that gave a picture; GStreamer has libcamerasrc"),
        "kernels.onnxruntime-cpu.int8_pointwise_gmacs": (3.142, "2 threads"),
        "memory_mb": (416, "/proc/meminfo"),
    }
    for name, (value, how) in measured.items():
        known = profile.known()[name]
        assert (known.value, known.origin) == (value, Origin.MEASURED)
        assert "profiles probe, 2026-11-23, load 0.2" in known.source
        assert how in known.source
    # What nobody measured keeps its own origin and source.
    assert profile.throttle_celsius is not None
    assert profile.throttle_celsius.origin is Origin.VENDOR
    assert parse_profile(profile_toml(profile), "x") == profile


def test_what_is_taken_over_stays_within_what_the_machine_has() -> None:
    profile = profile_of(MEASURED, "my-zero")
    assert profile.threads is not None
    assert profile.memory_max_mb is not None
    assert (profile.threads.value, profile.memory_max_mb.value) == (1, 208)  # the board's own: 2 threads, 320 MB
    assert profile.memory_max_mb.origin is Origin.ASSUMED


def test_an_emulation_is_marked_and_not_given_the_host_s_instructions() -> None:
    machine = dataclasses.replace(ZERO.machine, instructions=("avx2", "avx512_vnni"))
    facts = dataclasses.replace(ZERO, machine=machine, board=None, emulator="qemu-user")
    profile = profile_of(dataclasses.replace(MEASURED, facts=facts), "emulated-arm")
    assert profile.is_emulated
    assert profile.emulated is not None
    assert "qemu-user" in profile.emulated.source
    assert profile.instructions is not None
    assert profile.instructions.value == ("asimd",)
    assert not profile_of(MEASURED, "my-zero").is_emulated


def test_figures_that_no_kernel_can_have_are_refused() -> None:
    with pytest.raises(ProfileError, match=r"kernels.onnxruntime-cpu.int8_pointwise_gmacs is 0.0; it must be"):
        profile_of(dataclasses.replace(MEASURED, kernels={"onnxruntime-cpu": {"int8_pointwise_gmacs": 0.0}}), "my-zero")


def test_this_machine_is_measured(tmp_path: Path) -> None:
    lines: list[str] = []

    def kernels(threads, on_progress):
        for done in range(9):
            on_progress(done, 8)
        return {"litert-xnnpack": {"float32_pointwise_gmacs": float(threads)}}

    profile = profile_of(measure(2, tmp_path, kernels, lines.append, nodes=()), "here")
    assert profile.kernels["litert-xnnpack"]["float32_pointwise_gmacs"].value == 2.0
    assert profile.memory_bandwidth_gbs is not None
    assert profile.fsync_ms is not None
    assert [line.split(":")[0] for line in lines] == ["machine", "memory", "disk", "cameras", *["kernels"] * 4]
    assert list(tmp_path.iterdir()) == []


def test_bandwidth_and_disk_give_figures_of_this_world(tmp_path: Path) -> None:
    assert 0.05 < copy_bandwidth_gbs(256, 3) < 5000
    figure = fsync_latency(tmp_path, 3)
    assert figure.writes == 3
    assert 0 < figure.milliseconds < 60_000
    assert fsync_latency(Path("/dev/shm"), 3).file_system == "tmpfs"


def test_a_folder_that_takes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="cannot be probed in .*gone: No such file or directory; name another folder"):
        fsync_latency(tmp_path / "gone")
    with pytest.raises(ProbeError, match="cannot be probed in /proc"):
        fsync_latency(Path("/proc"))
