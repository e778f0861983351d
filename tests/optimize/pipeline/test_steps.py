"""Steps are done once: a second run takes them from the cache, a killed one goes on, and the file is the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import pytest
from chain_models import classes_command

from edgewright.bundle.reader import open_bundle
from edgewright.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

PASSES = ("--passes", "mean-minmax,round-depthwise,round-second-moment,correct-bias", "--ship", "int8")


def digest(bundle: Path) -> str:
    with open_bundle(bundle) as opened:
        return opened.manifest.variants[0].sha256


def told(capsys: pytest.CaptureFixture[str], words: list[str]) -> dict[str, Any]:
    assert main([*words, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.fixture(scope="module")
def first(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """SHA-256 of the INT8 file that an undisturbed run without a cache gives."""
    output = tmp_path_factory.mktemp("first") / "a.edge"
    assert main(classes_command(classes, output, *PASSES, "--no-cache", "--json")) == 0
    return digest(output)


def test_a_second_run_computes_nothing_and_gives_the_same(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], first: str
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "steps"))
    words = classes_command(classes, tmp_path / "a.edge", *PASSES, "--explain")
    before = told(capsys, words)["steps"]
    assert "calibrate: first run" in before
    assert digest(tmp_path / "a.edge") == first
    steps = told(capsys, words)["steps"]
    assert {line.partition(":")[0] for line in steps} >= {"calibrate", "losses", "round-depthwise", "correct-bias"}
    assert {line.partition(": ")[2] for line in steps} == {"from the cache"}
    assert digest(tmp_path / "a.edge") == first
    other = told(capsys, [*words, "--calibrate-limit", "9"])["steps"]
    assert any(line.startswith("calibrate: re-ran because its input `pictures` changed") for line in other)


def test_a_run_that_was_killed_goes_on_where_it_was(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], first: str
) -> None:
    steps = tmp_path / "steps"
    words = classes_command(classes, tmp_path / "a.edge", *PASSES)
    command = [sys.executable, "-m", "edgewright.cli.main", *words]
    with subprocess.Popen(
        command,
        env={**os.environ, "EDGEWRIGHT_CACHE": str(steps)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        while child.poll() is None and not list((steps / "entries").glob("round-depthwise/[0-9a-f]*")):
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
    assert not (tmp_path / "a.edge").exists()
    assert not (tmp_path / "a-report").exists()
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(steps))
    lines = told(capsys, [*words, "--explain"])["steps"]
    assert lines[0] == "calibrate: from the cache"
    assert "round-depthwise: from the cache" in lines
    assert digest(tmp_path / "a.edge") == first


def test_without_a_cache_nothing_is_left_behind_and_nothing_runs_twice(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], first: str
) -> None:
    steps, scratch = tmp_path / "steps", tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(steps))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    lines = told(capsys, classes_command(classes, tmp_path / "a.edge", *PASSES, "--no-cache", "--explain"))["steps"]
    assert not steps.exists()
    assert not list(scratch.iterdir())
    assert digest(tmp_path / "a.edge") == first
    computed = [line.partition(":")[0] for line in lines if not line.endswith("from the cache")]
    for name in ("calibrate", "moments", "round-depthwise", "round-second-moment", "correct-bias"):
        assert computed.count(name) == 1, name
    assert any(line == "losses: from the cache" for line in lines), "the chosen form was measured within the chain"


def test_a_cache_folder_that_cannot_be_written_costs_one_note(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], first: str
) -> None:
    (tmp_path / "steps").write_text("a file in its place")
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "steps"))
    assert main(classes_command(classes, tmp_path / "a.edge", *PASSES, "--explain")) == 0
    said = capsys.readouterr()
    assert said.err.count("this run goes on without it") == 1
    assert "calibrate: first run" in said.out.splitlines()
    assert digest(tmp_path / "a.edge") == first


def test_a_plan_says_what_would_run_and_writes_nothing(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "steps"))
    words = classes_command(classes, tmp_path / "a.edge", "--effort", "balanced")
    assert main([*words, "--plan", "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    plan = json.loads(said.out)
    assert not list(tmp_path.iterdir())
    assert 0 < plan["seconds"] < 600
    assert 10**6 < plan["memory_bytes"] < 10**10
    planned = {step["name"]: step for step in plan["steps"]}
    assert not any(step["cached"] for step in planned.values())
    steps = told(capsys, [*words, "--explain"])["steps"]
    ran = {line.partition(":")[0] for line in steps}
    assert ran <= set(planned), "every cached step was announced"
    uncached = {"reference", "mend-heads", "sqnr", "forms", "boards", "judge", "time"}
    assert set(planned) - ran == uncached, "what was announced was done"
    assert main([*words, "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[0] == "calibrate"
    assert "cached" in lines[1]
    assert lines[-1].startswith("together about")
    known = {line.split()[0] for line in lines if "cached" in line}
    assert known >= {"calibrate", "moments", "fold-dead-channels"}


def planned_steps(capsys: pytest.CaptureFixture[str], words: list[str]) -> list[str]:
    assert main([*words, "--plan", "--json"]) == 0
    return [step["name"] for step in json.loads(capsys.readouterr().out)["steps"]]


def test_a_plan_follows_what_was_asked_for(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = classes_command(classes, tmp_path / "a.edge", "--no-cache")
    search = ["sqnr", "influence", "operators", "mixed-precision", "correct-bias"]
    usual = planned_steps(capsys, words)
    assert not set(search[1:-1]) & set(usual)
    promised = planned_steps(capsys, [*words, "--min-agreement", "90"])
    assert [name for name in promised if name in search] == ["correct-bias", *search]
    assert [name for name in promised if name not in search] == [name for name in usual if name not in search]
    assert "boards" not in planned_steps(capsys, [*words, "--effort", "fast"])
    board = planned_steps(capsys, [*words, "--effort", "fast", "--profile", "generic-x86-avx2"])
    assert {"target", "boards"} <= set(board)
    assert "target" not in planned_steps(capsys, [*words, "--profile", "generic-x86-vnni"])
    tuned = planned_steps(capsys, [*words, "--engine", "neural-compressor"])
    assert "tune" in tuned
    assert not {"torch-flow", "mend-heads", *search[1:-1]} & set(tuned)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--calibrate-limit", "0"], "--calibrate-limit is 0"),
        (["--calibrate-every", "-1"], "--calibrate-every is -1"),
        (["--seed", "-3"], "--seed is -3"),
        (["--profile", "toaster"], "toaster"),
        (["--select", "nowhere"], "nowhere"),
        (["--images", "soft"], "needs --labels"),
        (["--labels", "none.csv", "--images", "soft"], "none.csv"),
    ],
)
def test_what_cannot_be_is_refused_before_the_model_is_loaded(
    more: list[str],
    said: str,
    classes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(classes)
    for plan in ([], ["--plan"]):
        assert main([*classes_command(classes, tmp_path / "a.edge", *more), *plan]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert "load the model" not in told


def test_a_plan_refuses_an_output_that_cannot_be_written(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.edge").mkdir()
    assert main([*classes_command(classes, tmp_path / "a.edge"), "--plan"]) != 0
    assert "a directory of that name is there" in capsys.readouterr().err
