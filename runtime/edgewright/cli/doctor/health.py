"""Memory, swap, heat and throttling: what makes a board slow or ends a process without a word."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgewright.cli.doctor.findings import OK, UNKNOWN, WARN, Finding, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.cli.doctor.look import Look, System

__all__ = ["heat", "memory"]

_LITTLE_MIB = 200
_HOT_C = 80.0
_SANE_C = (-40.0, 200.0)
_COOL = "a heat sink or a fan; fewer frames per second; a smaller variant"
_MMC = re.compile(r"/dev/mmcblk\d")


def memory(look: Look) -> Iterator[Finding]:
    """What is free, and whether the swap wears out a card."""
    yield _memory(look.system)
    yield _swap(look.system)


def _memory(system: System) -> Finding:
    text = system.text("/proc/meminfo") or ""
    sizes = {name: int(kib) // 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    if "MemAvailable" not in sizes:
        return Finding("machine", "memory", UNKNOWN, "/proc/meminfo tells nothing", "look: free -m")
    seen = f"{sizes['MemAvailable']} of {sizes.get('MemTotal', 0)} MiB are available"
    if sizes["MemAvailable"] < _LITTLE_MIB:
        remedy = "end what is not needed (a desktop), or take a smaller variant: the kernel kills the largest process"
        return Finding("machine", "memory", WARN, seen, remedy)
    return Finding("machine", "memory", OK, seen)


def _swap(system: System) -> Finding:
    told = system.text("/proc/swaps")
    if told is None:
        return Finding("machine", "swap", UNKNOWN, "/proc/swaps cannot be read", "look: swapon --show")
    lines = [line.split() for line in told.splitlines()[1:]]
    swaps = [(fields[0], fields[1], int(fields[3]) // 1024) for fields in lines if len(fields) > 4]
    if not swaps:
        return Finding("machine", "swap", OK, "none")
    seen = ", ".join(f"{path} ({used} MiB used)" for path, _, used in swaps)
    on_card = [path for path, kind, _ in swaps if _MMC.match(path) or (kind == "file" and _root_is_card(system))]
    if on_card:
        remedy = "switch it off (dphys-swapfile swapoff; systemctl disable dphys-swapfile), or use zram"
        return Finding(
            "machine", "swap", WARN, f"{seen}: on a card, which it wears out and which makes it slow", remedy
        )
    return Finding("machine", "swap", OK, seen)


def _root_is_card(system: System) -> bool:
    from edgewright.cli.doctor.disk import mount_of

    mount = mount_of(system, "/")
    link = system.path(f"/sys/dev/block/{mount.device}") if mount is not None else None
    return link is not None and link.exists() and "mmcblk" in str(link.resolve())


def heat(look: Look) -> Iterator[Finding]:
    """Temperatures, and whether the clock is held back."""
    yield from _temperature(look.system)
    yield from _clock_limit(look.system)
    yield _throttling(look.system)


def _temperature(system: System) -> Iterator[Finding]:
    zones = []
    for zone in system.names("/sys/class/thermal", "thermal_zone*"):
        milli = system.number(f"{zone}/temp")
        if milli is not None and _SANE_C[0] <= milli / 1000 <= _SANE_C[1]:
            zones.append((milli / 1000, system.text(f"{zone}/type") or zone, _limit(system, zone)))
    if not zones:
        seen = "no sensor is found below /sys/class/thermal: a virtual machine has none"
        yield Finding("heat", "temperature", UNKNOWN, seen, "look on the board itself, or with the maker's tool")
        return
    degrees, name, limit = max(zones, key=lambda zone: zone[0] - zone[2])
    seen = f"{degrees:.0f} C at {name}; it is held back from {limit:.0f} C"
    yield Finding("heat", "temperature", WARN if degrees >= limit else OK, seen, _COOL if degrees >= limit else "")


def _limit(system: System, zone: str) -> float:
    """Where the kernel begins to hold the clock back: the lowest passive trip point."""
    limits = []
    for file in system.names(zone, "trip_point_*_type"):
        milli = system.number(f"{file.removesuffix('_type')}_temp")
        if system.text(file) == "passive" and milli is not None and milli > 0:
            limits.append(milli / 1000)
    return min(limits, default=_HOT_C)


def _clock_limit(system: System) -> Iterator[Finding]:
    folder = "/sys/devices/system/cpu/cpu0/cpufreq"
    governor = system.text(f"{folder}/scaling_governor")
    most, allowed = system.number(f"{folder}/cpuinfo_max_freq"), system.number(f"{folder}/scaling_max_freq")
    if governor is None or most is None or allowed is None:
        return
    seen = f"governor {governor}, up to {allowed / 1000:.0f} of {most / 1000:.0f} MHz"
    if allowed < most:
        remedy = "somebody has set the limit (cpupower, nvpmodel, a power saving service); measure with it, or lift it"
        yield Finding("heat", "clock limit", WARN, seen, remedy)
    else:
        yield Finding("heat", "clock limit", OK, seen)


def _throttling(system: System) -> Finding:
    from edgewright.runtime.conditions import take_snapshot

    throttle = take_snapshot(system.path("/")).throttle
    if throttle is None:
        seen = "nothing here tells whether the board holds itself back"
        return Finding("heat", "throttling", UNKNOWN, seen, "time the same twice: edgewright bench BUNDLE")
    remedy = "under-voltage: the maker's own power supply and a short cable; heat: " + _COOL
    if throttle.now:
        return Finding("heat", "throttling", WARN, f"{throttle.source} says now: {', '.join(throttle.now)}", remedy)
    if throttle.since_start:
        seen = f"{throttle.source} says since the start: {', '.join(throttle.since_start)}"
        return Finding("heat", "throttling", WARN, seen, remedy)
    times = sum(throttle.events.values())
    seen = f"{throttle.source}: nothing is held back now"
    seen += f"; {counted(times, 'time')} since the start" if times else ""
    return Finding("heat", "throttling", OK, seen)
