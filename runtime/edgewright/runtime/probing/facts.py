"""What the system says of the machine: processor, memory, operating system, board. Nothing is timed here."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from edgewright.bundle.text import plain
from edgewright.runtime.machine import Machine, describe_machine

__all__ = ["EMULATED_VARIABLE", "SystemFacts", "read_facts"]

EMULATED_VARIABLE = "EDGEWRIGHT_EMULATED"
"""Environment variable that names the emulator a process runs under; times taken there mean nothing."""

_LONGEST = 120
_CLEAN = re.compile(r"\s+")


@dataclass(frozen=True)
class SystemFacts:
    """What the system says. What it does not say is None.

    Attributes:
        machine: Processor, cores and instruction sets.
        memory_mb: Memory in MiB.
        system: Name of the operating system, such as ``Debian GNU/Linux 12 (bookworm)``.
        python: Version of the interpreter that asks, such as ``3.11``.
        glibc: Version of the GNU C library; None with another library.
        board: What the firmware calls the board, such as ``Raspberry Pi 5 Model B Rev 1.0``.
        emulator: What emulates this machine, as its owner says.
    """

    machine: Machine
    memory_mb: int | None
    system: str | None
    python: str
    glibc: str | None
    board: str | None
    emulator: str | None


def read_facts(root: Path = Path("/")) -> SystemFacts:
    """Asks the system.

    Args:
        root: Folder that ``proc`` and ``sys`` are looked for in.
    """
    major, minor, _ = platform.python_version_tuple()
    return SystemFacts(
        machine=describe_machine(),
        memory_mb=_memory_mb(root / "proc/meminfo"),
        system=_system(),
        python=f"{major}.{minor}",
        glibc=_glibc(),
        board=_line(root / "sys/firmware/devicetree/base/model") or _line(root / "proc/device-tree/model"),
        emulator=_shown(os.environ.get(EMULATED_VARIABLE, "")),
    )


def _memory_mb(path: Path) -> int | None:
    match = re.search(r"^MemTotal:\s+(\d+) kB$", _read(path), re.MULTILINE)
    return int(match.group(1)) // 1024 if match else None


def _system() -> str | None:
    try:
        return _shown(platform.freedesktop_os_release().get("PRETTY_NAME", ""))
    except OSError:
        return None


def _glibc() -> str | None:
    try:
        told = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):  # another C library does not know the question
        return None
    match = re.fullmatch(r"glibc (\d+\.\d+).*", told)
    return match.group(1) if match else None


def _line(path: Path) -> str | None:
    return _shown(_read(path).replace("\0", " "))


def _shown(text: str) -> str | None:
    return plain(_CLEAN.sub(" ", text).strip())[:_LONGEST].strip() or None


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""
