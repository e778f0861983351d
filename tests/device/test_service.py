"""What a service manager is told, through a real datagram socket."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtsp.camera import free_port, rtsp_camera

from edgewright.device.app import run_camera
from edgewright.device.config import ServiceSettings, load_config
from edgewright.device.heat import Heat, HeatLimits
from edgewright.device.notify import Notifier, watchdog_interval_s
from edgewright.device.service import Flow, FlowLimits, Service
from edgewright.runtime.loop import CameraLoop, LoopLimits, Watchers
from edgewright.runtime.sources import SourceDown, SourceUp
from edgewright.runtime.testing import ListSource, ScriptedModel
from edgewright.runtime.types import Classification, Detections, Frame, ResultStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edgewright.runtime.sources import EndOfSource

OK, DOWN, ERROR = ResultStatus.OK, ResultStatus.SOURCE_DOWN, ResultStatus.MODEL_ERROR
LATE = (ResultStatus.STALE, ResultStatus.TIMEOUT)


class Manager:
    """As much of systemd as a service sees: a socket and an environment."""

    def __init__(self, address: str, watchdog_s: float | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0.0)
        self.environ = {"NOTIFY_SOCKET": address}
        if watchdog_s is not None:
            self.environ |= {"WATCHDOG_USEC": str(round(watchdog_s * 1e6)), "WATCHDOG_PID": str(os.getpid())}

    def messages(self, wait_s: float = 0.0) -> Iterator[dict[str, str]]:
        self._socket.settimeout(wait_s)
        with contextlib.suppress(BlockingIOError, TimeoutError):
            while True:
                lines = self._socket.recv(4096).decode().split("\n")
                yield dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"), watchdog_s=8.0)
    yield made
    made.close()


class Clock:
    """Monotonic seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """A camera whose every ``take`` costs a second, and what it gives then."""

    name, live, total, fps, seen = "gate", True, None, None, 0
    drops: Mapping[str, int] = {}

    def __init__(self, clock: Clock, items: list[Frame | SourceDown | SourceUp | None], step_s: float = 1.0) -> None:
        self._clock, self._items, self._step_s = clock, items, step_s

    def take(self, timeout_s: float) -> Frame | SourceDown | SourceUp | EndOfSource | None:
        del timeout_s
        self._clock.now += self._step_s
        return self._items.pop(0)

    def close(self) -> None:
        """Nothing to give back."""

    @property
    def over(self) -> bool:
        return not self._items


def frame() -> Frame:
    taken = ListSource.blank(1, live=True).take()
    assert isinstance(taken, Frame)
    return taken


def played(
    manager: Manager,
    items: list[Frame | SourceDown | SourceUp | None],
    model: ScriptedModel | None = None,
    needs_frames_s: float = 600.0,
    max_age_s: float = 1e9,
    heat: Heat | None = None,
) -> list[tuple[float, dict[str, str]]]:
    """The scene played by the real loop; what the manager heard, and after how many seconds."""
    clock = Clock()
    scene = Scene(clock, items)
    heard: list[tuple[float, dict[str, str]]] = []
    limits = LoopLimits(max_model_errors=10**9, max_age_s=max_age_s)
    settings, report = ServiceSettings(needs_frames_s), lambda: None if heat is None else heat.report
    with Service(scene, settings, manager.environ, clock=clock, heat=report) as service:
        watchers = Watchers(results=service.sinks)
        loop = CameraLoop(scene, model or ScriptedModel.empty(), None, watchers, limits, clock=clock)
        turn = service.watching(lambda: scene.over)

        def listened() -> bool:
            ended = turn()
            heard.extend((clock.now - 1000.0, message) for message in manager.messages())
            return ended

        loop.run(listened)
    heard.extend((clock.now - 1000.0, message) for message in manager.messages())
    return heard


def fed(heard: list[tuple[float, dict[str, str]]]) -> list[float]:
    return [at for at, message in heard if message.get("WATCHDOG") == "1"]


def test_ready_is_said_before_the_first_frame_and_stopping_last(manager: Manager) -> None:
    heard = played(manager, [None, frame(), frame()])
    assert heard[0] == (0.0, {"READY": "1", "STATUS": "gate: waiting for the first frame"})
    assert heard[-1][1]["STOPPING"] == "1"
    assert [message for _, message in heard if "READY" in message] == [heard[0][1]]


def test_answers_feed_the_watchdog_four_times_in_its_interval(manager: Manager) -> None:
    assert fed(played(manager, [frame() for _ in range(12)])) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]


def test_a_model_that_fails_on_every_frame_ends_the_feeding(manager: Manager) -> None:
    heard = played(
        manager, [frame() for _ in range(40)], ScriptedModel([Detections.empty(), RuntimeError("no engine")])
    )
    assert max(fed(heard)) <= 1 + 15  # the one answer and the patience
    assert re.search(r"no answer to any frame for \d+ s, the last was model_error", heard[-2][1]["STATUS"])


def test_a_board_that_is_only_slow_is_told_and_not_restarted(manager: Manager) -> None:
    heard = played(manager, [frame() for _ in range(60)], max_age_s=-1e12)  # every answer comes too late
    times = fed(heard)
    assert max(after - before for before, after in pairwise(times)) <= 2.0
    assert times[-1] >= 58
    told = [row["STATUS"] for _, row in heard if "too late" in row.get("STATUS", "")]
    assert any(re.search(r"0\.0 answers/s, \d+ too late to be used: this board is too slow", text) for text in told)


@pytest.mark.parametrize("status", LATE)
def test_late_answers_are_a_sign_of_life_and_errors_are_none(status: ResultStatus) -> None:
    flow = Flow(FlowLimits(15.0), 0.0)
    for second in range(100):
        flow.note(status, float(second))
        assert flow.fault(float(second)) is None
    for second in range(100, 130):
        flow.note(ERROR, float(second))
    assert "the last was model_error" in (flow.fault(130.0) or "")


def test_feeding_goes_on_when_answers_come_again(manager: Manager) -> None:
    script = [RuntimeError("no engine")] * 30 + [Detections.empty()]
    times = fed(played(manager, [frame() for _ in range(40)], ScriptedModel(script)))
    assert not [at for at in times if 17 < at <= 30]
    assert [at for at in times if at > 31]


def test_a_camera_told_to_be_away_is_waited_for(manager: Manager) -> None:
    heard = played(manager, [frame(), SourceDown(1002.0, "connection refused"), *[None] * 100, frame(), frame()])
    times = fed(heard)
    assert max(after - before for before, after in pairwise(times)) <= 3.0
    told = " ".join(row.get("STATUS", "") for _, row in heard)
    assert re.search(r"away for \d+ s: connection refused; waiting for it", told)


def test_a_camera_that_is_away_from_the_start_is_ready_and_fed(manager: Manager) -> None:
    heard = played(manager, [SourceDown(1001.0, "no such camera"), *[None] * 60])
    assert heard[0][1]["READY"] == "1"
    assert max(fed(heard)) >= 58


def test_after_long_enough_without_frames_the_feeding_ends(manager: Manager) -> None:
    heard = played(manager, [frame(), SourceDown(1002.0, "gone"), *[None] * 100], needs_frames_s=50)
    assert 45 <= max(fed(heard)) <= 51
    assert "no frame for" in heard[-2][1]["STATUS"]
    for_ever = played(manager, [frame(), SourceDown(1002.0, "gone"), *[None] * 1000], needs_frames_s=0)
    assert max(fed(for_ever)) > 990


def test_a_silence_that_the_source_does_not_tell_ends_the_feeding(manager: Manager) -> None:
    heard = played(manager, [frame(), *[None] * 40])
    assert max(fed(heard)) <= 1 + 15
    assert "neither a frame nor a word of the source" in heard[-2][1]["STATUS"]


def test_a_loop_that_does_not_turn_feeds_nothing(manager: Manager) -> None:
    clock = Clock()
    source = ListSource.blank(1, live=True)
    with Service(source, ServiceSettings(), manager.environ, clock=clock) as service:
        turn = service.watching(lambda: False)
        turn()
        list(manager.messages())
        clock.now += 100  # the model hangs; whatever else the process does meanwhile
        assert list(manager.messages(wait_s=0.3)) == []


def test_the_status_tells_rate_ages_and_what_went_wrong(manager: Manager) -> None:
    script = [*[Detections.empty()] * 6, RuntimeError("out of\nmemory"), Detections.empty()]
    heard = played(manager, [frame() for _ in range(14)], ScriptedModel(script))
    told = [row["STATUS"] for _, row in heard if "answers/s" in row.get("STATUS", "")]
    assert told
    assert "gate: " in told[0]
    assert "age " in told[0]
    assert any("1 without answer: RuntimeError: out of memory" in text for text in told)


def test_the_status_tells_that_the_board_slows_itself_down(manager: Manager) -> None:
    heat = Heat(HeatLimits(75.0, 80.0))
    heat.note(60.0)

    class Heating(ScriptedModel):
        def infer(self, image: Any, score_threshold: float | None = None) -> Detections | Classification:
            if self.calls == 12:
                heat.note(81.0)
            return super().infer(image, score_threshold)

    heard = played(manager, [frame() for _ in range(20)], Heating([Detections.empty()]), heat=heat)
    told = [(at, row["STATUS"].partition("; ")[2]) for at, row in heard if "answers/s" in row.get("STATUS", "")]
    assert told[0][1] == "board 60 °C"
    after = [(at, words) for at, words in told if at > 13]
    assert after[0][1] == "board 81 °C, throttling"
    assert after[0][0] <= 16  # not only with the next regular line
    assert max(fed(heard)) >= 18  # a hot board is no reason to start afresh


def test_a_slow_camera_is_given_ten_of_its_periods() -> None:
    flow = Flow(FlowLimits(15.0), 0.0)
    flow.note(OK, 0.0)
    assert flow.fault(120.0, 60.0) is None
    assert flow.fault(120.0) is not None


STEPS = st.lists(st.tuples(st.sampled_from([*ResultStatus, None]), st.floats(0.0, 40.0)), min_size=1, max_size=60)


@given(STEPS, st.floats(1.0, 200.0))
def test_nothing_is_fed_long_after_the_last_answer_unless_the_source_says_that_it_is_down(
    steps: list[tuple[ResultStatus | None, float]], needs_frames_s: float
) -> None:
    flow = Flow(FlowLimits(15.0, needs_frames_s), 0.0)
    now = answered = seen = told = 0.0
    last: ResultStatus | None = None
    for status, pause in steps:
        now += pause
        if status is not None:
            flow.note(status, now)
            last = status
            answered = now if status is OK or status in LATE else answered
            seen = seen if status is DOWN else now
            told = now if status is DOWN else told
        fault = flow.fault(now)
        if now - seen > needs_frames_s:
            assert fault is not None
        elif now - answered <= 15.0 or (last is DOWN and now - told <= 15.0):
            assert fault is None
        else:
            assert fault is not None


def test_an_abstract_socket_works_too() -> None:
    address = f"@edgewright-test-{os.getpid()}"
    with contextlib.closing(Manager(address)) as manager:
        notifier = Notifier.from_environment(manager.environ)
        assert notifier is not None
        with contextlib.closing(notifier):
            assert notifier.send(READY="1", STATUS="a\nWATCHDOG=1")
        assert list(manager.messages()) == [{"READY": "1", "STATUS": "a WATCHDOG=1"}]


@pytest.mark.parametrize("address", ["", "/", "@", "vsock:2:1", "notify"])
def test_other_addresses_are_no_manager(address: str) -> None:
    assert Notifier.from_environment({"NOTIFY_SOCKET": address}) is None


@pytest.mark.parametrize("address", ["/nowhere/notify", "/" + "x" * 300])
def test_a_manager_that_is_gone_changes_nothing(address: str) -> None:
    notifier = Notifier(address)
    assert notifier.send(READY="1") is False
    notifier.close()


def test_a_manager_that_does_not_read_holds_nothing_up(manager: Manager) -> None:
    notifier = Notifier(manager.environ["NOTIFY_SOCKET"])
    sent = [notifier.send(STATUS="x" * 300) for _ in range(5000)]
    notifier.close()
    assert sent[0] is True
    assert sent[-1] is False


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "6000000"}, 6.0),
        ({"WATCHDOG_USEC": "6000000", "WATCHDOG_PID": "17"}, 6.0),
        ({"WATCHDOG_USEC": "6000000", "WATCHDOG_PID": "18"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "six"}, None),
        ({"WATCHDOG_USEC": "9" * 30}, None),
        ({"WATCHDOG_USEC": "²"}, None),
    ],
)
def test_the_interval_is_for_this_process_only(environ: dict[str, str], interval_s: float | None) -> None:
    assert watchdog_interval_s(environ, pid=17) == interval_s


def test_without_a_manager_nothing_happens() -> None:
    def stop() -> bool:
        return False

    with Service(ListSource.blank(1), ServiceSettings(), {}) as service:
        assert service.sinks == ()
        assert service.watching(stop) is stop


def test_without_a_watchdog_the_manager_is_still_told(tmp_path: Path) -> None:
    with contextlib.closing(Manager(str(tmp_path / "notify"))) as manager:
        heard = played(manager, [frame(), frame()])
        assert "READY" in heard[0][1]
        assert fed(heard) == []


def test_a_real_run_speaks_to_its_manager(
    clip: Path, detector: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in manager.environ.items():
        monkeypatch.setenv(name, value)
    run_camera(load_config(None, {"source": {"uri": str(clip)}, "model": {"bundle": str(detector)}}))
    heard = list(manager.messages())
    assert "READY" in heard[0]
    assert any("WATCHDOG" in message for message in heard)
    assert "STOPPING" in heard[-1]


def test_a_run_that_fails_says_why(
    clip: Path, detector: Path, tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in manager.environ.items():
        monkeypatch.setenv(name, value)
    output = {"events": tmp_path}
    flags = {"source": {"uri": str(clip)}, "model": {"bundle": str(detector)}, "output": output}
    with pytest.raises(Exception, match="cannot write"):
        run_camera(load_config(None, flags))
    assert "cannot write" in list(manager.messages())[-1]["STATUS"]


def service_process(manager: Manager, bundle: Path, url: str) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in manager.environ.items() if name != "WATCHDOG_PID"}
    command = [sys.executable, "-m", "edgewright.cli.main", "run", str(bundle), "--source", url]
    return subprocess.Popen(
        command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def heard_until(manager: Manager, word: str) -> list[dict[str, str]]:
    heard = []
    for message in manager.messages(wait_s=30.0):
        heard.append(message)
        if any(word in f"{key}={value}" for key, value in message.items()):
            return heard
    raise AssertionError(f"never heard {word!r}, but {heard}")


def test_a_stopped_process_feeds_nothing_and_goes_on_when_continued(detector: Path, manager: Manager) -> None:
    with rtsp_camera() as camera:
        process = service_process(manager, detector, camera.url)
        try:
            heard_until(manager, "answers/s")
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            list(manager.messages())
            assert list(manager.messages(wait_s=4.0)) == []  # twice as long as it takes from meal to meal
            process.send_signal(signal.SIGCONT)
            heard_until(manager, "WATCHDOG=1")
            process.send_signal(signal.SIGTERM)
            heard_until(manager, "STOPPING=1")
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            process.wait()


def test_a_real_camera_that_is_away_is_told_and_fed(detector: Path, manager: Manager) -> None:
    process = service_process(manager, detector, f"rtsp://127.0.0.1:{free_port()}/cam")
    try:
        assert "READY" in heard_until(manager, "READY=1")[0]
        heard_until(manager, "away for")
        heard_until(manager, "WATCHDOG=1")
    finally:
        process.kill()
        process.wait()
