"""What a timing was taken under: clock, governor, temperature, throttling, memory; as far as the machine tells.

Nothing is invented: what has no sensor here is None or empty, and ``Snapshot.missing`` says why.

Read are the files that Linux offers on any board (``cpufreq``, ``thermal``, ``hwmon``), and for throttling what the maker
of the board offers: the firmware's flags on a Raspberry Pi, the over-current counters and cooling devices of a Jetson,
the counters of x86 processors. All of it lies below a root that tests choose.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping  # noqa: TC003 - the reader of result files looks at these annotations
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Emulation", "Snapshot", "Throttle", "board_model", "emulation", "read_text", "take_snapshot"]

_CPUS = "sys/devices/system/cpu"
_PI_FLAGS = ("sys/devices/platform/soc/soc:firmware/get_throttled", "sys/devices/platform/soc/soc:firmware/throttled")
_MODELS = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
_EMULATED = "EDGEWRIGHT_EMULATED"
_MOST_BYTES = 1 << 16
_MOST_SENSORS = 32
_LONGEST_NAME = 60
_COLDEST, _HOTTEST = -60.0, 200.0  # outside, a sensor is off or broken
#: Bit of the firmware's flags to what it says; 16 higher stands what has been so since the start.
_PI_BITS: Mapping[int, str] = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE = 16


@dataclass(frozen=True)
class Emulation:
    """A board that another machine plays.

    Attributes:
        by: What plays it, such as ``qemu-user``.
    """

    by: str


@dataclass(frozen=True)
class Throttle:
    """Whether a board holds itself back.

    Attributes:
        source: Who says so.
        now: What holds at this moment, in words; empty when nothing does.
        since_start: What held at any time since the board started, where that is told.
        events: Counters that only ever grow, where there are some.
    """

    source: str
    now: tuple[str, ...] = ()
    since_start: tuple[str, ...] = ()
    events: Mapping[str, int] = field(default_factory=dict)

    def since(self, before: Throttle | None) -> tuple[str, ...]:
        """What holds now, and the counters that grew since an earlier look."""
        earlier = {} if before is None else before.events
        return (*self.now, *(name for name, count in self.events.items() if count > earlier.get(name, count)))


@dataclass(frozen=True)
class Snapshot:
    """One look at the sensors.

    Attributes:
        governors: What steers the clock, by policy; empty where nothing tells.
        clock_mhz: Clock of each processor, by its number, in MHz.
        celsius: Temperatures by sensor.
        throttle: Whether the board holds itself back; None where nothing tells.
        memory_available_bytes: What programs could still have; None where the system does not tell.
        memory_total_bytes: All of it.
        missing: What could not be read, and why.
    """

    governors: Mapping[str, str] = field(default_factory=dict)
    clock_mhz: Mapping[str, float] = field(default_factory=dict)
    celsius: Mapping[str, float] = field(default_factory=dict)
    throttle: Throttle | None = None
    memory_available_bytes: int | None = None
    memory_total_bytes: int | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def hottest(self) -> float | None:
        """The highest temperature, None without a sensor."""
        return max(self.celsius.values(), default=None)

    @property
    def mean_clock_mhz(self) -> float | None:
        """Over the processors, None where nothing tells."""
        return sum(self.clock_mhz.values()) / len(self.clock_mhz) if self.clock_mhz else None


def take_snapshot(root: Path = Path("/"), firmware: Callable[[], str | None] | None = None) -> Snapshot:
    """Looks at every sensor once.

    Args:
        root: Below which ``sys`` and ``proc`` lie.
        firmware: Asks a Raspberry Pi's firmware for its flags; None runs ``vcgencmd`` where it is.
    """
    missing: dict[str, str] = {}
    governors = {path.parent.name: text for path in _cpufreq(root, "scaling_governor") if (text := read_text(path))}
    if not governors:
        missing["governor"] = f"no {_CPUS}/cpufreq/*/scaling_governor here: the clock is not steered by this system"
    clocks = _clocks(root)
    if not clocks:
        missing["clock"] = f"neither {_CPUS}/*/cpufreq/scaling_cur_freq nor proc/cpuinfo tells it"
    celsius = _temperatures(root)
    if not celsius:
        missing["temperature"] = "neither sys/class/thermal nor sys/class/hwmon has a sensor"
    throttle = _throttle(root, firmware if firmware is not None else (_ask_firmware if root == Path("/") else None))
    if throttle is None:
        missing["throttle"] = "no Raspberry Pi firmware, Jetson counter, cooling device or x86 counter tells it"
    memory = _memory(root)
    if not memory:
        missing["memory"] = "proc/meminfo does not tell it"
    return Snapshot(governors, clocks, celsius, throttle, memory.get("MemAvailable"), memory.get("MemTotal"), missing)


def emulation(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> Emulation | None:
    """What plays this board, None for a real one.

    Whoever emulates says so by the variable ``EDGEWRIGHT_EMULATED``; a whole emulated machine is known by its model.
    """
    told = environment.get(_EMULATED, "").strip()
    if told and told != "0":
        return Emulation(_name(told))
    model = board_model(root) or ""
    return Emulation(model) if "qemu" in model.casefold() or model.startswith("linux,dummy-virt") else None


def board_model(root: Path = Path("/")) -> str | None:
    """What the board calls itself, None where it has no device tree."""
    return next((_name(text) for place in _MODELS if (text := read_text(root / place))), None)


def read_text(path: Path) -> str | None:
    """A small file of the system without blanks around it; None where it cannot be read or is empty."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_MOST_BYTES).decode("utf-8", errors="replace")
    except OSError:  # sensors come and go, and some refuse to be read
        return None
    return text.strip("\0 \t\r\n") or None


def _name(text: str) -> str:
    """A name as a machine gives it, fit to be shown."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:_LONGEST_NAME]


def _listed(folder: Path, pattern: str) -> list[Path]:
    try:
        found = sorted(folder.glob(pattern), key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))])
    except OSError:
        return []
    return found[:1024]


def _cpufreq(root: Path, name: str) -> Iterable[Path]:
    yield from _listed(root / _CPUS / "cpufreq", f"policy*/{name}")


def _clocks(root: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for path in _listed(root / _CPUS, "cpu[0-9]*/cpufreq/scaling_cur_freq"):
        kilohertz = _number(path)
        if kilohertz is not None and kilohertz > 0:
            found[path.parent.parent.name.removeprefix("cpu")] = kilohertz / 1000
    if not found:  # x86 without cpufreq
        told = re.findall(r"^cpu MHz\s*:\s*([\d.]+)\s*$", read_text(root / "proc/cpuinfo") or "", re.MULTILINE)
        found = {str(number): float(value) for number, value in enumerate(told)}
    return found


def _temperatures(root: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for zone in _listed(root / "sys/class/thermal", "thermal_zone*"):
        _add(found, read_text(zone / "type") or zone.name, _number(zone / "temp"))
    if not found:  # the zones of a board are often the same sensors once more
        for path in _listed(root / "sys/class/hwmon", "hwmon*/temp*_input"):
            label = read_text(path.with_name(path.name.replace("_input", "_label"))) or path.name[: -len("_input")]
            _add(found, f"{read_text(path.parent / 'name') or path.parent.name} {label}", _number(path))
    return found


def _add(found: dict[str, float], name: str, thousandths: float | None) -> None:
    if thousandths is None or not _COLDEST <= thousandths / 1000 <= _HOTTEST or len(found) >= _MOST_SENSORS:
        return
    name = _name(name) or "sensor"
    number, free = 2, name
    while free in found:
        free, number = f"{name} {number}", number + 1
    found[free] = thousandths / 1000


def _number(path: Path) -> float | None:
    text = read_text(path)
    try:
        return None if text is None else float(int(text))
    except ValueError:
        return None


def _memory(root: Path) -> dict[str, int]:
    rows = re.findall(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", read_text(root / "proc/meminfo") or "", re.MULTILINE)
    return {name: int(kilobytes) * 1024 for name, kilobytes in rows}


def _throttle(root: Path, firmware: Callable[[], str | None] | None) -> Throttle | None:
    flags = next((text for place in _PI_FLAGS if (text := read_text(root / place))), None)
    if flags is None and firmware is not None:
        flags = firmware()
    if flags is not None and (found := _pi_throttle(flags)) is not None:
        return found
    counters = {
        f"{path.parent.name} {path.name}": int(value)
        for path in _listed(root / "sys/class/hwmon", "hwmon*/oc*_event_cnt")
        if (value := _number(path)) is not None
    }
    cooling = _cooling(root)
    if counters or cooling is not None:
        names = ["over-current counters"] * bool(counters) + ["cooling devices"] * (cooling is not None)
        return Throttle(" and ".join(names), cooling or (), (), counters)
    x86 = {
        f"{path.parent.parent.name} {path.name}": int(value)
        for path in _listed(root / _CPUS, "cpu[0-9]*/thermal_throttle/*_throttle_count")
        if (value := _number(path)) is not None
    }
    return Throttle("x86 throttle counters", (), (), x86) if x86 else None


def _pi_throttle(text: str) -> Throttle | None:
    digits = text.rpartition("=")[2].strip().removeprefix("0x")
    if not re.fullmatch(r"[0-9a-fA-F]{1,8}", digits):
        return None
    bits = int(digits, 16)
    now = tuple(words for bit, words in _PI_BITS.items() if bits >> bit & 1)
    since = tuple(words for bit, words in _PI_BITS.items() if bits >> (bit + _SINCE) & 1)
    return Throttle("Raspberry Pi firmware", now, since)


def _cooling(root: Path) -> tuple[str, ...] | None:
    """The processors' and memory's cooling devices that are at work; None where there are none. Fans do not slow."""
    devices = [
        (name, _number(path / "cur_state"))
        for path in _listed(root / "sys/class/thermal", "cooling_device*")
        if (name := read_text(path / "type")) and re.search(r"cpu|gpu|devfreq|emc|throttle", name, re.IGNORECASE)
    ]
    if not devices:
        return None
    return tuple(dict.fromkeys(_name(f"{name} held back") for name, state in devices if state))


def _ask_firmware() -> str | None:
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "get_throttled"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
