"""What a timing was taken on, in words, so that a figure never stands without its machine."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Machine", "describe_machine", "load_average", "peak_memory_bytes", "pin_to_processors"]

_CPUINFO = Path("/proc/cpuinfo")
_STATUS = Path("/proc/self/status")
# What decides whether 8-bit arithmetic is fast; other flags are noise here.
_TELLING_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)


# Cores of the boards that edgewright has profiles of, by the number that Arm gave them (their technical reference manuals).
_ARM = 0x41
_ARM_CORES = {
    0xD03: "Cortex-A53",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD0B: "Cortex-A76",
    0xD42: "Cortex-A78AE",
}


@dataclass(frozen=True)
class Machine:
    """The processor and its system.

    Attributes:
        processor: Its name, as far as the system tells.
        architecture: Such as ``x86_64`` or ``aarch64``.
        cores: Logical cores.
        instructions: The instruction sets that matter to integer arithmetic.
        system: Operating system and kernel.
    """

    processor: str
    architecture: str
    cores: int
    instructions: tuple[str, ...]
    system: str

    def __str__(self) -> str:
        """One line."""
        told = f", {' '.join(self.instructions)}" if self.instructions else ""
        return f"{self.processor} ({self.cores} x {self.architecture}{told})"


def describe_machine() -> Machine:
    """Looks at the machine this runs on."""
    text = _read(_CPUINFO)
    flags = set(" ".join(re.findall(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)).split())
    names = re.findall(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return Machine(
        processor=names[0].strip() if names else _arm_core(text) or platform.processor() or "unknown processor",
        architecture=platform.machine(),
        cores=os.cpu_count() or 1,
        instructions=tuple(flag for flag in _TELLING_FLAGS if flag in flags),
        system=f"{platform.system()} {platform.release()}",
    )


def load_average() -> float | None:
    """Runnable processes over the last minute, None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _arm_core(text: str) -> str | None:
    """Kernels for ARM name a processor by numbers."""
    found = [
        re.findall(rf"^CPU {key}\s*:\s*(0x[0-9a-fA-F]{{1,4}})$", text, re.MULTILINE) for key in ("implementer", "part")
    ]
    if not all(found) or int(found[0][0], 16) != _ARM:
        return None
    part = int(found[1][0], 16)
    return _ARM_CORES.get(part, f"ARM core {part:#x}")


def pin_to_processors(count: int) -> tuple[int, ...]:
    """Keeps this process, and threads it starts from now on, to the last ``count`` processors it may use.

    The last ones, for the first serve most interrupts. A process that wanders between processors is timed with cold
    caches now and then.

    Returns:
        Their numbers; empty where the system cannot pin, or has not so many.
    """
    try:
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < count:
            return ()
        os.sched_setaffinity(0, allowed[-count:])
    except (AttributeError, OSError):
        return ()
    return tuple(allowed[-count:])


def peak_memory_bytes() -> int | None:
    """Most memory this process ever had resident, None where the system does not tell.

    ``getrusage`` would also count what the parent held before it started this program.
    """
    match = re.search(r"^VmHWM:\s+(\d+) kB$", _read(_STATUS), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
