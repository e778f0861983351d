"""The clock: whether it is kept right, what is left of it after a power cut, and whether it can be right at all."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.cli.doctor.findings import BAD, OK, UNKNOWN, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.cli.doctor.look import Look, System

__all__ = ["clock", "plausible", "real_time_clock", "synchronised"]

_EARLIEST = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()  # nothing of this program is older
_LATEST = datetime(2060, 1, 1, tzinfo=timezone.utc).timestamp()
_SLACK_S = 3600.0
_SYNC = "let one service keep it: timedatectl set-ntp true, or install chrony; without a network add an RTC module"


def clock(look: Look) -> Iterator[Finding]:
    """All three."""
    yield plausible(time.time(), _installed_at())
    yield synchronised(look.system)
    yield real_time_clock(look.system)


def _installed_at() -> float:
    try:
        return Path(__file__).stat().st_mtime
    except OSError:
        return 0.0


def plausible(now: float, installed_at: float) -> Finding:
    """Whether this moment can be: not before this program was written or installed, not after it is long forgotten.

    Args:
        now: Of the wall clock, seconds since 1970.
        installed_at: When this program's files were written, by the clock of that time.
    """
    group, name = "clock", "plausible"
    shown = datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    remedy = "set it (date -s), then keep it: until then certificates are refused and events carry wrong times"
    if now < max(_EARLIEST, installed_at - _SLACK_S):
        since = datetime.fromtimestamp(max(_EARLIEST, installed_at), timezone.utc).strftime("%Y-%m-%d")
        return Finding(group, name, BAD, f"it says {shown}, and this program is of {since} or later", remedy)
    if now > _LATEST:
        return Finding(group, name, BAD, f"it says {shown}", remedy)
    return Finding(group, name, OK, f"{shown}, after this program was installed")


def synchronised(system: System) -> Finding:
    """Whether a service says that the clock follows network time; several are asked, for each knows only itself."""
    group, name = "clock", "synchronised"
    if system.path("/run/systemd/timesync/synchronized").exists():
        return Finding(group, name, OK, "systemd-timesyncd has set it since the start")
    leap = [
        line for line in (system.tool("chronyc", "-n", "tracking") or "").splitlines() if line.startswith("Leap status")
    ]
    if leap and leap[0].endswith("Normal"):
        return Finding(group, name, OK, "chrony keeps it")
    said = system.tool("timedatectl", "show", "-p", "NTPSynchronized", "--value")
    if said == "yes":
        return Finding(group, name, OK, "the kernel's clock is marked as synchronised")
    if said == "no" or leap:
        return Finding(group, name, WARN, "not synchronised with network time", _SYNC)
    seen = "not known: neither systemd-timesyncd, chrony nor timedatectl answers"
    return Finding(group, name, UNKNOWN, seen, _SYNC)


def real_time_clock(system: System) -> Finding:
    """Whether the time goes on while the power is off."""
    group, name = "clock", "rtc"
    clocks = system.names("/sys/class/rtc", "rtc*")
    if not clocks and not system.path("/sys/class").is_dir():
        return Finding(group, name, UNKNOWN, "/sys tells nothing here", "look: hwclock --show")
    if not clocks:
        seen = "there is no real-time clock: after a power cut the time is wrong until the network has it"
        remedy = "add an RTC module (a Raspberry Pi 5 needs only its battery), or see that network time is reachable"
        return Finding(group, name, WARN, seen, remedy)
    called = system.text(f"{clocks[0]}/name") or clocks[0].rpartition("/")[2]
    since = system.number(f"{clocks[0]}/since_epoch")
    if since is not None and since < _EARLIEST:
        day = datetime.fromtimestamp(max(0, since), timezone.utc).strftime("%Y-%m-%d")
        remedy = "put a battery in, then: hwclock --systohc"
        return Finding(group, name, WARN, f"{called} says {day}: it has no battery, or was never set", remedy)
    return Finding(group, name, OK, f"{called} keeps the time while the power is off")
