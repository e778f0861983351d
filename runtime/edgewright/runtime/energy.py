"""What a machine takes from its supply while something runs, where it has a sensor for that.

- x86: the counters of RAPL (``sys/class/powercap``), whole packages; they wrap round, and many systems let only the
  superuser read them.
- Jetson and others: INA3221 and its kin in ``hwmon``, voltage times current by rail; looked at again and again, and
  averaged over the time between.

Either counts all that runs on the machine, the idle part included.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.runtime.conditions import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Energy", "EnergyMeter"]

_RAPL = "sys/class/powercap"
_HWMON = "sys/class/hwmon"
_WHOLE = ("VDD_IN", "POM_5V_IN", "5V_IN", "VIN_SYS_5V0")  # rails of a Jetson that feed all the others


@dataclass(frozen=True)
class Energy:
    """What was taken between two moments.

    Attributes:
        source: The sensor.
        joules: By the whole machine; None where nothing tells.
        seconds: Between the moments.
        why_not: Why there is none.
    """

    source: str | None
    joules: float | None
    seconds: float
    why_not: str | None = None

    @property
    def watts(self) -> float | None:
        """On average."""
        return None if self.joules is None or self.seconds <= 0 else self.joules / self.seconds


class EnergyMeter:
    """Counts from the moment it is made; call ``look`` now and then, so that sensors of power are averaged."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        """Looks for a sensor.

        Args:
            root: Below which ``sys`` lies.
            clock: Seconds.
        """
        self._clock = clock
        self._joules = 0.0
        self._begun = self._seen = clock()
        self._why_not: str | None = None
        self._counters = _packages(root)
        self._last = _read_counters(self._counters)
        self._rails: Mapping[str, tuple[Path, ...]] = {}
        self._watts: float | None = None
        if not self._last:
            self._rails = _power_rails(root)
            self._watts = _watts_of(self._rails)
        if not self._last and self._watts is None:
            self._why_not = "no sensor of energy or power here (RAPL, INA3221)"
            if self._counters:
                self._why_not = "RAPL is here, and only the superuser may read it"

    def look(self) -> None:
        """Adds what was taken since the last look."""
        now = self._clock()
        if self._last:
            seen = _read_counters(self._counters)
            for name, value in seen.items():
                gone = value - self._last.get(name, value)
                if gone < 0:
                    gone += self._range_of(name)
                self._joules += max(gone, 0.0) / 1e6
            self._last = seen or self._last
        elif self._watts is not None:
            watts = _watts_of(self._rails)
            if watts is not None:
                self._joules += 0.5 * (self._watts + watts) * (now - self._seen)
                self._watts = watts
        self._seen = now

    def total(self) -> Energy:
        """Since it was made."""
        self.look()
        seconds = self._seen - self._begun
        if self._why_not is not None:
            return Energy(None, None, seconds, self._why_not)
        source = "RAPL" if self._last else f"power sensors {', '.join(self._rails)}"
        return Energy(f"{source}, the whole machine"[:200], self._joules, seconds)

    def _range_of(self, name: str) -> float:
        return _value(self._counters[name].with_name("max_energy_range_uj")) or 0.0


def _packages(root: Path) -> dict[str, Path]:
    """The counters of whole packages: cores and memory are part of them, and must not count twice."""
    try:
        found = sorted((root / _RAPL).glob("intel-rapl:[0-9]*/energy_uj"))
    except OSError:
        return {}
    return {path.parent.name: path for path in found if path.parent.name.count(":") == 1}


def _read_counters(counters: Mapping[str, Path]) -> dict[str, float]:
    values = {name: _value(path) for name, path in counters.items()}
    return {name: value for name, value in values.items() if value is not None}


def _power_rails(root: Path) -> dict[str, tuple[Path, ...]]:
    """By rail, the file of its power, or those of its voltage and current; only the one that feeds all, if there is."""
    rails: dict[str, tuple[Path, ...]] = {}
    try:
        chips = [path for path in sorted((root / _HWMON).glob("hwmon*")) if "ina" in (read_text(path / "name") or "")]
    except OSError:
        return {}
    for chip in chips:
        for number in range(1, 4):
            label = read_text(chip / f"in{number}_label") or f"{chip.name} {number}"
            for files in ((f"power{number}_input",), (f"in{number}_input", f"curr{number}_input")):
                paths = tuple(chip / name for name in files)
                if all(_value(path) is not None for path in paths):
                    rails[label[:40]] = paths
                    break
    whole = {name: paths for name, paths in rails.items() if name.upper() in _WHOLE}
    return whole or rails


def _watts_of(rails: Mapping[str, tuple[Path, ...]]) -> float | None:
    if not rails:
        return None
    total = 0.0
    for paths in rails.values():
        values = [_value(path) for path in paths]
        if any(value is None for value in values):
            return None
        known = [value for value in values if value is not None]
        # Power comes in microwatts, voltage in millivolts, current in milliamperes.
        total += known[0] / 1e6 if len(known) == 1 else known[0] * known[1] / 1e6
    return total


def _value(path: Path) -> float | None:
    text = read_text(path)
    return float(text) if text is not None and text.isascii() and text.isdigit() else None
