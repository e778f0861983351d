"""The default place of checkpoints stays bounded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgewright.optimize.compression.kept import default_checkpoints, trim

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    for age, name in enumerate(("newest", "middle", "oldest")):
        (tmp_path / name / "step").mkdir(parents=True)
        (tmp_path / name / "step/arrays.npz").write_bytes(bytes(100))
        for path in (tmp_path / name / "step/arrays.npz", tmp_path / name / "step", tmp_path / name):
            os.utime(path, (1_000_000 - age, 1_000_000 - age))
    trim(tmp_path, 250)
    assert {path.name for path in tmp_path.iterdir()} == {"newest", "middle"}
    trim(tmp_path, 10)
    assert {path.name for path in tmp_path.iterdir()} == {"newest"}  # what this run wrote stays, however large
    trim(tmp_path / "missing")


def test_it_lies_beside_the_finished_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "steps"))
    assert default_checkpoints() == tmp_path / "steps-training"
