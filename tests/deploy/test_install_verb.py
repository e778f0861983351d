"""`edgewright install --root`, with a real bundle, a real verification, and this environment as the release."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from bundles import detector_parts, write_detector
from wheels import toy_wheel

from edgewright.bundle.golden import read_golden, write_golden
from edgewright.bundle.writer import write_bundle
from edgewright.cli.main import main
from edgewright.deploy.board import Board
from edgewright.deploy.layout import Layout
from edgewright.deploy.local import LocalHost
from edgewright.deploy.steps.folders import FoldersStep
from edgewright.deploy.steps.release import Release, ReleaseStep

if TYPE_CHECKING:
    from collections.abc import Callable

PROFILE = "x86-64" if platform.machine() == "x86_64" else "generic-arm64"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def install(root: Path) -> Callable[..., int]:
    def run(bundle: Path, *more: str) -> int:
        words = ["install", str(bundle), "--profile", PROFILE, "--root", str(root), "--python-env", sys.prefix]
        return main([*words, *more])

    return run


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def off_by(target: Path, difference: float) -> Path:
    """A detector whose golden answers say something else than it computes."""
    manifest, payload = detector_parts()
    golden = read_golden(payload["golden.npz"])
    answers = [
        {name: value + (difference if name == "scores" else 0) for name, value in answer.items()}
        for answer in golden.outputs["float32-onnx"]
    ]
    changed = {"float32-onnx": [{k: v.astype("float32") for k, v in answer.items()} for answer in answers]}
    payload["golden.npz"] = write_golden(list(golden.frames), changed)
    write_bundle(target, replace(manifest, version="2.0.0"), payload)
    return target


def test_installs_refuses_what_this_machine_computes_otherwise_and_takes_all_away(
    root: Path, tmp_path: Path, install: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_detector(tmp_path / "d.edge")
    assert install(bundle, "--source", "rtsp://u:hunter2@cam/1", "--dry-run") == 0
    assert "would change the board; nothing was done" in capsys.readouterr().out
    assert list(root.iterdir()) == []
    assert install(bundle, "--source", "rtsp://u:hunter2@cam/1") == 0
    said = capsys.readouterr().out
    assert "proof: float32-onnx on onnxruntime" in said
    assert "hunter2" not in said
    before = tree(root)
    assert (
        before["etc/systemd/system/multi-user.target.wants/edgewright.service"]
        == b"/etc/systemd/system/edgewright.service"
    )
    assert main(["verify", str(root / "var/lib/edgewright/bundles/active")]) == 0

    assert install(bundle, "--source", "1", "--json") == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["changed"] is False
    assert "/etc/edgewright/device.toml was kept, so --source had no effect (--source: line 5" in again["warnings"][0]
    assert again["now"]["variant"].startswith("float32-onnx on onnxruntime ")
    assert {row["state"] for row in again["steps"]} == {"unchanged"}
    assert tree(root) == before

    assert install(off_by(tmp_path / "off.edge", 0.5)) == 3
    said = capsys.readouterr().err
    assert "output 'scores' of variant float32-onnx is off by 0.5 on the board, 0.0001 is allowed" in said
    assert tree(root) == before

    assert main(["install", "--uninstall", "--purge", "--root", str(root)]) == 0
    assert tree(root) == {}
    assert main(["install", "--uninstall", "--purge", "--root", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["changed"] is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["install", "--root", "."], "nothing says which bundle; write edgewright install BUNDLE --profile NAME"),
        (["install", "d.edge", "--uninstall"], "--uninstall takes no bundle"),
        (["install", "d.edge", "--profile", PROFILE, "--purge"], "--purge goes with --uninstall"),
        (["install", "--uninstall", "--root", "nowhere"], "there is no folder nowhere"),
        (["install", "none.edge", "--profile", PROFILE, "--root", "."], "none.edge"),
        (["install", "d.edge", "--profile", "no-board", "--root", "."], "no-board"),
        (["install", "d.edge", "--profile", PROFILE, "--root", ".", "--wheelhouse", "none"], "none"),
        (["install", "d.edge", "--profile", PROFILE, "--root", ".", "--config", "bad.toml"], "must say bundle ="),
        (["deploy", "a b", "d.edge", "--profile", PROFILE], "is no board"),
        (["deploy", "pi@x", "d.edge", "--profile", PROFILE, "--port", "0"], "port 0"),
    ],
)
def test_bad_usage_is_told(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_detector(tmp_path / "d.edge")
    (tmp_path / "bad.toml").write_text('[model]\nbundle = "other.edge"\n')
    before = sorted(tmp_path.rglob("*"))
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_release_is_made_from_wheels_without_a_network_and_bears_its_final_place(root: Path, tmp_path: Path) -> None:
    board = Board(LocalHost(escalate=False), Layout(PurePosixPath(root)), system=False)
    FoldersStep(board).apply()
    release = Release("9.9-abc", sys.executable, (toy_wheel(tmp_path),), ("edgewright==9.9",))
    step = ReleaseStep(board, release)
    assert not step.check().done
    assert step.apply() == "9.9-abc"
    made = root / "opt/edgewright/releases/9.9-abc"
    script = (made / "bin/edgewright").read_text()
    # pip writes two lines where the path it was installed to is too long for one.
    assert "/opt/edgewright/releases/9.9-abc/bin/python" in "".join(script.splitlines()[:2])
    assert not [path for path in (made / "bin").iterdir() if path.is_file() and b".part" in path.read_bytes()]
    assert list(made.rglob("main.*.pyc"))
    assert ReleaseStep(board, release).check().done
    assert not list((root / "opt/edgewright/incoming").iterdir())
    (made / "release.json").unlink()  # as if the power had gone before it was whole
    assert not ReleaseStep(board, release).check().done
    step.undo()
    assert not list((root / "opt/edgewright/releases").iterdir())
