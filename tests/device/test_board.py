"""What the profile of a board means for a run: threads, pipelines, temperature."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from edgewright.cli.main import main
from edgewright.device.app import run_camera
from edgewright.device.board import engine_threads, named_profile, profile_here
from edgewright.device.camera_probe import probe_camera
from edgewright.device.config import load_config
from edgewright.device.heat import HeatReport, HeatState
from edgewright.runtime.probing.errors import ProbeError
from edgewright.runtime.session import open_session

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.runtime.session import Session

BOARD = """extends = "x86-64"
threads = { value = 2, origin = "assumed", source = "a test" }
warn_celsius = { value = 75, origin = "assumed", source = "a test" }
[gstreamer.csi]
value = "videotestsrc is-live=true ! video/x-raw,width={width},height={height},framerate={fps}/1 ! videoconvert ! appsink"
origin = "assumed"
source = "test pictures"
"""
CAMERA = "csi:0?width=96&height=64&fps=60"


@pytest.fixture
def board(tmp_path: Path) -> Path:
    path = tmp_path / "test-board.toml"
    path.write_text(BOARD)
    return path


def threads(**model: Any) -> int:
    settings = load_config(None, {"model": model}).model
    return engine_threads(settings.threads, named_profile(settings))


def test_threads_are_as_said_else_as_the_profile_says_else_one(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert threads() == 1
    assert threads(profile="generic-x86-vnni") == 1
    assert threads(profile=str(board)) == 2
    assert threads(profile=str(board), threads=1) == 1
    assert threads(profile="jetson-agx-orin") == 4  # it says eight


def test_the_engine_gets_the_threads_of_the_profile(
    clip: Path, detector: Path, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def opening(bundle: Any, variant: str, threads: int, **more: Any) -> Session:
        given.append(threads)
        return open_session(bundle, variant, threads, **more)

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr("edgewright.device.app.open_session", opening)
    source = {"uri": str(clip), "max_frames": 1}
    for model in ({}, {"profile": str(board)}, {"profile": str(board), "threads": 1}):
        run_camera(load_config(None, {"source": source, "model": {"bundle": str(detector), **model}}))
    assert given == [1, 2, 1]


def test_the_nearest_profile_stands_in_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    here = profile_here(None)
    assert here is not None
    assert here.name in {"x86-64", "generic-x86-avx2", "generic-x86-vnni", "generic-arm64", "armv8.2-dotprod"}

    def none_near(facts: object) -> str:
        del facts
        raise ProbeError("no")

    monkeypatch.setattr("edgewright.device.board.nearest_profile", none_near)
    assert profile_here(None) is None


def test_a_camera_of_the_board_is_run_like_any_other(
    detector: Path, board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--source", CAMERA, "--profile", str(board), "--max-frames", "5", "--json"]
    events = ["--events", str(tmp_path / "e.jsonl"), "--annotate", str(tmp_path / "seen.avi")]
    assert main(["run", str(detector), *arguments, *events]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["camera"], said["live"], said["frames_processed"], said["results"]) == ("csi:0", True, 5, {"ok": 5})
    assert json.loads((tmp_path / "e.jsonl").read_text().splitlines()[-1])["camera"] == "csi:0"


def test_a_camera_of_another_board_is_one_line_and_code_2(detector: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--source", "csi:0"], ["--source", "csi://0", "--profile", "x86-64"]):
        assert main(["run", str(detector), *arguments]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "csi:0: " in line
        assert "--profile" in line
        assert "raspberry-pi-5" in line


def test_doctor_opens_it_by_the_same_pipeline(board: Path) -> None:
    facts = probe_camera(CAMERA, 20.0, 0.5, str(board))
    assert (facts.problem, facts.width, facts.height, facts.live) == ("", 96, 64, True)
    assert facts.fps is not None
    assert "no camera pipeline for csi" in probe_camera(CAMERA, 20.0).problem
    assert "no device profile" in probe_camera(CAMERA, 20.0, profile="nowhere").problem


def test_the_summary_tells_how_hot_it_was(
    clip: Path, detector: Path, board: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(detector), "--source", str(clip), "--profile", str(board)]
    monkeypatch.setattr("edgewright.device.heat.board_celsius", lambda: 81.0)
    assert main([*arguments, "--json"]) == 0
    heat = {"state": "hot", "celsius": 81.0, "highest_celsius": 81.0, "worst": "hot"}
    caught = capsys.readouterr()
    assert json.loads(caught.out)["heat"] == heat
    assert caught.err.count("the board has 81 °C, its limit is 75 °C") == 1
    assert main(arguments) == 0
    assert "board     81 °C, hot; at most 81 °C" in capsys.readouterr().out
    monkeypatch.setattr("edgewright.device.heat.board_celsius", lambda: None)
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["heat"] is None


def test_a_report_in_words() -> None:
    assert str(HeatReport(HeatState.OK, 50.6, 81.0, HeatState.THROTTLING)) == "51 °C"
    assert str(HeatReport(HeatState.THROTTLING, 81.0, 81.0, HeatState.THROTTLING)) == "81 °C, throttling"
