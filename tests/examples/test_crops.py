"""Several hundred pictures out of a few photographs, none of which serves two jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from examples.classifier.crops import crops_of, write_crops

if TYPE_CHECKING:
    from pathlib import Path


def photograph(path: Path, seed: int) -> Path:
    assert cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (80, 120, 3)).astype(np.uint8))
    return path


def test_no_photograph_serves_two_jobs(tmp_path: Path) -> None:
    photos = [photograph(tmp_path / f"photo-{name}.png", seed) for seed, name in enumerate("abcdefghij")]
    assert write_crops(photos, tmp_path / "crops") == {"agree": 72, "calibrate": 24, "select": 24}
    jobs = [
        {file.name[:7] for file in (tmp_path / "crops" / job).iterdir()} for job in ("calibrate", "select", "agree")
    ]
    assert [len(job) for job in jobs] == [2, 2, 6]
    assert len(set.union(*jobs)) == 10


def test_crops_differ_and_are_small() -> None:
    parts = [part for _, part in crops_of(np.random.default_rng(0).integers(0, 255, (900, 1200, 3)).astype(np.uint8))]
    assert len({part.tobytes() for part in parts}) == len(parts) == 12
    assert max(max(part.shape) for part in parts) == 640


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match=r"notes\.txt is not a picture"):
        write_crops([tmp_path / "notes.txt"], tmp_path / "crops")
