"""`edgewright run` takes what was picked for the machine, says why, and obeys flags and profiles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tflite_models import both_formats_parts

from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.cli.main import main
from edgewright.runtime.machine import describe_machine
from edgewright.runtime.picks import Pick, engines_of, store_pick

if TYPE_CHECKING:
    from pathlib import Path

ONNX, INT8 = "float32-onnx@onnxruntime-cpu", "int8-tflite@litert-xnnpack"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("both") / "both.edge"
    write_bundle(target, *both_formats_parts())
    return target


@pytest.fixture
def kept(both: Path, tmp_path: Path) -> Path:
    with open_bundle(both) as bundle:
        digest, name = bundle.digest, bundle.manifest.name
    times, machine = {ONNX: 8.4, INT8: 7.1}, str(describe_machine())
    reason, made = f"7.1 ms vs 8.4 ms of {ONNX}", "2026-11-23T12:00:00+00:00"
    pick = Pick(digest, name, machine, 1, INT8, times, engines_of([ONNX, INT8]), made, reason)
    store_pick(tmp_path / "picks.json", pick)
    return tmp_path / "picks.json"


def run(both: Path, clip: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[dict[str, str], str]:
    assert main(["run", str(both), "--source", str(clip), "--max-frames", "3", "--json", *more]) == 0
    caught = capsys.readouterr()
    said = json.loads(caught.out)
    return {"variant": said["bundle"]["variant"], "chosen": said["chosen"], "engine": said["engine"]}, caught.err


def test_the_pick_is_used_and_told(both: Path, clip: Path, kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said, _ = run(both, clip, capsys, "--picks", str(kept))
    assert said["variant"] == "int8-tflite"
    assert said["engine"].startswith("LiteRT ")
    assert said["chosen"] == f"picked on 2026-11-23: 7.1 ms vs 8.4 ms of {ONNX}"
    assert main(["run", str(both), "--source", str(clip), "--max-frames", "3", "--picks", str(kept)]) == 0
    assert f"picked on 2026-11-23: 7.1 ms vs 8.4 ms of {ONNX}" in capsys.readouterr().out


def test_a_variant_that_is_asked_for_goes_before_the_pick(
    both: Path, clip: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, _ = run(both, clip, capsys, "--picks", str(kept), "--variant", "float32-onnx")
    assert (said["variant"], said["chosen"]) == ("float32-onnx", "as asked")


def test_a_pick_for_other_threads_is_a_warning(
    both: Path, clip: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, errors = run(both, clip, capsys, "--picks", str(kept), "--threads", "2")
    assert said["variant"] == "float32-onnx"
    assert "made for 1 thread(s), not for 2" in errors


def test_without_a_pick_the_first_variant_runs(both: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said, errors = run(both, clip, capsys)
    assert (said["variant"], said["chosen"]) == ("float32-onnx", "the bundle's first variant")
    assert errors == "" or "pick" not in errors


def test_a_profile_says_what_it_misses(both: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said, errors = run(both, clip, capsys, "--profile", "jetson-orin-nano")
    assert said["engine"].startswith("onnxruntime ")
    assert "onnxruntime-tensorrt is preferred and cannot run" in errors


def test_settings_of_the_file(both: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "device.toml"
    config.write_text(
        f'[source]\nuri = "{clip}"\nmax_frames = 2\n[model]\nbundle = "{both}"\nbackend = "litert-xnnpack"\n'
        f'profile = "x86-64"\nengine_cache = "{tmp_path}"\n'
    )
    assert main(["run", "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bundle"]["variant"] == "float32-tflite"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--backend", "onnx"], "no backend is called 'onnx'"),
        (["--backend", "onnxruntime-cuda"], "needs CUDAExecutionProvider"),
        (["--backend", "litert-xnnpack", "--variant", "float32-onnx"], "does not run onnx variants"),
        (["--profile", "toaster"], "no device profile 'toaster'"),
        (["--delegate", "/nowhere.so", "--backend", "litert-delegate"], "no delegate library /nowhere.so"),
        (["--delegate-option", "a=b"], "mean nothing without its library"),
    ],
)
def test_engines_that_are_not_there_are_code_2(
    both: Path, clip: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(both), "--source", str(clip), *arguments]) == 2
    assert says in capsys.readouterr().err
