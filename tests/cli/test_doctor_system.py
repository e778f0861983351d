"""What the doctor says of disks, clocks, heat, memory and the service, on systems whose files are made up."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from told import look

from edgewright.cli.doctor import clock, disk, health, service
from edgewright.cli.doctor.asking import Children
from edgewright.cli.doctor.disk import Mount
from edgewright.cli.doctor.look import Look, System, Wishes
from edgewright.device.config import DeviceConfig, SyncSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewright.cli.doctor.findings import Finding


@pytest.fixture
def system(tmp_path: Path) -> Callable[[dict[str, str]], System]:
    """A system with these files."""

    def make(files: dict[str, str]) -> System:
        for name, text in files.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return System(tmp_path)

    return make


MOUNTS = """\
22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw
23 22 0:5 / /dev rw shared:2 - devtmpfs udev rw
30 22 0:30 / /var/lib rw - tmpfs tmpfs rw
31 22 8:1 / /mnt/a\\040disk ro,relatime - vfat /dev/sda1 rw
32 22 0:40 / / rw - overlay overlay rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "writable"),
    [
        ("/home/x", "overlay", True),  # it hides the one below it
        ("/var/lib/edgewright", "tmpfs", True),
        ("/var/library", "overlay", True),
        ("/mnt/a disk", "vfat", False),
        ("/dev", "devtmpfs", True),
    ],
)
def test_the_mount_of_a_path(system: Callable[..., System], path: str, kind: str, writable: bool) -> None:
    found = disk.mount_of(system({"/proc/self/mountinfo": MOUNTS}), path)
    assert found is not None
    assert (found.kind, found.writable) == (kind, writable)


def test_broken_mounts_are_passed_over(system: Callable[..., System]) -> None:
    assert disk.mount_of(system({"/proc/self/mountinfo": "x\n1 2 3 - ext4\n"}), "/") is None
    assert disk.mount_of(System(Path("/nowhere")), "/") is None


@pytest.mark.parametrize(
    ("mount", "root", "states", "says"),
    [
        (Mount("/", "ext4", True, ""), Mount("/", "ext4", True, ""), ["ok", "ok"], "ext4"),
        (Mount("/", "ext4", False, ""), Mount("/", "ext4", False, ""), ["bad", "warn"], "read-only"),
        (Mount("/", "overlay", True, ""), Mount("/", "overlay", True, ""), ["warn", "ok"], "power cut"),
        (Mount("/data", "f2fs", True, ""), Mount("/", "squashfs", False, ""), ["ok", "warn"], "read-only"),
        (Mount("/n", "nfs4", True, ""), Mount("/", "ext4", True, ""), ["warn", "ok"], "locks"),
        (Mount("/u", "vfat", True, ""), Mount("/", "ext4", True, ""), ["warn", "ok"], "journal"),
        (None, None, ["unknown"], "not known"),
    ],
)
def test_file_systems(mount: Mount | None, root: Mount | None, states: list[str], says: str) -> None:
    found = list(disk.file_system(mount, root, "/data/outbox"))
    assert [finding.state for finding in found] == states
    assert any(says in finding.text for finding in found)
    assert all(finding.remedy for finding in found if finding.state != "ok")


def block(root: Path, device: str, name: str, files: dict[str, str], partition: str = "") -> None:
    """A block device in sysfs, as the kernel lays it out."""
    home = root / "sys/devices/platform/host" / name
    (home / "device").mkdir(parents=True)
    for file, text in files.items():
        (home / "device" / file).write_text(text + "\n")
    target = home
    if partition:
        target = home / partition
        target.mkdir()
        (target / "partition").write_text("2\n")
    links = root / "sys/dev/block"
    links.mkdir(parents=True)
    (links / device).symlink_to(os.path.relpath(target, links))


EMMC = {"type": "MMC", "name": "DG4008", "date": "03/2021"}


@pytest.mark.parametrize(
    ("files", "state", "says"),
    [
        ({**EMMC, "life_time": "0x01 0x02", "pre_eol_info": "0x01"}, "ok", "10 to 20 %"),
        ({**EMMC, "life_time": "0x09 0x02", "pre_eol_info": "0x01"}, "warn", "80 to 90 %"),
        ({**EMMC, "life_time": "0x02 0x02", "pre_eol_info": "0x02"}, "warn", "80 % of its spare blocks"),
        ({**EMMC, "life_time": "0x02 0x02", "pre_eol_info": "0x03"}, "warn", "nearly used up"),
        ({**EMMC, "life_time": "0x0b 0x02", "pre_eol_info": "0x03"}, "warn", "past its rated life"),
        ({**EMMC, "life_time": "0x00 0x00", "pre_eol_info": "0x00"}, "unknown", "tells no wear"),
        ({"type": "SD", "name": "SD32G", "date": "05/2023"}, "unknown", "an SD card tells no wear"),
        ({**EMMC, "life_time": "rubbish"}, "unknown", "tells no wear"),
    ],
)
def test_wear_of_cards(tmp_path: Path, files: dict[str, str], state: str, says: str) -> None:
    block(tmp_path, "179:2", "mmcblk0", files, "mmcblk0p2")
    finding = disk.wear(System(tmp_path), "179:2")
    assert finding.state == state, finding
    assert says in finding.text


@pytest.mark.parametrize(("name", "tool"), [("nvme0n1", "nvme smart-log"), ("sda", "smartctl"), ("vda", "")])
def test_wear_that_takes_a_tool(tmp_path: Path, name: str, tool: str) -> None:
    block(tmp_path, "8:0", name, {})
    finding = disk.wear(System(tmp_path), "8:0")
    assert finding.state == "unknown"
    assert tool in finding.remedy
    assert "not known" in disk.wear(System(tmp_path), "0:40").text


def kept_in(folder: Path) -> Wishes:
    return Wishes(config=DeviceConfig(sync=SyncSettings(outbox=folder / "outbox.db")))


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        ({"median_ms": 3.0, "longest_ms": 40.0, "count": 20}, "ok", "3.0 ms"),
        ({"median_ms": 80.0, "longest_ms": 90.0, "count": 20}, "warn", "80.0 ms"),
        ({"median_ms": 3.0, "longest_ms": 2400.0, "count": 20}, "warn", "longest 2400.0"),
        ({"problem": "No space left on device"}, "warn", "No space left"),
        ({"died": "no answer within 20 s while writing to /data"}, "warn", "while writing"),
    ],
)
def test_writes(tmp_path: Path, answer: dict[str, object], state: str, says: str) -> None:
    found = {finding.name: finding for finding in disk.disk(look({"fsync": answer}, kept_in(tmp_path)))}
    assert (found["fsync"].state, says in found["fsync"].text) == (state, True)


def test_the_disk_of_the_outbox_is_written_to_and_left_clean(tmp_path: Path) -> None:
    with Children() as children:
        asked = Look(children, kept_in(tmp_path / "not" / "yet"))
        disk.begin_disk(asked)
        found = {finding.name: finding for finding in disk.disk(asked)}
    assert found["fsync"].text.startswith("a write is safe after")
    assert str(tmp_path / "not" / "yet") in found["space"].text
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    for blocks, state in ((0, "bad"), (100 * 256, "warn"), (1000 * 256, "ok")):  # of 4 KiB
        fields = (4096, 4096, 1 << 20, blocks, blocks, 10, 10, 10, real.f_flag, 255)
        monkeypatch.setattr(os, "statvfs", lambda _path, fields=fields: os.statvfs_result(fields))
        found = {finding.name: finding for finding in disk.disk(look({}, kept_in(tmp_path)))}
        assert found["space"].state == state
        assert bool(found["space"].remedy) is (state != "ok")


NOW = time.time()


@pytest.mark.parametrize(
    ("now", "installed", "state"),
    [
        (NOW, NOW - 1000, "ok"),
        (NOW, NOW + 600, "ok"),  # written a moment ago by a machine whose clock is a little ahead
        (NOW, NOW + 90000, "bad"),
        (0.0, 0.0, "bad"),
        (1.5e9, 0.0, "bad"),
        (4e9, NOW, "bad"),
    ],
    ids=["now", "a little behind", "a day behind", "no clock", "years behind", "years ahead"],
)
def test_a_moment_that_cannot_be(now: float, installed: float, state: str) -> None:
    finding = clock.plausible(now, installed)
    assert finding.state == state
    assert bool(finding.remedy) is (state == "bad")


class Tools(System):
    """A system with these tools, by their first words."""

    def __init__(self, root: Path, said: dict[str, str]) -> None:
        super().__init__(root)
        self._said = said

    def tool(self, *words: str) -> str | None:
        return self._said.get(words[0])


@pytest.mark.parametrize(
    ("files", "said", "state"),
    [
        ({"/run/systemd/timesync/synchronized": ""}, {}, "ok"),
        ({}, {"chronyc": "Reference ID    : A\nLeap status     : Normal"}, "ok"),
        ({}, {"chronyc": "Leap status     : Not synchronised"}, "warn"),
        ({}, {"timedatectl": "yes"}, "ok"),
        ({}, {"timedatectl": "no"}, "warn"),
        ({}, {"timedatectl": "yes", "chronyc": "Leap status     : Not synchronised"}, "ok"),
        ({}, {}, "unknown"),
    ],
)
def test_synchronised(
    system: Callable[..., System], tmp_path: Path, files: dict[str, str], said: dict[str, str], state: str
) -> None:
    system(files)
    assert clock.synchronised(Tools(tmp_path, said)).state == state


@pytest.mark.parametrize(
    ("files", "state", "says"),
    [
        ({"/sys/class/net/lo/mtu": "1"}, "warn", "no real-time clock"),
        ({"/sys/class/rtc/rtc0/name": "rpi_rtc\n", "/sys/class/rtc/rtc0/since_epoch": "86400\n"}, "warn", "1970-01-02"),
        ({"/sys/class/rtc/rtc0/name": "ds1307\n", "/sys/class/rtc/rtc0/since_epoch": f"{NOW:.0f}\n"}, "ok", "ds1307"),
        ({"/sys/class/rtc/rtc0/date": "2026-01-01\n"}, "ok", "rtc0"),
    ],
)
def test_the_real_time_clock(system: Callable[..., System], files: dict[str, str], state: str, says: str) -> None:
    finding = clock.real_time_clock(system(files))
    assert (finding.state, says in finding.text) == (state, True)


def names(found: object) -> dict[str, Finding]:
    return {finding.name: finding for finding in found}  # type: ignore[attr-defined]


MEMORY = "MemTotal:        {total} kB\nMemAvailable:    {free} kB\n"
SWAPS = "Filename Type Size Used Priority\n"


@pytest.mark.parametrize(
    ("free", "swaps", "mounts", "states"),
    [
        (400000, "", "", ("ok", "ok")),
        (100000, "", "", ("warn", "ok")),
        (400000, "/dev/zram0 partition 100 1 100\n", "", ("ok", "ok")),
        (400000, "/dev/mmcblk0p3 partition 100 1 -2\n", "", ("ok", "warn")),
        (400000, "/var/swap file 100 1 -2\n", MOUNTS.splitlines()[0], ("ok", "warn")),
        (400000, "/var/swap file 100 1 -2\n", MOUNTS.splitlines()[0].replace("179:2", "8:1"), ("ok", "ok")),
    ],
)
def test_memory(
    system: Callable[..., System], tmp_path: Path, free: int, swaps: str, mounts: str, states: tuple[str, str]
) -> None:
    files = {"/proc/meminfo": MEMORY.format(total=500000, free=free), "/proc/swaps": SWAPS + swaps}
    made = system({**files, "/proc/self/mountinfo": mounts})
    block(tmp_path, "179:2", "mmcblk0", {}, "mmcblk0p2")
    found = names(health.memory(look(system=made)))
    assert (found["memory"].state, found["swap"].state) == states


def test_what_cannot_be_examined_is_not_called_well(tmp_path: Path) -> None:
    """On a system without /proc and /sys nothing was seen, so nothing is ``ok``, and every finding says where to look."""
    asked = look(system=System(tmp_path))
    found = [*health.memory(asked), *health.heat(asked), clock.synchronised(asked.system)]
    found += [clock.real_time_clock(asked.system), disk.wear(asked.system, "8:0")]
    assert {finding.name for finding in found} == {
        "memory", "swap", "temperature", "throttling", "synchronised", "rtc", "wear",
    }  # fmt: skip
    assert {finding.state for finding in found} == {"unknown"}
    assert all(finding.remedy for finding in found)


def test_a_folder_that_this_user_may_not_write(tmp_path: Path) -> None:
    """The write was not tried, so nothing is known of it."""
    found = names(disk.disk(look({}, kept_in(tmp_path))))
    assert (found["fsync"].state, bool(found["fsync"].remedy)) == ("unknown", True)


ZONE = "/sys/class/thermal/thermal_zone0"
CPUFREQ = "/sys/devices/system/cpu/cpu0/cpufreq"
FIRMWARE = "/sys/devices/platform/soc/soc:firmware/get_throttled"


@pytest.mark.parametrize(
    ("files", "name", "state", "says"),
    [
        ({f"{ZONE}/temp": "48312", f"{ZONE}/type": "cpu-thermal"}, "temperature", "ok", "48 C at cpu-thermal"),
        ({f"{ZONE}/temp": "83000"}, "temperature", "warn", "from 80 C"),
        (
            {f"{ZONE}/temp": "83000", f"{ZONE}/trip_point_0_type": "passive", f"{ZONE}/trip_point_0_temp": "95000"},
            "temperature",
            "ok",
            "from 95 C",
        ),
        ({f"{ZONE}/temp": "-274000"}, "temperature", "unknown", "no sensor"),
        ({FIRMWARE: "0"}, "throttling", "ok", "nothing is held back"),
        ({FIRMWARE: "50005"}, "throttling", "warn", "under-voltage, throttled"),
        ({FIRMWARE: "50000"}, "throttling", "warn", "since the start"),
        ({}, "throttling", "unknown", "nothing here tells"),
        (
            {
                f"{CPUFREQ}/scaling_governor": "ondemand",
                f"{CPUFREQ}/scaling_max_freq": "600000",
                f"{CPUFREQ}/cpuinfo_max_freq": "1500000",
            },
            "clock limit",
            "warn",
            "600 of 1500 MHz",
        ),
    ],
)
def test_heat(system: Callable[..., System], files: dict[str, str], name: str, state: str, says: str) -> None:
    finding = names(health.heat(look(system=system(files))))[name]
    assert (finding.state, says in finding.text) == (state, True), finding
    assert bool(finding.remedy) is (state != "ok")


GOOD = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "NRestarts": "0",
    "Result": "success",
    "WatchdogUSec": "30s",
}


@pytest.mark.parametrize(
    ("changes", "name", "state"),
    [
        ({}, "state", "ok"),
        ({"LoadState": "not-found"}, "state", "bad"),
        ({"ActiveState": "failed", "Result": "watchdog"}, "state", "bad"),
        ({"ActiveState": "inactive"}, "state", "bad"),
        ({"UnitFileState": "disabled"}, "start", "warn"),
        ({"NRestarts": "3"}, "restarts", "warn"),
        ({"WatchdogUSec": "0"}, "watchdog", "warn"),
    ],
)
def test_the_service(changes: dict[str, str], name: str, state: str) -> None:
    found = names(service.read_service({**GOOD, **changes}))
    assert found[name].state == state
    assert sum(finding.state != "ok" for finding in found.values()) == (state != "ok")


def test_no_service_and_no_systemd(system: Callable[..., System], tmp_path: Path) -> None:
    assert [finding.state for finding in service.service(look(system=System(tmp_path)))] == ["ok"]
    made = system({"/etc/systemd/system/edgewright.service": ""})
    (finding,) = service.service(look(system=made))
    assert finding.state == "bad"
    said = "\n".join(f"{key}={value}" for key, value in GOOD.items())
    found = service.service(look(system=Tools(tmp_path, {"systemctl": said})))
    assert {finding.state for finding in found} == {"ok"}


def test_a_tool_that_hangs_or_fails_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, body in (("fails", "exit 3"), ("hangs", "exec sleep 60"), ("speaks", "echo hello")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("edgewright.cli.doctor.look._TOOL_S", 0.3)
    said = {name: System().tool(name) for name in ("fails", "hangs", "speaks", "is-not-there")}
    assert said == {"fails": None, "hangs": None, "speaks": "hello", "is-not-there": None}
    assert System(tmp_path).tool("speaks") is None  # a made-up root has none


def test_a_full_disk_is_seen(tmp_path: Path) -> None:
    """A real one, where this user may mount it."""
    point = tmp_path / "small"
    point.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(point)]).returncode:
        pytest.skip("this user may not mount")
    try:
        (point / "fill").write_bytes(bytes((1 << 20) - 4096))
        with Children() as children:
            asked = Look(children, kept_in(point))
            disk.begin_disk(asked)
            found = names(disk.disk(asked))
    finally:
        subprocess.run(["umount", str(point)], check=True)
    assert found["space"].state == "bad"
    assert found["file system"].state == "warn"
    assert "tmpfs" in found["file system"].text
