"""What a board is, in types: every figure with how it is known and where that is written.

A profile says nothing by silence: a field that nobody knows is None, or is missing from its table. The rules that a
value must keep are in ``edgewright.device_profiles.rules``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DeviceProfile", "IntegerDot", "IntegerFormat", "Known", "Origin", "Provider"]

T = TypeVar("T")


class Origin(str, Enum):
    """How a field is known.

    ``MEASURED``: a tool ran, and the source says which, when and on what. ``VENDOR``: whoever makes the board, the
    processor, the engine or the system says so, in the document that the source names. ``ASSUMED``: nobody looked it up
    or measured it for this profile.
    """

    MEASURED = "measured"
    VENDOR = "vendor"
    ASSUMED = "assumed"


class IntegerDot(str, Enum):
    """What the processor's fastest sum of products of uint8 and int8 does.

    ``SATURATING_PAIRS``: two neighbouring products are added into 16 bits and cut at -32768 and 32767 before they go
    into 32 bits (x86 ``vpmaddubsw``); ``EXACT``: every product goes into 32 bits unharmed (x86 VNNI, ARM).
    """

    EXACT = "exact"
    SATURATING_PAIRS = "saturating-pairs"


@dataclass(frozen=True)
class Known(Generic[T]):
    """A value, how it is known, and the place where that can be read again.

    Attributes:
        value: In the unit that the field's name says.
        origin: How it is known.
        source: A short citation: a document, or tool, date and conditions of a measurement.
    """

    value: T
    origin: Origin
    source: str


@dataclass(frozen=True)
class IntegerFormat:
    """The integers that one engine on this board runs best. A field that nobody knows is None.

    Attributes:
        activations: ``uint8`` or ``int8``.
        weights: ``uint8`` or ``int8``.
        weight_bits: 8, or 7 where sums of two products of 8 bits would overflow.
        per_channel: One scale per output channel, instead of one per weight tensor.
    """

    activations: Known[str] | None = None
    weights: Known[str] | None = None
    weight_bits: Known[int] | None = None
    per_channel: Known[bool] | None = None

    def known(self) -> dict[str, Known[Any]]:
        """The fields that are known, by name."""
        return _known_fields(self)


@dataclass(frozen=True)
class Provider:
    """The execution provider of ONNX Runtime behind a backend, and the options it is given on this board.

    Attributes:
        name: As ONNX Runtime calls it, such as ``TensorrtExecutionProvider``.
        options: By the provider's own names of them.
    """

    name: Known[str] | None = None
    options: Mapping[str, Known[str | int | bool]] = field(default_factory=dict)

    def known(self) -> dict[str, Known[Any]]:
        """What is known, options as ``options.NAME``."""
        return _known_fields(self) | {f"options.{name}": value for name, value in self.options.items()}


@dataclass(frozen=True)
class DeviceProfile:
    """One board. A field that nobody knows is None.

    Attributes:
        name: Name of the profile.
        description: One line.
        lineage: The profiles it extends, nearest first.
        architecture: As ``uname -m`` says.
        processor: Its name, such as ``Cortex-A76``.
        accelerator: What computes networks beside the processor, such as a GPU; in words.
        instructions: Integer and vector instruction sets that matter, as the kernel names them.
        cores: Processor cores.
        memory_mb: Memory in MiB.
        threads: Threads that one model runs on best while a camera is read and events are sent beside it.
        backends: Engines that run there, the best first.
        sources: Kinds of camera sources that work there.
        cameras: Cameras that a probe found, such as ``/dev/video0``.
        warn_celsius: Temperature from which a device should be watched.
        throttle_celsius: Temperature at which the board slows itself down.
        memory_bandwidth_gbs: Bytes read plus bytes written in a large copy by one thread, in 1e9 bytes a second.
        fsync_ms: Milliseconds until a small write is on the disk.
        os: The operating system meant.
        python: Versions of Python that this system brings, such as ``3.11``.
        glibc: Oldest version of the GNU C library that is meant, such as ``2.36``.
        wheel_platforms: Platform tags of wheels that can be installed, the best first.
        memory_max_mb: Memory in MiB that the service may have.
        watchdog_s: Seconds without a sign of life (systemd's WatchdogSec) after which the service is started anew.
        cpu_quota: Percent of one core that the service may take; 400 is four cores.
        emulated: Whether the board is an emulation, whose times mean nothing.
        integer_dot: An ``IntegerDot``: whether sums of uint8 times int8 saturate.
        formats: The integers each engine runs best, by the engine's name in ``backends``.
        providers: What runs behind an engine and how it is set, by the engine's name in ``backends``.
        gstreamer: Camera pipelines with placeholders, by kind: ``csi`` and ``usb``; see ``pipelines``.
        kernels: Measured throughput of small kernels, by the engine's name and the kernel's.
    """

    name: str
    description: str
    lineage: tuple[str, ...] = ()
    architecture: Known[str] | None = None
    processor: Known[str] | None = None
    accelerator: Known[str] | None = None
    instructions: Known[tuple[str, ...]] | None = None
    cores: Known[int] | None = None
    memory_mb: Known[int] | None = None
    threads: Known[int] | None = None
    backends: Known[tuple[str, ...]] | None = None
    sources: Known[tuple[str, ...]] | None = None
    cameras: Known[tuple[str, ...]] | None = None
    warn_celsius: Known[int] | None = None
    throttle_celsius: Known[int] | None = None
    memory_bandwidth_gbs: Known[float] | None = None
    fsync_ms: Known[float] | None = None
    os: Known[str] | None = None
    python: Known[tuple[str, ...]] | None = None
    glibc: Known[str] | None = None
    wheel_platforms: Known[tuple[str, ...]] | None = None
    memory_max_mb: Known[int] | None = None
    watchdog_s: Known[int] | None = None
    cpu_quota: Known[int] | None = None
    emulated: Known[bool] | None = None
    integer_dot: Known[str] | None = None
    formats: Mapping[str, IntegerFormat] = field(default_factory=dict)
    providers: Mapping[str, Provider] = field(default_factory=dict)
    gstreamer: Mapping[str, Known[str]] = field(default_factory=dict)
    kernels: Mapping[str, Mapping[str, Known[float]]] = field(default_factory=dict)

    @property
    def saturates(self) -> bool:
        """Whether sums of uint8 times int8 are known to saturate there."""
        return self.integer_dot is not None and self.integer_dot.value == IntegerDot.SATURATING_PAIRS

    @property
    def is_emulated(self) -> bool:
        """Whether the board is known to be an emulation."""
        return self.emulated is not None and self.emulated.value

    def known(self) -> dict[str, Known[Any]]:
        """The fields that are known, by name; those in tables with the names of these before them.

        Integer formats come as ``BACKEND.FIELD``, the rest as ``providers.BACKEND.FIELD``, ``gstreamer.KIND`` and
        ``kernels.BACKEND.KERNEL``.
        """
        found = _known_fields(self)
        for backend, form in self.formats.items():
            found |= {f"{backend}.{name}": value for name, value in form.known().items()}
        for backend, provider in self.providers.items():
            found |= {f"providers.{backend}.{name}": value for name, value in provider.known().items()}
        found |= {f"gstreamer.{kind}": value for kind, value in self.gstreamer.items()}
        for backend, rows in self.kernels.items():
            found |= {f"kernels.{backend}.{name}": value for name, value in rows.items()}
        return found


def _known_fields(record: DeviceProfile | IntegerFormat | Provider) -> dict[str, Known[Any]]:
    pairs = ((item.name, getattr(record, item.name)) for item in fields(record))
    return {name: value for name, value in pairs if isinstance(value, Known)}
