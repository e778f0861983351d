"""Measures this machine into a device profile that extends the nearest one."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol

from edgewright.bundle.text import plain
from edgewright.device_profiles.flat import assemble, flatten
from edgewright.device_profiles.profile import Known, Origin, load_profile, parse_profile, profile_toml
from edgewright.device_profiles.wheels import wheel_platforms
from edgewright.runtime.backends.choice import engine_version, read_backend_name
from edgewright.runtime.machine import load_average
from edgewright.runtime.probing.cameras import find_cameras, find_elements
from edgewright.runtime.probing.disk import fsync_latency
from edgewright.runtime.probing.facts import read_facts
from edgewright.runtime.probing.memory import REPEATS, copy_bandwidth_gbs
from edgewright.runtime.probing.nearest import nearest_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgewright.device_profiles.flat import Path as FieldPath
    from edgewright.device_profiles.profile import DeviceProfile
    from edgewright.runtime.machine import Machine
    from edgewright.runtime.probing.cameras import CameraNode
    from edgewright.runtime.probing.disk import DiskFigure
    from edgewright.runtime.probing.facts import SystemFacts

__all__ = ["KernelProbe", "Measured", "measure", "profile_of"]

_LONGEST = 300
_LEAST_MEMORY_MB = 64


class KernelProbe(Protocol):
    """Times small kernels; ``edgewright.runtime.probing.kernels.probe_kernels`` is one."""

    def __call__(self, threads: int, on_progress: Callable[[int, int], None]) -> Mapping[str, Mapping[str, float]]:
        """Throughputs by the backend's name and the kernel's."""
        ...


@dataclass(frozen=True)
class Measured:
    """What was found out.

    Attributes:
        facts: What the system says.
        bandwidth_gbs: Of memory.
        disk: Of the disk.
        cameras: V4L2 nodes.
        elements: GStreamer elements for CSI cameras.
        kernels: Throughputs by the backend's name and the kernel's.
        threads: Of the kernels.
        load: Runnable processes when it began.
        date: Day of the measurement.
    """

    facts: SystemFacts
    bandwidth_gbs: float
    disk: DiskFigure
    cameras: tuple[CameraNode, ...]
    elements: tuple[str, ...]
    kernels: Mapping[str, Mapping[str, float]]
    threads: int
    load: float | None
    date: dt.date


def measure(
    threads: int,
    disk: Path,
    kernels: KernelProbe,
    on_progress: Callable[[str], None] = lambda _: None,
    nodes: Sequence[str] | None = None,
) -> Measured:
    """Looks at this machine and times it; takes up to a minute or two.

    Args:
        threads: For the kernels.
        disk: A folder on the disk that events are to be kept on.
        kernels: Times the kernels.
        on_progress: Told one line about each step.
        nodes: V4L2 nodes to try; None takes those there are.

    Raises:
        ProbeError: Nothing can be written to the disk, or there is no profile that comes near.
    """
    load = load_average()
    facts = read_facts()
    nearest_profile(facts)  # before anything that takes long
    on_progress(f"machine: {facts.machine}")
    bandwidth = copy_bandwidth_gbs(facts.memory_mb)
    on_progress(f"memory: {bandwidth:.1f} GB/s copied by one thread")
    figure = fsync_latency(disk)
    on_progress(f"disk: {figure.milliseconds:.2f} ms until 4 KiB are safe ({figure.file_system or 'unknown'})")
    cameras = find_cameras(nodes)
    elements = find_elements()
    open_ones = ", ".join(node.path for node in cameras if node.state == "camera") or "none gives a picture"
    on_progress(f"cameras: {open_ones}; {len(cameras)} V4L2 nodes, {' and '.join(elements) or 'no CSI element'}")
    found = kernels(threads, _Quarters(on_progress))
    today = dt.datetime.now(dt.timezone.utc).date()
    return Measured(facts, bandwidth, figure, cameras, elements, found, threads, load, today)


def profile_of(measured: Measured, name: str, description: str | None = None) -> DeviceProfile:
    """The profile that says what was measured, and takes over the rest from the nearest one.

    Args:
        measured: Of this machine.
        name: Of the profile.
        description: One line; None names the processor.

    Raises:
        ProbeError: No profile is near.
        ProfileError: What was measured is no profile.
    """
    base = load_profile(nearest_profile(measured.facts))
    found = _found(measured)
    flat = {**flatten(base), **found}
    flat |= _kept_within(flat)
    processor = measured.facts.machine.processor
    profile = assemble(name, description or f"{plain(processor)[:200]}, probed", (base.name, *base.lineage), flat)
    # As whoever loads it will see it; what the rules of a profile refuse is an error here and not there.
    return parse_profile(profile_toml(profile), name)


def _found(measured: Measured) -> dict[FieldPath, Known[Any]]:
    facts, disk, note = measured.facts, measured.disk, _Note(measured)
    elements = f"; GStreamer has {' and '.join(measured.elements)}" if measured.elements else ""
    pictures = tuple(node.path for node in measured.cameras if node.state == "camera")
    rows: tuple[tuple[str, Any, str], ...] = (
        ("architecture", facts.machine.architecture, "uname"),
        ("processor", plain(facts.machine.processor)[:_LONGEST].strip() or None, "/proc/cpuinfo"),
        ("instructions", _instructions(facts.machine) or None, "/proc/cpuinfo"),
        ("cores", facts.machine.cores, "logical cores that the system counts"),
        ("memory_mb", facts.memory_mb, "/proc/meminfo, without what the firmware keeps"),
        ("os", facts.system, "/etc/os-release"),
        ("python", (facts.python,), "the interpreter that ran the probe"),
        ("glibc", facts.glibc, "confstr"),
        ("wheel_platforms", _wheels(facts), "from its architecture and glibc by PEP 600"),
        ("emulated", facts.emulator and True, f"its owner says {facts.emulator}"),
        ("memory_bandwidth_gbs", _rounded(measured.bandwidth_gbs), f"one thread, median of {REPEATS} copies"),
        (
            "fsync_ms",
            _rounded(disk.milliseconds),
            f"median of {disk.writes} writes of 4 KiB, {disk.file_system or 'file system unknown'}",
        ),
        ("cameras", pictures, f"those of {len(measured.cameras)} V4L2 nodes that gave a picture{elements}"),
    )
    found: dict[FieldPath, Known[Any]] = {(name,): note(value, how) for name, value, how in rows if value is not None}
    for backend, kernels in measured.kernels.items():
        engine = engine_version(read_backend_name(backend))
        how = f"{engine}, {measured.threads} thread{'s' if measured.threads > 1 else ''}, median of turns"
        found |= {("kernels", backend, name): note(_rounded(figure), how) for name, figure in kernels.items()}
    return found


def _instructions(machine: Machine) -> tuple[str, ...]:
    """Without those of the machine that emulates this one, whose ``/proc/cpuinfo`` an emulated process may see."""
    arm = machine.architecture == "aarch64"
    return tuple(name for name in machine.instructions if name.startswith(("avx", "amx")) != arm)


def _wheels(facts: SystemFacts) -> tuple[str, ...] | None:
    return None if facts.glibc is None else wheel_platforms(facts.machine.architecture, facts.glibc)


def _kept_within(flat: Mapping[FieldPath, Known[Any]]) -> dict[FieldPath, Known[Any]]:
    """What was taken over from another board, kept within what this one has."""
    cores, memory, limit = (flat.get((name,)) for name in ("cores", "memory_mb", "memory_max_mb"))
    changed: dict[FieldPath, Known[Any]] = {}
    if cores is not None:
        rule = "edgewright's rule: one core is left to the camera and to sending"
        changed["threads",] = Known(max(1, cores.value - 1), Origin.ASSUMED, rule)
    if memory is not None and limit is not None:
        most = max(_LEAST_MEMORY_MB, memory.value // 2)
        if limit.value > most:
            changed["memory_max_mb",] = Known(most, Origin.ASSUMED, "edgewright's rule: half of the memory there is")
    return changed


class _Quarters:
    """Turns steps into a line for each quarter of them."""

    def __init__(self, on_progress: Callable[[str], None]) -> None:
        self._tell, self._told = on_progress, 0

    def __call__(self, done: int, total: int) -> None:
        quarter = 4 * done // max(1, total)
        if quarter > self._told:
            self._told = quarter
            self._tell(f"kernels: {done} of {total} timed")


class _Note:
    """Makes fields whose source says date, tool and conditions."""

    def __init__(self, measured: Measured) -> None:
        load = "load unknown" if measured.load is None else f"load {measured.load:.1f}"
        self._when = f"edgewright {metadata.version('edgewright')} profiles probe, {measured.date}, {load}"

    def __call__(self, value: Any, how: str) -> Known[Any]:
        return Known(value, Origin.MEASURED, f"{self._when}: {how}"[:_LONGEST].strip())


def _rounded(figure: float) -> float:
    """Four digits: more are noise."""
    return float(f"{figure:.4g}")
