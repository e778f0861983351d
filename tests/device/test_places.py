"""An output never destroys an input."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import picture, write_detector

from edgewright.cli.main import main


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (48, 32))
    for i in range(5):
        writer.write(picture(i))
    writer.release()
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_detector(tmp_path / "d")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_outputs_onto_inputs_are_refused_and_nothing_changes(
    tmp_path: Path, clip: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "gate.toml"
    config.write_text("[rules]\nmin_frames = 2\n", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "link.avi").symlink_to(clip)
    before = files(tmp_path)
    wrong = [
        (["--annotate", str(clip)], "would overwrite the source"),
        (["--annotate", str(tmp_path / "link.avi")], "would overwrite the source"),
        (["--events", str(bundle / "manifest.json")], "would overwrite the bundle"),
        (["--outbox", str(bundle), "--device", "x"], "would overwrite the bundle"),
        (["--config", str(config), "--events", str(config)], "would overwrite the configuration"),
        (["--events", str(tmp_path / "a"), "--outbox", str(tmp_path / "a")], "both name"),
        (["--events", str(tmp_path / "notes.txt")], "holds no JSON lines"),
        (["--annotate", str(tmp_path / "seen.gif")], "ends in .mp4 or .avi"),
    ]
    for words, message in wrong:
        assert main(["run", str(bundle), "--source", str(clip), *words]) == 2, words
        assert message in capsys.readouterr().err
    assert files(tmp_path) == before


def test_events_are_appended_to_json_lines(tmp_path: Path, clip: Path, bundle: Path) -> None:
    events = tmp_path / "events.jsonl"
    for _ in range(2):
        assert main(["run", str(bundle), "--source", str(clip), "--events", str(events)]) == 0
    kinds = [json.loads(line)["kind"] for line in events.read_text(encoding="utf-8").splitlines()]
    assert kinds.count("run_summary") == 2
    assert np.all([kind in {"run_summary", "zone_count"} for kind in kinds])
