"""What the end-to-end tests share: the demo, run once, and where the samples are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docs_commands import Place
from shared import exported
from shared import unmeasured as unmeasured_environment

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Demo:
    """A finished demo: its folder, its figures, what it printed."""

    out: Path
    figures: dict[str, Any]
    text: str


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """All tests that use it are in one file, so that one process runs it."""
    out = tmp_path_factory.mktemp("demo")
    # What the demo does does not depend on the effort; how long it takes does.
    command = [sys.executable, str(ROOT / "scripts/demo_steps.py"), "--out", str(out), "--effort", "fast"]
    environment = {**unmeasured_environment(), "EDGEWRIGHT_CACHE": str(tmp_path_factory.mktemp("demo-steps"))}
    # A session of its own, so that nothing it started outlives a test run that is cut short.
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        text, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, text
    return Demo(out, json.loads((out / "figures.json").read_text(encoding="utf-8")), text)


@pytest.fixture
def unmeasured() -> dict[str, str]:
    """An environment for children whose coverage nobody needs: measuring them takes a third of their time.

    What they run has tests of its own, in which it is measured.
    """
    return unmeasured_environment()


@pytest.fixture(scope="session")
def samples() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("EDGEWRIGHT_SAMPLES") or Path(cache) / "edgewright" / "samples")
    assert (folder / "vtest.avi").is_file(), f"no samples in {folder}: run scripts/samples person classifier face"
    return folder


@pytest.fixture(scope="module")
def place(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Where the commands of the pages run."""

    def network(name: str) -> Path:
        return exported(tmp_path_factory, samples, name)

    return Place(tmp_path_factory.mktemp("docs"), samples, network)
