"""Parts the example tests share: the repository's root on the path, and the real samples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # the examples are named from the root, as on the command line


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real models and pictures; absent ones are a failure, never a skip."""
    command = [sys.executable, str(ROOT / "scripts/samples"), "--offline", "--json", "person", "classifier", "face"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    if answer["missing"]:
        pytest.fail(f"run `scripts/samples person classifier face` first; missing: {', '.join(answer['missing'])}")
    return Path(answer["cache"])
