"""Pictures made from the samples, the same ones every time: crops of photographs, and Fashion-MNIST as files."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["CROPS_PER_PHOTO", "crop_folders", "fashion_folders"]

CROPS_PER_PHOTO = 12  # six windows, each as it is and mirrored
_DONE = "complete"
_CALIBRATE, _SELECT = 256, 1000


def crop_folders(photos: Sequence[Path], work: Path) -> dict[str, str]:
    """Writes the crops of photographs, three disjoint sets of photographs.

    Args:
        photos: In a fixed order; of nine, three calibrate, two select and four are reported on.
        work: Folder to fill; a complete one is left alone.

    Returns:
        Folders by role: ``calibrate``, ``select``, ``report``.
    """
    crops = importlib.import_module("examples.classifier.crops")
    folders = {role: work / role for role in ("calibrate", "select", "report")}
    if not (work / _DONE).exists():
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        for number, photo in enumerate(photos):
            role = "calibrate" if number % 3 == 0 else "select" if number % 9 in (1, 5) else "report"
            for name, part in crops.crops_of(np.asarray(cv2.imread(str(photo)), np.uint8)):
                cv2.imwrite(str(folders[role] / f"{photo.stem}-{name}.png"), part)
        (work / _DONE).touch()
    return {role: str(folder) for role, folder in folders.items()}


def fashion_folders(data: Path, work: Path) -> dict[str, str]:
    """Fashion-MNIST as files: 256 training pictures to calibrate, 1000 others to select, all 10,000 test ones.

    Args:
        data: The four files of the data set.
        work: Folder to fill; a complete one is left alone.

    Returns:
        Folders by role, and the label file of the test pictures under ``labels``.
    """
    fashion = importlib.import_module("examples.fashion.data")
    folders = {role: work / role for role in ("calibrate", "select", "report")}
    if not (work / _DONE).exists():
        train, test = fashion.load_split(data, "train"), fashion.load_split(data, "t10k")
        fashion.write_pictures(folders["calibrate"], train.images[:_CALIBRATE], train.labels[:_CALIBRATE])
        chosen = slice(_CALIBRATE, _CALIBRATE + _SELECT)
        fashion.write_pictures(folders["select"], train.images[chosen], train.labels[chosen])
        fashion.write_pictures(folders["report"], test.images, test.labels)
        (work / _DONE).touch()
    labels = fashion.label_file(folders["report"])
    return {role: str(folder) for role, folder in folders.items()} | {"labels": str(labels)}
