"""Fails when the version in pyproject.toml has no section in CHANGELOG.md."""

from __future__ import annotations

import sys
from pathlib import Path

import tomllib

root = Path(__file__).parent.parent
version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
if f"## [{version}]" not in (root / "CHANGELOG.md").read_text(encoding="utf-8"):
    sys.exit(f"CHANGELOG.md has no section '## [{version}]', the version that pyproject.toml names")
