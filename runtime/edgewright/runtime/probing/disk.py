"""How long a small write takes until the disk really has it: what an event waits for before it is safe."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.runtime.probing.errors import ProbeError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["WRITES", "DiskFigure", "fsync_latency"]

WRITES = 25
"""Writes that the median is taken of."""

_BLOCK = 4096
_LONGEST_S = 5.0
_FEWEST = 3


@dataclass(frozen=True)
class DiskFigure:
    """Latency of a small write.

    Attributes:
        milliseconds: Median.
        writes: How many it was taken of.
        file_system: Such as ``ext4``; a ``tmpfs`` says nothing of a disk. None where the system does not tell.
    """

    milliseconds: float
    writes: int
    file_system: str | None


def fsync_latency(folder: Path, writes: int = WRITES) -> DiskFigure:
    """Writes 4 KiB and waits for the disk, some times over, in a file that is gone afterwards.

    Args:
        folder: On the disk in question.
        writes: How many; fewer when they take longer than some seconds in all.

    Raises:
        ProbeError: Nothing can be written there.
    """
    block = os.urandom(_BLOCK)  # some flash controllers keep zeros without writing them
    seconds: list[float] = []
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".edgewright-probe-", buffering=0) as file:
            while len(seconds) < writes and not (len(seconds) >= _FEWEST and sum(seconds) > _LONGEST_S):
                started = time.perf_counter()
                file.write(block)
                os.fsync(file.fileno())
                seconds.append(time.perf_counter() - started)
    except OSError as error:
        msg = f"the disk cannot be probed in {folder}: {error.strerror or error}; name another folder with --disk"
        raise ProbeError(msg) from error
    return DiskFigure(statistics.median(seconds) * 1e3, len(seconds), _file_system(folder))


def _file_system(folder: Path) -> str | None:
    """Of the mount that holds the folder: the longest mount point above it."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - read with a bound
            rows = [line.split(" ") for line in file.read(1 << 20).splitlines()]
        here = os.path.realpath(folder)
    except OSError:
        return None
    holding = [row for row in rows if len(row) > 2 and _is_above(row[1].replace("\\040", " "), here)]
    if not holding:
        return None
    kind = max(holding, key=lambda row: len(row[1]))[2]
    return kind if kind.isascii() and kind.replace(".", "").replace("_", "").isalnum() else None


def _is_above(mount: str, folder: str) -> bool:
    return folder == mount or folder.startswith(mount.rstrip("/") + "/")
