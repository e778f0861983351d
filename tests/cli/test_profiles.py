"""`edgewright profiles` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgewright.cli import profiles
from edgewright.cli.main import main
from edgewright.device_profiles.profile import list_profiles, load_profile

FEW = {"onnxruntime-cpu": {"int8_pointwise_gmacs": 12.0}}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels are timed by tests of their own."""
    from edgewright.runtime.probing import kernels

    monkeypatch.setattr(kernels, "probe_kernels", lambda _threads, _on_progress: FEW)


def test_every_profile_is_shown_with_origin_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles", "show", "raspberry-pi-5"]) == 0
    assert "(vendor)" in capsys.readouterr().out
    assert main(["profiles", "show", "raspberry-pi-5", "--sources"]) == 0
    assert "Raspberry Pi documentation, frequency management" in capsys.readouterr().out
    assert main(["profiles", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["profiles"]
    assert [row["name"] for row in rows] == list(list_profiles())
    for row in rows:
        fields = [field for key, field in row.items() if key not in {"name", "description", "lineage"}]
        assert all(set(field) == {"value", "origin", "source"} for field in fields)


def test_two_profiles_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles", "compare", "raspberry-pi-4", "raspberry-pi-5"]) == 0
    out = capsys.readouterr().out
    assert "instructions\n  raspberry-pi-4: asimd  (vendor)\n  raspberry-pi-5: asimd, asimddp  (vendor)" in out
    assert "architecture" not in out
    assert main(["profiles", "compare", "armv8-a", "raspberry-pi-5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["different"]["cores"][0] is None
    assert main(["profiles", "compare", "armv8-a", "armv8-a"]) == 0
    assert "say the same" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_a_probe_is_written_and_loaded_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["profiles", "probe", "-o", "gate-camera.toml", "--threads", "2"]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "memory: " in told.err
    assert "use it with --profile ./gate-camera.toml" in told.err
    profile = load_profile("./gate-camera.toml")
    assert profile.name == "gate-camera"
    assert profile.kernels["onnxruntime-cpu"]["int8_pointwise_gmacs"].value == 12.0
    assert main(["profiles", "show", "./gate-camera.toml"]) == 0
    assert "kernels.onnxruntime-cpu.int8_pointwise_gmacs" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["gate-camera.toml"]


@pytest.mark.usefixtures("quick")
def test_a_probe_without_a_file_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles", "probe", "--disk", str(tmp_path), "--name", "bench"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "a.toml").write_text(text)
    assert load_profile(str(tmp_path / "a.toml")).name == "bench"
    assert main(["profiles", "probe", "--disk", str(tmp_path), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["name"] == "this-machine"
    assert row["kernels.onnxruntime-cpu.int8_pointwise_gmacs"]["origin"] == "measured"


REFUSED = {
    ("-o", "raspberry-pi-5.toml"): "taken by a profile that ships",
    ("-o", "My Board.toml"): "no name of a device profile",
    ("-o", "board.json"): "a profile is a .toml file",
    ("-o", "folder.toml"): "is a folder",
    ("--name", "raspberry-pi-4"): "taken by",
    ("--disk", "gone"): "the disk cannot be probed in gone",
    ("-o", "/proc/x.toml"): "cannot write /proc/x.toml",
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("words", "said"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_cannot_be_done_is_said_before_anything_is_lost(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.toml").mkdir()
    assert main(["profiles", "probe", *words]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.toml"]


def test_a_wrong_file_ends_in_a_sentence_and_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("cores = 4\n")
    assert main(["profiles", "show", str(path)]) == 2
    assert "cores must be { value = ..., origin = one of" in capsys.readouterr().err
    path.write_text('"\\u001b[2J" = 4\n')
    assert main(["profiles", "show", str(path)]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_listing_boards_loads_no_engine() -> None:
    code = "import sys; from edgewright.cli.main import main; main(['profiles', 'list'])\n"
    code += "sys.exit(str({'numpy', 'cv2', 'onnxruntime'} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert profiles.EPILOG
