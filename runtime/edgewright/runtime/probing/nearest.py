"""Which of the profiles that ship with edgewright comes nearest to a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.runtime.probing.errors import ProbeError

if TYPE_CHECKING:
    from edgewright.runtime.probing.facts import SystemFacts

__all__ = ["nearest_profile"]

# What the firmware calls a board, and its profile. The first that fits: "Jetson Nano" is no part of the other names.
_BOARDS = (
    ("Raspberry Pi Zero 2 W", "raspberry-pi-zero-2w"),
    ("Raspberry Pi 4 Model B", "raspberry-pi-4"),
    ("Raspberry Pi 5 Model B", "raspberry-pi-5"),
    ("Jetson AGX Orin", "jetson-agx-orin"),
    ("Jetson Orin Nano", "jetson-orin-nano"),
    ("Jetson Nano", "jetson-nano"),
    ("Phanbell", "coral-dev"),
)
_VNNI = frozenset({"avx_vnni", "avx512_vnni"})


def nearest_profile(facts: SystemFacts) -> str:
    """The profile of the very board where the firmware names one, else that of its kind of processor.

    Raises:
        ProbeError: No profile is near: another architecture, or a 32-bit system.
    """
    architecture, instructions = facts.machine.architecture, set(facts.machine.instructions)
    if architecture == "x86_64":
        if instructions & _VNNI:
            return "generic-x86-vnni"
        return "generic-x86-avx2" if "avx2" in instructions else "x86-64"
    if architecture == "aarch64":
        named = next((profile for name, profile in _BOARDS if facts.board is not None and name in facts.board), None)
        return named or ("armv8.2-dotprod" if "asimddp" in instructions else "generic-arm64")
    msg = f"this system is {architecture!r}; edgewright runs on 64-bit x86 and ARM systems only (x86_64, aarch64)"
    raise ProbeError(msg)
