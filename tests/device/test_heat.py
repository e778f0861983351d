"""Temperatures against the limits of a board."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.device.heat import Heat, HeatLimits, HeatReport, HeatState, HeatWatch, board_celsius
from edgewright.device_profiles.profile import load_profile

if TYPE_CHECKING:
    from collections.abc import Callable

PI = HeatLimits(75.0, 80.0)
OK, HOT, THROTTLING = HeatState.OK, HeatState.HOT, HeatState.THROTTLING


def states(limits: HeatLimits, *degrees: float) -> list[HeatState]:
    heat = Heat(limits)
    return [heat.note(each).state for each in degrees]


def test_limits_are_those_of_the_profile() -> None:
    assert HeatLimits.of(load_profile("raspberry-pi-5")) == PI
    assert HeatLimits.of(load_profile("coral-dev")) == HeatLimits(75.0, None)
    assert not HeatLimits.of(load_profile("generic-x86-vnni")).known
    assert not HeatLimits.of(None).known


def test_a_state_is_entered_at_its_limit_and_left_three_degrees_below() -> None:
    assert states(PI, 74.9, 75, 74, 72, 71.9) == [OK, HOT, HOT, HOT, OK]
    assert states(PI, 80, 77, 76.9, 72, 71) == [THROTTLING, THROTTLING, HOT, HOT, OK]
    assert states(HeatLimits(None, 80.0), 79, 80, 50) == [OK, THROTTLING, OK]
    assert states(HeatLimits(75.0), 120, 71) == [HOT, OK]


@given(st.lists(st.floats(-1.4, 1.4), min_size=1, max_size=50))
def test_noise_around_a_limit_changes_the_state_once(noise: list[float]) -> None:
    for limit in (75.0, 80.0):
        seen = states(PI, 60.0, *(limit + each for each in noise))
        assert sum(a is not b for a, b in pairwise(seen)) <= 2


def test_the_worst_is_kept() -> None:
    heat = Heat(PI)
    for each in (60.0, 81.24, 70.0):
        heat.note(each)
    assert heat.report == HeatReport(OK, 70.0, 81.24, THROTTLING)
    assert heat.report.to_json() == {"state": "ok", "celsius": 70.0, "highest_celsius": 81.2, "worst": "throttling"}
    assert json.dumps(heat.report.to_json())


class Sensor:
    """Gives one temperature after the other, then says so and keeps the last."""

    def __init__(self, *degrees: float | None) -> None:
        self._left = list(degrees)
        self.over = threading.Event()

    def __call__(self) -> float | None:
        if len(self._left) == 1:
            self.over.set()
            return self._left[0]
        return self._left.pop(0)


def watched(sensor: Sensor, limits: HeatLimits = PI) -> HeatReport | None:
    with HeatWatch("gate", limits, read=sensor, every_s=0.001) as watch:
        assert sensor.over.wait(20.0)
    return watch.report


def test_each_change_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    report = watched(Sensor(60, 76, 77, 78, 81, 82, 81, 76, None, 60, 60))
    assert [record.getMessage().split(": ", 1)[1].split(";")[0] for record in caplog.records] == [
        "the board has 76 °C, its limit is 75 °C",
        "the board has 81 °C, its limit is 80 °C",
        "the board has 76 °C, its limit is 75 °C",
        "the board has cooled down to 60 °C",
    ]
    assert all(record.getMessage().startswith("gate: ") for record in caplog.records)
    assert report is not None
    assert (report.worst, report.highest_celsius) == (THROTTLING, 82)


def test_a_board_without_a_sensor_is_asked_once_and_one_without_limits_never(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def nothing() -> float | None:
        asked.append(1)
        return None

    with HeatWatch("gate", PI, read=nothing, every_s=0.001) as watch:
        pass
    assert (len(asked), watch.report) == (1, None)
    with HeatWatch("gate", HeatLimits(), read=nothing, every_s=0.001):
        pass
    assert (len(asked), caplog.records) == (1, [])


@pytest.mark.parametrize(
    ("sensors", "celsius"),
    [
        ({}, None),
        ({"cpu-thermal": 61.2}, 61.2),
        ({"CPU-therm": 50.0, "GPU-therm": 52.5, "PMIC-Die": 100.0, "thermal-fan-est": 51.0}, 52.5),  # Jetson Nano
        ({"cpu-thermal": 48.0, "tj-thermal": 55.0, "soc0-thermal": 54.0}, 55.0),  # Jetson Orin
        ({"x86_pkg_temp": 60.0, "iwlwifi_1": 80.0, "acpitz": 30.0}, 60.0),
        ({"zone0": 40.0, "nvme Composite": 70.0}, 40.0),
        ({"PMIC-Die": 100.0}, None),
    ],
)
def test_which_sensor_counts(sensors: dict[str, float], celsius: float | None) -> None:
    read: Callable[[], dict[str, float]] = lambda: sensors  # noqa: E731
    assert board_celsius(read) == celsius
