"""The arrows hold, and the tool that says so would notice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOTS = ("optimize", "runtime", "sync", "device_profiles")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports_command as run; run()"
    path = ":".join(str(folder / root) for root in ROOTS)
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path.split(':')!r}; {code}", "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_planted_upward_import_is_reported(tmp_path: Path) -> None:
    for root in ROOTS:
        shutil.copytree(ROOT / root, tmp_path / root, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    clean = lint(tmp_path)
    assert clean.returncode == 0, clean.stdout
    planted = tmp_path / "runtime/edgewright/runtime/planted.py"
    planted.write_text("import torch\nimport edgewright.sync\n", encoding="utf-8")
    bad = lint(tmp_path)
    assert bad.returncode == 1
    assert "edgewright.runtime.planted -> torch" in bad.stdout
    assert "edgewright.runtime.planted -> edgewright.sync" in bad.stdout
