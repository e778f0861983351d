"""What boards tell of themselves: the files of a Raspberry Pi, a Jetson, an x86 machine and of none of these."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.runtime.conditions import board_model, emulation, take_snapshot
from edgewright.runtime.energy import EnergyMeter
from edgewright.runtime.results.watch import MOST_POINTS, Watch


def lay(root: Path, **files: object) -> Path:
    """Writes small files; ``__`` stands for a slash."""
    for name, content in files.items():
        write(root, name.replace("__", "/"), str(content))
    return root


def write(root: Path, name: str, content: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content + "\n")


def raspberry_pi(root: Path, flags: str = "50005") -> Path:
    for cpu in range(4):
        write(root, f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq", str(1_500_000 + cpu * 100_000))
    write(root, "sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "ondemand")
    write(root, "sys/class/thermal/thermal_zone0/type", "cpu-thermal")
    write(root, "sys/class/thermal/thermal_zone0/temp", "81250")
    write(root, "sys/devices/platform/soc/soc:firmware/get_throttled", flags)
    write(root, "proc/meminfo", "MemTotal:        3885396 kB\nMemFree: 1 kB\nMemAvailable:    3000000 kB")
    write(root, "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    return root


def test_a_raspberry_pi_tells_everything(tmp_path: Path) -> None:
    seen = take_snapshot(raspberry_pi(tmp_path))
    assert seen.governors == {"policy0": "ondemand"}
    assert seen.clock_mhz == {"0": 1500.0, "1": 1600.0, "2": 1700.0, "3": 1800.0}
    assert seen.mean_clock_mhz == 1650.0
    assert seen.celsius == {"cpu-thermal": 81.25}
    assert seen.throttle is not None
    assert seen.throttle.now == ("under-voltage", "throttled")
    assert seen.throttle.since_start == ("under-voltage", "throttled")
    assert (seen.memory_total_bytes, seen.memory_available_bytes) == (3885396 * 1024, 3000000 * 1024)
    assert not seen.missing
    assert board_model(tmp_path) == "Raspberry Pi 4 Model B Rev 1.4"


@pytest.mark.parametrize(
    ("text", "now", "since"),
    [
        ("throttled=0x0", (), ()),
        ("throttled=0x80008", ("soft temperature limit",), ("soft temperature limit",)),
        ("20002", ("clock capped",), ("clock capped",)),
        ("throttled=0x10000\n", (), ("under-voltage",)),
    ],
)
def test_the_firmware_is_asked_where_no_file_tells(tmp_path: Path, text: str, now: object, since: object) -> None:
    throttle = take_snapshot(tmp_path, lambda: text).throttle
    assert throttle is not None
    assert (throttle.now, throttle.since_start) == (now, since)


@pytest.mark.parametrize("text", ["", "error=1 error_msg=x", "0xzz", "f" * 40])
def test_an_answer_that_is_none_is_not_taken_for_all_is_well(tmp_path: Path, text: str) -> None:
    seen = take_snapshot(tmp_path, lambda: text)
    assert seen.throttle is None
    assert "throttle" in seen.missing


def test_a_jetson_tells_by_counters_and_cooling_devices(tmp_path: Path) -> None:
    lay(
        tmp_path,
        sys__class__hwmon__hwmon2__oc1_event_cnt=3,
        sys__class__thermal__cooling_device0__type="cpufreq-cpu0",
        sys__class__thermal__cooling_device0__cur_state=2,
        sys__class__thermal__cooling_device1__type="pwm-fan",
        sys__class__thermal__cooling_device1__cur_state=3,
        sys__class__thermal__thermal_zone0__type="CPU-therm",
        sys__class__thermal__thermal_zone0__temp=52500,
        sys__class__thermal__thermal_zone1__type="GPU-therm",
        sys__class__thermal__thermal_zone1__temp=-256000,  # switched off
    )
    seen = take_snapshot(tmp_path)
    assert seen.celsius == {"CPU-therm": 52.5}
    assert seen.throttle is not None
    assert seen.throttle.now == ("cpufreq-cpu0 held back",)  # a fan at work holds nothing back
    assert seen.throttle.events == {"hwmon2 oc1_event_cnt": 3}


def test_x86_tells_by_counters(tmp_path: Path) -> None:
    lay(tmp_path, sys__devices__system__cpu__cpu0__thermal_throttle__core_throttle_count=7)
    throttle = take_snapshot(tmp_path).throttle
    assert throttle is not None
    assert throttle.events == {"cpu0 core_throttle_count": 7}


def test_a_machine_without_sensors_says_so_and_invents_nothing(tmp_path: Path) -> None:
    seen = take_snapshot(tmp_path)
    assert (seen.hottest, seen.mean_clock_mhz, seen.throttle, seen.memory_total_bytes) == (None, None, None, None)
    assert set(seen.missing) == {"governor", "clock", "temperature", "throttle", "memory"}


@given(junk=st.binary(max_size=40))
def test_junk_in_sensors_is_no_reading(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    root = raspberry_pi(tmp_path_factory.mktemp("junk"))
    for path in root.rglob("*"):
        if path.is_file():
            path.write_bytes(junk)
    seen = take_snapshot(root)
    assert all(-60 <= value <= 200 for value in seen.celsius.values())
    assert all(text.isprintable() for text in (*seen.celsius, board_model(root) or ""))


def test_who_emulates_says_so(tmp_path: Path) -> None:
    assert emulation(tmp_path, {}) is None
    assert emulation(tmp_path, {"EDGEWRIGHT_EMULATED": "0"}) is None
    played = emulation(tmp_path, {"EDGEWRIGHT_EMULATED": "qemu-user"})
    assert played is not None
    assert played.by == "qemu-user"
    write(tmp_path, "proc/device-tree/model", "linux,dummy-virt")
    assert emulation(tmp_path, {}) is not None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_rapl_counts_packages_once_and_wraps_round(tmp_path: Path) -> None:
    domains = {"intel-rapl:0": 900_000, "intel-rapl:0:0": 500_000, "intel-rapl:1": 100}
    for name, start in domains.items():
        write(tmp_path, f"sys/class/powercap/{name}/energy_uj", str(start))
        write(tmp_path, f"sys/class/powercap/{name}/max_energy_range_uj", "1000000")
    clock = Clock()
    meter = EnergyMeter(tmp_path, clock)
    clock.now = 2.0
    write(tmp_path, "sys/class/powercap/intel-rapl:0/energy_uj", "100000")  # 200,000 further, once round
    write(tmp_path, "sys/class/powercap/intel-rapl:0:0/energy_uj", "900000")  # a part of the package
    write(tmp_path, "sys/class/powercap/intel-rapl:1/energy_uj", "100100")
    energy = meter.total()
    assert energy.joules == pytest.approx(0.3)
    assert energy.watts == pytest.approx(0.15)


def test_ina3221_is_averaged_and_the_rail_that_feeds_all_counts_alone(tmp_path: Path) -> None:
    for name, value in {"name": "ina3221", "in1_label": "VDD_IN", "in1_input": 5000, "curr1_input": 2000}.items():
        write(tmp_path, f"sys/class/hwmon/hwmon1/{name}", str(value))
    for name, value in {"in2_label": "VDD_CPU", "in2_input": 5000, "curr2_input": 1000}.items():
        write(tmp_path, f"sys/class/hwmon/hwmon1/{name}", str(value))
    clock = Clock()
    meter = EnergyMeter(tmp_path, clock)
    clock.now = 1.0
    write(tmp_path, "sys/class/hwmon/hwmon1/curr1_input", "4000")
    energy = meter.total()
    assert energy.joules == pytest.approx(15.0)  # from 10 W to 20 W within a second
    assert energy.source is not None
    assert "VDD_IN" in energy.source
    assert "VDD_CPU" not in energy.source


def test_no_sensor_of_energy_gives_no_figure(tmp_path: Path) -> None:
    energy = EnergyMeter(tmp_path).total()
    assert (energy.joules, energy.watts) == (None, None)
    assert energy.why_not


def test_a_watch_keeps_a_bounded_number_of_looks_over_the_whole_time(tmp_path: Path) -> None:
    clock = Clock()
    root = raspberry_pi(tmp_path, "0")
    watch = Watch(root, clock=clock)
    for second in range(2 * MOST_POINTS):
        clock.now = float(second)
        watch.look([1.0, 3.0])
    points = watch.points
    assert MOST_POINTS // 4 < len(points) <= MOST_POINTS
    assert points[-1].at_s > 2 * MOST_POINTS - 5
    assert [point.at_s for point in points] == sorted(point.at_s for point in points)
    assert points[0].celsius == 81.25
    assert points[0].p50_ms == 2.0


def test_a_watch_sees_counters_that_grow(tmp_path: Path) -> None:
    clock = Clock()
    counter = "sys/class/hwmon/hwmon2/oc1_event_cnt"
    write(tmp_path, counter, "3")
    watch = Watch(tmp_path, clock=clock)
    held = []
    for second, count in enumerate((3, 4, 4), start=1):
        write(tmp_path, counter, str(count))
        clock.now = float(second)
        point = watch.look()
        assert point is not None
        held.append(point.throttled)
    assert held == [(), ("hwmon2 oc1_event_cnt",), ()]
