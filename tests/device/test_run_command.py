"""`edgewright run` as people meet it: exit codes, summary, signals."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rtsp.camera import free_port, rtsp_camera

from edgewright.cli.arguments import threads_argument
from edgewright.cli.main import main
from edgewright.device.aside import Aside
from edgewright.device.progress import Progress
from edgewright.runtime.loop import CameraLoop, Watchers
from edgewright.runtime.sources import SourceDown, SourceUp
from edgewright.runtime.testing import ListSource, ScriptedModel

if TYPE_CHECKING:
    from pathlib import Path

MOST_THREADS = 4 * (os.cpu_count() or 1)


def test_a_run_ends_with_its_summary(clip: Path, detector: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(detector), "--source", str(clip), "--zone", "all=0,0;1,0;1,1;0,1"]) == 0
    shown = capsys.readouterr().out
    for part in ("24 processed of 24 seen", "tracks    1", "1 zone_count", "100.0%", "inference", "end_to_end"):
        assert part in shown


def test_json_is_one_object(clip: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml = tmp_path / "device.toml"
    toml.write_text(f'[source]\nuri = "{clip}"\nevery = 2\n[model]\nbundle = "{detector}"\n')
    assert main(["run", "--config", str(toml), "--json", "--max-frames", "4", "--outbox", str(tmp_path / "o.db")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["frames_processed"], said["results"], said["sync"]["emitted"]) == (4, {"ok": 4}, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--source", "nowhere.avi"], "no such file"),
        (["--source", "csi:front"], "write csi:0"),
        (["--source", "webrtc://0"], "not supported yet"),
        (["--source", __file__], "not a video"),
        ([], "--source"),
        (["--source", "0", "--every", "0"], "every"),
        (["--source", "0", "--config", "nowhere.toml"], "nowhere.toml"),
        (["--source", "0", "--zone", "door"], "door"),
        (["--source", "0", "--broker", "ftp://x"], "mqtts"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    detector: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(detector), *arguments]) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert says in caught.err
    assert len(caught.err.strip().splitlines()) == 1


def test_an_altered_bundle_is_code_2(
    clip: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(detector.read_bytes())
    data[len(data) // 2] ^= 1
    bad = tmp_path / "bad.edge"
    bad.write_bytes(data)
    assert main(["run", str(bad), "--source", str(clip)]) == 2
    assert "bad.edge" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_live_run_with_its_summary(detector: Path, tmp_path: Path, number: signal.Signals) -> None:
    arguments = [sys.executable, "-m", "edgewright.cli.main", "run", str(detector), "--json"]
    arguments += ["--events", str(tmp_path / "e.jsonl"), "--annotate", str(tmp_path / "seen.avi")]
    with rtsp_camera() as camera:
        process = subprocess.Popen(
            [*arguments, "--source", camera.url.replace("//", "//bob:s3cret@")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "error"},
        )
        assert process.stderr is not None
        first = process.stderr.readline()  # a plain progress line after some seconds of frames
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert first.startswith("frame ")
    assert process.returncode == 0, err
    said = json.loads(out)
    assert said["frames_processed"] > 0
    assert said["live"] is True
    assert said["annotated"] == str(tmp_path / "seen.avi")
    assert (tmp_path / "seen.avi").stat().st_size > 0
    assert "run_summary" in (tmp_path / "e.jsonl").read_text()
    assert "s3cret" not in out + err + first + (tmp_path / "e.jsonl").read_text()


class Terminal(io.StringIO):
    """Says it is a terminal."""

    def isatty(self) -> bool:
        return True


def watch(source: ListSource, stream: io.StringIO, step_s: float) -> str:
    times = iter(range(10_000))
    progress = Progress(source, stream, clock=lambda: next(times) * step_s)
    CameraLoop(source, ScriptedModel.empty(), None, Watchers(results=[progress])).run()
    return stream.getvalue()


def test_progress_refreshes_one_line_on_a_terminal() -> None:
    shown = watch(ListSource.blank(10), Terminal(), 1.0)
    assert shown.count("\n") == 1
    assert "frame 5/10, 1.0 frames/s, 5 s left" in shown
    assert shown.rstrip().endswith("frame 10/10, 1.0 frames/s, 0 s left")


def test_progress_elsewhere_is_a_plain_line_now_and_then() -> None:
    shown = watch(ListSource.blank(100), io.StringIO(), 0.5)
    assert "\r" not in shown
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 10


def test_progress_tells_of_a_camera_that_is_down() -> None:
    frames = [ListSource.blank(1, live=True).take() for _ in range(2)]
    source = ListSource([frames[0], SourceDown(0.0, "no answer"), SourceUp(1.0, 1.0, 1), frames[1]], live=True)  # type: ignore[list-item]
    shown = watch(source, io.StringIO(), 1.0)
    assert shown.splitlines() == ["list: down: no answer", "list: up again"]


def run_beside(stderr: int | None, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """`run` as a program of its own; a hang is ended after a minute, far beyond the two seconds it is to take."""
    command = [sys.executable, "-m", "edgewright.cli.main", "run", *arguments, "--json"]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60, check=False)


def test_a_pipe_that_nobody_reads_does_not_hold_the_camera_up(detector: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    camera = f"rtsp://127.0.0.1:{free_port()}/x"
    try:
        done = run_beside(writing, [str(detector), "--source", camera, "--duration", "2"])
    finally:
        os.close(writing)
        os.close(reading)
    assert done.returncode == 0
    assert json.loads(done.stdout)["results"]["source_down"] >= 1


def test_a_reader_of_the_progress_that_goes_away_changes_nothing(detector: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    camera = f"rtsp://127.0.0.1:{free_port()}/x"
    try:
        done = run_beside(writing, [str(detector), "--source", camera, "--duration", "2"])
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert json.loads(done.stdout)["results"]["source_down"] >= 1


def test_aside_drops_what_cannot_be_written() -> None:
    with Aside(None) as nowhere:
        nowhere.write("lost")
        assert not nowhere.isatty()
    stream = Terminal()
    with Aside(stream) as aside:
        assert aside.isatty()
        assert aside.write("one\n") == 4
        aside.write("two\n")
        aside.flush()
    assert stream.getvalue() == "one\ntwo\n"
    stream.close()
    with Aside(stream) as closed:
        closed.write("lost")


@pytest.mark.parametrize("text", ["0", "-1", str(MOST_THREADS + 1), "two", "1.5", "9" * 5000, "²", ""])
def test_threads_that_cannot_be_meant_are_refused(
    text: str, detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", str(detector), "--source", "0", f"--threads={text}"])
    assert caught.value.code == 2
    assert re.search(r"is no number of threads; give 1 to \d+", capsys.readouterr().err)


def test_threads_up_to_four_for_each_core() -> None:
    assert [threads_argument(text) for text in ("1", str(MOST_THREADS))] == [1, MOST_THREADS]


def test_an_unreachable_broker_is_told_in_the_summary_and_is_no_failure(
    clip: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = f"mqtt://127.0.0.1:{free_port()}"
    arguments = ["--broker", broker, "--device", "d1", "--outbox", str(tmp_path / "o.sqlite"), "--drain", "0"]
    files = ["--annotate", str(tmp_path / "seen.mp4"), "--events", str(tmp_path / "e.jsonl")]
    assert main(["run", str(detector), "--source", str(clip), *arguments, *files]) == 0
    shown = capsys.readouterr().out
    assert "2 emitted, 0 in the cloud's database: not all acknowledged yet" in shown
    assert f"annotated {tmp_path / 'seen.mp4'}" in shown
    assert f"events in {tmp_path / 'e.jsonl'}" in shown
