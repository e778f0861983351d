"""The whole product on real input: the demo's own steps, and what they must leave behind."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest

if TYPE_CHECKING:
    from conftest import Demo

ROOT = Path(__file__).parents[2]

# The first test runs the whole demo in its fixture; the bound is there to end a hang.
pytestmark = pytest.mark.timeout(900)


def test_every_step_is_announced_and_the_table_printed(demo: Demo) -> None:
    figures, text = demo.figures, demo.text
    assert all(f"[{step}/7]" in text for step in range(3, 8))
    assert f"{figures['events_emitted']} emitted = {figures['events_in_database']} in the database" in text


def test_the_detector_is_the_real_one(demo: Demo) -> None:
    figures = demo.figures
    assert figures["verdict"] == "PASS"
    assert figures["ap50_float"] == pytest.approx(0.62, abs=0.01)
    assert figures["ap50_int8"] > 0.55
    assert figures["labelled_frames"] == 30
    assert figures["size_ratio"] >= 3.3
    assert figures["agreement_frames"] >= 150
    assert figures["boxes_kept"][0] > 0.9


def test_the_whole_clip_was_watched_and_annotated(demo: Demo) -> None:
    out, figures = demo.out, demo.figures
    assert figures["frames"] == 795
    assert 8 <= figures["tracks"] <= 60
    video = cv2.VideoCapture(str(out / "seen.mp4"))
    frames = 0
    while video.grab():
        frames += 1
    video.release()
    assert frames == 795


def test_every_event_is_a_row_in_the_database(demo: Demo) -> None:
    out, figures = demo.out, demo.figures
    assert figures["events_emitted"] == figures["events_in_database"] > 10
    database = sqlite3.connect(out / "fleet.db")
    rows = database.execute("SELECT COUNT(*), COUNT(DISTINCT seq), MIN(seq), MAX(seq) FROM events").fetchone()
    database.close()
    assert rows == (figures["events_emitted"], figures["events_emitted"], 1, figures["events_emitted"])


def test_the_report_opens_without_a_network(demo: Demo) -> None:
    page = (demo.out / "report/report.html").read_text(encoding="utf-8")
    assert 'src="http' not in page
    assert "url(http" not in page
    assert page.count('src="data:image/') >= 2


def test_without_the_street_clip_the_demo_uses_the_small_one(
    samples: Path, tmp_path: Path, unmeasured: dict[str, str]
) -> None:
    for name in ("frozen_inference_graph.pb", "carphone_pristine.mp4"):
        (tmp_path / name).symlink_to(samples / name)
    out = tmp_path / "out"
    command = [sys.executable, str(ROOT / "scripts/demo_steps.py"), "--out", str(out), "--effort", "fast"]
    environment = {**unmeasured, "EDGEWRIGHT_SAMPLES": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "using the small clip" in done.stdout
    figures = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    assert figures["frames"] == 120
    assert figures["events_emitted"] == figures["events_in_database"] > 0
