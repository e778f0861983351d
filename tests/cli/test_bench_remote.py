"""`edgewright bench --remote`, on this machine as the board: what goes there, what comes back, and what goes wrong."""

from __future__ import annotations

import _thread
import argparse
import json
import os
import shlex
import sys
import threading
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import cv2
import pytest
from bundles import picture, write_detector
from tflite_models import both_formats_parts

from edgewright.bundle.errors import EdgewrightError
from edgewright.bundle.writer import write_bundle
from edgewright.cli import bench as verb
from edgewright.cli.bench_remote import measure_remote
from edgewright.cli.main import main
from edgewright.deploy.errors import DeployError, HostUnreachable
from edgewright.deploy.host import LARGEST_FILE
from edgewright.deploy.local import LocalHost
from edgewright.deploy.remote_bench import BoardBench, Pace
from edgewright.runtime.results.codec import read_result
from edgewright.runtime.results.schema import ResultError

if TYPE_CHECKING:
    from edgewright.deploy.host import Done

HERE = f"{sys.executable} -m edgewright.cli.main"
QUICK = Pace(ask_s=0.05, away_s=1.0, ending_s=30.0)


class Board(LocalHost):
    """This machine; what it left in its folder can be asked for, and its link can be broken."""

    def __init__(self) -> None:
        super().__init__()
        self.folders: list[Path] = []
        self.away = 0

    def run(self, argv: Any, **kwargs: Any) -> Done:
        if self.away:
            self.away -= 1
            raise HostUnreachable("no route to host")
        done = super().run(argv, **kwargs)
        if "mktemp" in argv[-1]:
            self.folders.append(Path(done.out.strip()))
        return done

    @property
    def clean(self) -> bool:
        return bool(self.folders) and not any(folder.exists() for folder in self.folders)


def arguments(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return parser.parse_args([str(word) for word in (*words, "--remote", "board", "--command", HERE)])


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_detector(tmp_path / "tiny.edge")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures, their bright cells labelled."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "bright"}]}
    for number in range(6):
        cv2.imwrite(str(folder / f"p{number}.png"), picture(number))
        rows["images"].append({"id": number, "file_name": f"p{number}.png", "width": 48, "height": 32})
        rows["annotations"].append({"id": number, "image_id": number, "category_id": 1, "bbox": [0, 0, 12, 8]})
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    return folder


@pytest.mark.parametrize("folder", [False, True])
def test_a_board_times_itself_and_nothing_stays_there(tmp_path: Path, folder: bool) -> None:
    bundle = write_detector(tmp_path / ("tiny" if folder else "tiny.edge"))
    board = Board()
    args = arguments(bundle, "--runs", 10, "--soak", 1, "--board", "gate 1", "-o", tmp_path / "r.json")
    assert measure_remote(args, board, QUICK) == 0
    seen, _ = read_result(tmp_path / "r.json")
    assert seen.board.name == "gate 1"
    assert seen.soak is not None
    assert not seen.accuracy
    assert board.clean


def test_a_profile_gives_the_threads_on_the_board(tmp_path: Path, tiny: Path) -> None:
    profile, cores = tmp_path / "board.toml", os.cpu_count() or 1
    value = f'{{ value = {cores}, origin = "assumed", source = "a test" }}'
    profile.write_text(f'extends = "x86-64"\nthreads = {value}\n')
    args = arguments(tiny, "--runs", 5, "--profile", profile, "-o", tmp_path / "r.json")

    class Far(Board):
        """A board that has no file of this workstation."""

        def send(self, *given: Any, **named: Any) -> None:
            profile.unlink(missing_ok=True)
            super().send(*given, **named)

    assert measure_remote(args, Far(), QUICK) == 0
    assert read_result(tmp_path / "r.json")[0].setting.threads == cores


def test_its_own_answers_are_judged_here(tmp_path: Path, tiny: Path, pictures: Path) -> None:
    args = arguments(
        tiny, "--runs", 5, "--images", pictures, "--labels", tmp_path / "labels.json", "-o", tmp_path / "r.json"
    )
    assert measure_remote(args, Board(), QUICK) == 0
    (said,) = read_result(tmp_path / "r.json")[0].accuracy
    assert (said.variant, said.metric, said.drop.value) == ("float32-onnx", "ap50", 0.0)
    assert said.drop.samples == 6
    assert said.reference == "float32-onnx on this workstation"


def test_without_labels_agreement_is_measured_of_every_variant(tmp_path: Path, pictures: Path) -> None:
    both = tmp_path / "both.edge"
    write_bundle(both, *both_formats_parts())
    args = arguments(both, "--runs", 5, "--images", pictures, "-o", tmp_path / "r.json")
    assert measure_remote(args, Board(), QUICK) == 0
    rows = {said.variant: said for said in read_result(tmp_path / "r.json")[0].accuracy}
    assert set(rows) == {"float32-onnx", "float32-tflite", "int8-tflite"}
    assert rows["int8-tflite"].reference == "float32-tflite on this workstation"
    assert rows["float32-onnx"].board.value == 1.0
    assert rows["float32-onnx"].reference_value is None


def test_ctrl_c_fetches_what_the_board_has(tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = Board()
    args = arguments(tiny, "--runs", 5, "--soak", 300, "-o", tmp_path / "r.json")

    def stop() -> None:
        """Once the long run is on its way."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if board.folders and _soaking(board.folders[0]):
                time.sleep(2.0)  # until it has run some frames
                break
            time.sleep(0.1)
        _thread.interrupt_main()

    threading.Thread(target=stop, daemon=True).start()
    assert measure_remote(args, board, QUICK) == 130
    seen, _ = read_result(tmp_path / "r.json")
    assert seen.soak is not None
    assert seen.soak.note == "interrupted"
    assert seen.soak.frames > 0
    assert board.clean


def _soaking(folder: Path) -> bool:
    """The timing's progress is told at once, the long run's after ten seconds: its process is the sign."""
    pid = folder / "pid"
    if not pid.exists() or not pid.read_text().strip():
        return False
    return any(b"edgewright-soak" in line for line in _below(pid.read_text().strip()))


def _below(pid: str) -> list[bytes]:
    """The command lines of all that a process started: the command itself may run below one that watches the clock."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [line for child in children for line in (Path(f"/proc/{child}/cmdline").read_bytes(), *_below(child))]
    except OSError:  # it ended meanwhile
        return []


def test_a_link_that_breaks_for_a_moment_changes_nothing(tmp_path: Path, tiny: Path) -> None:
    board = Board()
    bench = BoardBench(board, HERE, lambda _line: None, QUICK)
    with bench:
        remote = bench.send_bundle(tiny)
        threading.Timer(0.3, lambda: setattr(board, "away", 3)).start()
        assert bench.run(["bench", str(remote), "-o", str(bench.place("result.json")), "--runs", "20"], 60.0)
        bench.fetch("result.json", tmp_path / "r.json")
    assert read_result(tmp_path / "r.json")[0].variants


def test_a_board_that_stays_away_is_given_up(tiny: Path) -> None:
    board = Board()
    with BoardBench(board, HERE, lambda _line: None, QUICK) as bench:
        remote = bench.send_bundle(tiny)
        threading.Timer(0.3, lambda: setattr(board, "away", 10_000)).start()
        with pytest.raises(HostUnreachable):
            bench.run(["bench", str(remote), "--soak", "60"], 60.0)
    board.away = 0
    for folder in board.folders:
        board.run(["sh", "-c", 'kill -TERM "$(cat "$1/pid")"; rm -rf "$1"', "sh", str(folder)])


def test_a_board_that_restarts_is_noticed() -> None:
    board = Board()
    with BoardBench(board, HERE, lambda _line: None, QUICK) as bench:
        bench._command = ["sleep"]
        crash = ["sh", "-c", 'kill -KILL "$(cat "$1/pid")"; rm -rf "$1"', "sh", str(board.folders[0])]
        threading.Timer(0.5, lambda: board.run(crash)).start()
        with pytest.raises(DeployError, match="restarted"):
            bench.run(["30"], 60.0)


def test_a_command_that_fails_there_is_told_with_its_last_words(tmp_path: Path, tiny: Path) -> None:
    board = Board()
    bench = BoardBench(board, HERE, lambda _line: None, QUICK)
    with pytest.raises(DeployError, match=r"ended with 2.*--runs"), bench:
        bench.run(["bench", str(bench.send_bundle(tiny)), "--runs", "0"], 60.0)
    assert board.clean


def test_what_takes_too_long_is_ended() -> None:
    board = Board()
    bench = BoardBench(board, HERE, lambda _line: None, QUICK)
    with bench:
        bench._command = ["sleep"]
        with pytest.raises(DeployError, match="did not end within"):
            bench.run(["30"], 0.3)
    assert board.clean


@pytest.mark.parametrize("command", ["/nowhere/edgewright", "false", "echo"])
def test_a_board_without_edgewright_is_told_apart(tiny: Path, command: str) -> None:
    args = arguments(tiny, "--runs", 5)
    args.command = command
    with pytest.raises(DeployError, match=f"no edgewright that runs as {shlex.quote(command)}"):
        measure_remote(args, Board(), QUICK)


class Liar(Board):
    """A board that sends back something else."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content

    def fetch(self, remote: PurePosixPath, local: Path, *, largest: int = LARGEST_FILE) -> None:
        super().fetch(remote, local, largest=largest)
        local.write_bytes(self.content)


@pytest.mark.parametrize("content", [b"", b"[" * 50_000], ids=["nothing", "deep"])
def test_a_board_that_sends_nonsense_is_not_believed(tmp_path: Path, tiny: Path, content: bytes) -> None:
    board = Liar(content)
    with pytest.raises(EdgewrightError):
        measure_remote(arguments(tiny, "--runs", 5, "-o", tmp_path / "r.json"), board, QUICK)
    assert not (tmp_path / "r.json").exists()
    assert board.clean


def test_the_result_of_another_bundle_is_not_kept(tmp_path: Path, tiny: Path) -> None:
    other = write_detector(tmp_path / "other.edge", frames=3)
    assert main(["bench", str(other), "--runs", "5", "-o", str(tmp_path / "other.json")]) == 0
    board = Liar((tmp_path / "other.json").read_bytes())
    with pytest.raises(ResultError, match="another bundle"):
        measure_remote(arguments(tiny, "--runs", 5, "-o", tmp_path / "r.json"), board, QUICK)
    assert not (tmp_path / "r.json").exists()
