"""How hot the board is, against the limits of its profile.

The sensors are read every few seconds by a thread of their own, for some of them answer slowly. A board without sensors
or without limits is left alone: nothing is read and nothing is said.

==============  ============================================================
state           means
==============  ============================================================
``ok``          below ``warn_celsius``
``hot``         at ``warn_celsius`` or above: look after its case and its fan
``throttling``  at ``throttle_celsius`` or above: the board slows itself down
==============  ============================================================

A state is left only three degrees below the limit at which it was entered.
"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from edgewright.runtime.conditions import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from edgewright.device_profiles.profile import DeviceProfile

__all__ = ["Heat", "HeatLimits", "HeatReport", "HeatState", "HeatWatch", "board_celsius"]

_EVERY_S = 5.0
_STEP_BACK = 3.0  # degrees
_JOIN_S = 1.0
# Jetson's PMIC-Die says 100 degrees whatever happens; of a wireless module or a disk the limits say nothing.
_PROCESSOR = re.compile(r"cpu|soc|gpu|x86_pkg|coretemp|k10temp|(^|\W)tj", re.IGNORECASE)
_NO_LIMIT_FOR = re.compile(r"pmic|wifi|iwl|nvme|bat", re.IGNORECASE)

_log = logging.getLogger(__name__)


class HeatState(str, Enum):
    """See the module's description."""

    OK = "ok"
    HOT = "hot"
    THROTTLING = "throttling"


@dataclass(frozen=True)
class HeatLimits:
    """From where on a board is hot, and slows itself down; degrees Celsius, None where nobody knows."""

    warn: float | None = None
    throttle: float | None = None

    @classmethod
    def of(cls, profile: DeviceProfile | None) -> HeatLimits:
        """Those of a profile."""
        if profile is None:
            return cls()
        warn, throttle = profile.warn_celsius, profile.throttle_celsius
        return cls(None if warn is None else warn.value, None if throttle is None else throttle.value)

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return self.warn is not None or self.throttle is not None


@dataclass(frozen=True)
class HeatReport:
    """How hot it got.

    Attributes:
        state: Of the last look.
        celsius: Of the last look.
        highest_celsius: Of all looks.
        worst: Of all looks.
    """

    state: HeatState
    celsius: float
    highest_celsius: float
    worst: HeatState

    def __str__(self) -> str:
        """In few words, such as ``81 °C, throttling``."""
        return f"{self.celsius:.0f} °C" + ("" if self.state is HeatState.OK else f", {self.state.value}")

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        rounded = {"celsius": round(self.celsius, 1), "highest_celsius": round(self.highest_celsius, 1)}
        return {**asdict(self), **rounded, "state": self.state.value, "worst": self.worst.value}


class Heat:
    """Judges temperatures, one after the other."""

    def __init__(self, limits: HeatLimits) -> None:
        """Cool so far."""
        self._limits = limits
        self.report: HeatReport | None = None

    def note(self, celsius: float) -> HeatReport:
        """Takes note of a temperature."""
        before = self.report
        was = HeatState.OK if before is None else before.state
        state = HeatState.OK
        if self._reached(self._limits.warn, celsius, held=was is not HeatState.OK):
            state = HeatState.HOT
        if self._reached(self._limits.throttle, celsius, held=was is HeatState.THROTTLING):
            state = HeatState.THROTTLING
        order = list(HeatState)
        worst = state if before is None else max(state, before.worst, key=order.index)
        highest = celsius if before is None else max(celsius, before.highest_celsius)
        self.report = HeatReport(state, celsius, highest, worst)
        return self.report

    @staticmethod
    def _reached(limit: float | None, celsius: float, *, held: bool) -> bool:
        return limit is not None and celsius >= limit - (_STEP_BACK if held else 0.0)


class HeatWatch:
    """Looks at the sensors now and then, in a thread of its own, for as long as the context lasts."""

    def __init__(
        self,
        name: str,
        limits: HeatLimits,
        *,
        read: Callable[[], float | None] | None = None,
        every_s: float = _EVERY_S,
    ) -> None:
        """Looks at nothing yet.

        Args:
            name: Of the camera, for what is logged.
            limits: Of the board; without any nothing is looked at.
            read: Gives degrees Celsius, None without a sensor.
            every_s: From look to look, seconds.
        """
        self._name, self._limits, self._every_s = name, limits, every_s
        self._read = read or board_celsius
        self._heat = Heat(limits)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def report(self) -> HeatReport | None:
        """The latest look and the worst; None without a sensor or without limits."""
        return self._heat.report

    def __enter__(self) -> HeatWatch:  # noqa: PYI034 - Self needs Python 3.11
        if self._limits.known:
            self._thread = threading.Thread(target=self._run, name="heat", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self._over.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while True:
            celsius, before = self._read(), self._heat.report
            if celsius is not None:
                self._tell(HeatState.OK if before is None else before.state, self._heat.note(celsius))
            elif before is None:
                return  # a board without sensors gets none later
            if self._over.wait(self._every_s):
                return

    def _tell(self, before: HeatState, now: HeatReport) -> None:
        """One line for each change of the state."""
        if now.state is before:
            return
        if now.state is HeatState.OK:
            _log.warning("%s: the board has cooled down to %.0f °C", self._name, now.celsius)
            return
        limit = self._limits.throttle if now.state is HeatState.THROTTLING else self._limits.warn
        what = (
            "it slows itself down" if now.state is HeatState.THROTTLING else "look after its case, its fan and the sun"
        )
        _log.warning("%s: the board has %.0f °C, its limit is %.0f °C; %s", self._name, now.celsius, limit or 0.0, what)


def board_celsius(read: Callable[[], Mapping[str, float]] | None = None) -> float | None:
    """The hottest of the processor's sensors, else of all that the limits may be meant for; None where there is none.

    Args:
        read: Gives temperatures by sensor; None looks at this machine's.
    """
    # The firmware of a Raspberry Pi is not asked: that would start a program each time.
    sensors = take_snapshot(firmware=lambda: None).celsius if read is None else read()
    meant = {name: celsius for name, celsius in sensors.items() if not _NO_LIMIT_FOR.search(name)}
    processor = [celsius for name, celsius in meant.items() if _PROCESSOR.search(name)]
    return max(processor or meant.values(), default=None)
