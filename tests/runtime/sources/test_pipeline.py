"""Cameras read by GStreamer's own program: real pipelines of test pictures, and programs that misbehave."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgewright.device_profiles.pipelines import CameraShape
from edgewright.device_profiles.profile import DeviceProfile, list_profiles, load_profile, parse_profile
from edgewright.runtime.errors import SourceError
from edgewright.runtime.sources import (
    LiveOptions,
    LiveSource,
    SourceDown,
    SourceOptions,
    SourceUp,
    open_source,
    parse_source,
)
from edgewright.runtime.sources.backoff import Backoff
from edgewright.runtime.sources.launch import launch_words, what_it_said
from edgewright.runtime.sources.pipeline import PipelineCapture
from edgewright.runtime.types import Frame, TimeQuality

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPS = "video/x-raw,width={width},height={height},framerate={fps}/1"
BALL = f"videotestsrc is-live=true pattern=smpte ! {CAPS} ! videoconvert ! appsink drop=true sync=false"
PATIENCE_S = 20.0
BRIEF = LiveOptions(backoff=Backoff(0.01, 0.05))
SMALL = CameraShape(16, 16, 30)


def board(csi: str = BALL) -> DeviceProfile:
    field = f'{{ value = "{csi}", origin = "assumed", source = "a test" }}'
    return parse_profile(f'extends = "x86-64"\n[gstreamer]\ncsi = {field}\n', "test-board")


@pytest.fixture
def opened() -> Iterator[Any]:
    made: list[Any] = []

    def opening(text: str, profile: DeviceProfile, live: LiveOptions = BRIEF) -> Any:
        made.append(open_source(parse_source(text), SourceOptions(name="gate"), live, profile))
        return made[-1]

    yield opening
    for source in made:
        source.close()


def until(source: Any, kind: type) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        item = source.take(0.1)
        if isinstance(item, kind):
            return item
    pytest.fail(f"no {kind.__name__}")


@pytest.mark.parametrize(("width", "height"), [(320, 240), (101, 66)])  # GStreamer fills up the rows of the second
def test_pictures_of_a_real_pipeline_are_whole(opened: Any, width: int, height: int) -> None:
    frame = until(opened(f"csi:0?width={width}&height={height}&fps=30", board()), Frame)
    assert frame.image.shape == (height, width, 3)
    assert (frame.camera, frame.time_quality) == ("gate", TimeQuality.ARRIVAL)
    bars = frame.image[: height // 2].astype(int)
    assert np.abs(bars - bars[:1]).max() <= 3  # upright bars: every row is the same, none is shifted
    blue, green, red = bars[0, width * 3 // 14]  # the second of seven is yellow
    assert (blue < 60, green > 150, red > 150) == (True, True, True)


def test_a_camera_that_ends_is_told_with_its_reason_and_opened_again(opened: Any) -> None:
    source = opened("csi:0?width=64&height=48", board(BALL.replace("is-live", "num-buffers=4 is-live")))
    until(source, Frame)
    assert until(source, SourceDown).reason == "gst-launch-1.0 ended without a word"
    assert until(source, SourceUp).attempts >= 1


def test_the_reason_is_what_gstreamer_says_of_the_camera(opened: Any) -> None:
    source = opened(
        "csi:63", board(BALL.replace("videotestsrc is-live=true pattern=smpte", "v4l2src device=/dev/video{sensor}"))
    )
    assert "Cannot identify device '/dev/video63'" in until(source, SourceDown).reason


def pictures(capture: PipelineCapture, says: str) -> list[int]:
    """A value of each picture that is left, and an end for the reason that is named."""
    seen: list[int] = []

    def read() -> None:
        while capture.grab():
            picture = capture.retrieve()
            assert picture is not None
            seen.append(int(picture[7, 7, 0]))

    with pytest.raises(SourceError, match=says):
        read()
    capture.close()
    return seen


def test_what_nobody_reads_in_time_is_dropped_before_the_pipe() -> None:
    pipeline, shape = BALL.replace("is-live=true", "num-buffers=300"), CameraShape(320, 240, 30)
    frames = os.pipe()
    capture = PipelineCapture(launch_words(pipeline, shape, frames[1]), shape, frames)
    assert capture.grab()
    time.sleep(1.0)  # in which the rest, as fast as it can be made, comes and goes
    assert len(pictures(capture, "ended")) < 100


def program(tmp_path: Path, text: str) -> PipelineCapture:
    """A program in place of GStreamer's; FRAMES is where it writes its pictures of 16 x 16."""
    frames = os.pipe()
    (tmp_path / "program.py").write_text(
        f"import os, signal, sys, time\nFRAMES = {frames[1]}\nMARK = {str(tmp_path / 'mark')!r}\n{text}"
    )
    return PipelineCapture([sys.executable, str(tmp_path / "program.py")], SMALL, frames)


def gone(pid: int) -> bool:
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":  # nobody reaps orphans here
            return True
        time.sleep(0.02)
    return False


def test_a_flood_of_words_holds_no_picture_up(tmp_path: Path) -> None:
    text = "for n in range(3):\n    print('x' * 300_000, flush=True)\n    os.write(FRAMES, bytes([n]) * 768)\n"
    capture = program(tmp_path, text + "sys.exit('the sensor is gone')")
    assert pictures(capture, "gst-launch-1.0 ended: the sensor is gone") == [0, 1, 2]
    capture.close()


def test_what_drivers_print_is_no_picture(tmp_path: Path) -> None:
    capture = program(
        tmp_path, "print('GST_ARGUS: Creating output stream', flush=True)\nos.write(FRAMES, b'\\7' * 768)"
    )
    assert capture.grab()
    picture = capture.retrieve()
    assert picture is not None
    assert (picture == 7).all()
    capture.close()


def test_half_a_picture_is_none(tmp_path: Path) -> None:
    capture = program(tmp_path, "os.write(FRAMES, b'x' * 700)")
    with pytest.raises(SourceError, match="gst-launch-1.0 ended without a word"):
        capture.grab()
    assert capture.retrieve() is None
    capture.close()


def test_a_program_that_another_ends_is_told_as_such(tmp_path: Path) -> None:
    capture = program(tmp_path, "print('a note', flush=True)\nos.kill(os.getpid(), signal.SIGTERM)")
    assert pictures(capture, r"gst-launch-1.0 was ended by signal 15 \(Terminated\): a note") == []


def test_a_program_that_hears_nothing_is_killed_with_all_it_started(tmp_path: Path) -> None:
    text = """signal.signal(signal.SIGINT, signal.SIG_IGN)
child = os.fork()
open(MARK, "a").write(f"{os.getpid()}\\n")
os.write(FRAMES, b"x" * 384)
time.sleep(600)
"""
    capture = program(tmp_path, text)
    assert capture.grab()  # a half of each
    capture.close()
    pids = [int(line) for line in (tmp_path / "mark").read_text().split()]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize("live", [LiveOptions(open_s=0.3, close_s=5.0), LiveOptions(close_s=5.0)])
def test_a_silent_camera_is_let_go(tmp_path: Path, live: LiveOptions) -> None:
    """Both when it is given up and when the source is closed while it is waited for."""
    made: list[PipelineCapture] = []

    def opener() -> PipelineCapture:
        made.append(program(tmp_path, "time.sleep(600)"))
        return made[-1]

    source = LiveSource(opener, SourceOptions(name="gate"), live)
    source.take(1.0)
    first = made[0]
    if live.open_s < 1.0:
        deadline = time.monotonic() + PATIENCE_S
        while first._process.returncode is None and time.monotonic() < deadline:
            source.take(0.05)
        assert first._process.returncode is not None
    source.close()
    assert source.abandoned == 0
    assert all(capture._process.returncode is not None for capture in made)


def test_a_program_that_cannot_be_started_is_an_error_and_leaves_nothing_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(SourceError, match="nowhere cannot be started: No such file"):
        PipelineCapture(["nowhere"], SMALL, os.pipe())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_without_gstreamer_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    needed = {"raspberry-pi-5": "gstreamer1.0-libcamera", "jetson-nano": "nvidia-l4t-gstreamer", "coral-dev": "-good"}
    for name, package in needed.items():
        with pytest.raises(SourceError) as caught:
            open_source(parse_source("csi:0"), profile=load_profile(name))
        assert str(caught.value).endswith(package)
        assert "apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good" in str(
            caught.value
        )


def test_a_profile_without_such_a_camera_is_told_with_those_that_have_one() -> None:
    with pytest.raises(SourceError, match=r"csi:0: profile generic-x86-vnni has no .* --profile .*raspberry-pi-5"):
        open_source(parse_source("csi:0"), profile=load_profile("generic-x86-vnni"))
    with pytest.raises(SourceError, match=r"csi:1: .* raspberry-pi-5 cannot choose a camera .* csi:0"):
        open_source(parse_source("csi:1"), profile=load_profile("raspberry-pi-5"))


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in list_profiles() for k in load_profile(n).gstreamer])
def test_every_shipped_pipeline_becomes_arguments(name: str, kind: str) -> None:
    pipeline = load_profile(name).gstreamer[kind].value
    words = launch_words(pipeline, CameraShape(640, 480, 15), 7)
    assert words[-2:] == ["fd=7", "sync=false"]
    assert words[words.index("capsfilter") + 1] == "caps=video/x-raw,format=BGR,width=640,height=480"
    assert not any(" " in word or "{" in word or "appsink" in word for word in words)
    assert launch_words(pipeline.replace(" sync=false", ""), CameraShape(), 7)[-1] == "sync=true"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        ("one\ntwo\n\n", "two"),
        ('WARNING: erroneous pipeline: no element "nvvidconv"', "install it with: sudo apt-get install nvidia-l4t"),
        ("WARNING: erroneous pipeline: could not link a to b", "could not link a to b"),
        ("ERROR: from element /GstPipeline:pipeline0/GstX:x0: Lost it.\nAdditional\nERROR: no preroll", "x0: Lost it."),
        (
            "ERROR: from element /P:p/V:v: No.\nsystem error: Device or resource busy\nFreeing",
            "v: No. (Device or resource",
        ),
        ("a\x1b[31mb", "a [31mb"),
        ("y" * 5000, "y" * 200),
    ],
)
def test_the_line_that_says_why(text: str, said: str) -> None:
    assert what_it_said(text).find(said) >= 0
    assert len(what_it_said(text)) <= 200
