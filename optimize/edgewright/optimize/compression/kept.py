"""Where checkpoints lie when nobody names a place, and how that place stays bounded."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from edgewright.optimize.steps import default_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_BYTES", "default_checkpoints", "trim"]

MAX_BYTES = 4 << 30
"""Of all trainings in the default place together."""


def default_checkpoints() -> Path:
    """Beside the folder of finished steps."""
    steps = default_folder()
    return steps.with_name(f"{steps.name}-training")


def trim(folder: Path, max_bytes: int = MAX_BYTES) -> None:
    """Removes the trainings that were not used for longest, until the rest is small enough.

    Args:
        folder: With a folder for each training.
        max_bytes: Of what may stay.
    """
    with contextlib.suppress(OSError):
        trainings = sorted((path for path in folder.iterdir() if path.is_dir()), key=_last_used, reverse=True)
        held = 0
        for number, training in enumerate(trainings):
            held += sum(file.stat().st_size for file in training.rglob("*") if file.is_file())
            if number and held > max_bytes:
                shutil.rmtree(training, ignore_errors=True)


def _last_used(training: Path) -> float:
    return max((path.stat().st_mtime for path in training.rglob("*")), default=training.stat().st_mtime)
