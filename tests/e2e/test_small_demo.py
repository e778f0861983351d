"""The demo where the street clip could not be had."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


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
