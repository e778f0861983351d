"""A tiny real bundle and something for it to look at: bright squares that walk over a dark picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from bundles import write_classifier, write_detector

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = 24


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_detector(tmp_path_factory.mktemp("bundle") / "tiny.edge")


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classifier(tmp_path_factory.mktemp("bundle") / "classes.edge")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames at 10 a second: nothing, then one bright square from the ninth frame on."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (96, 64))
    for index in range(FRAMES):
        image = np.full((64, 96, 3), 20, np.uint8)
        if index >= FRAMES // 3:
            image[16:32, 24:48] = 255
        writer.write(image)
    writer.release()
    return path
