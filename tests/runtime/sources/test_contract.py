"""What every source promises, the shipped stand-in included."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edgewright.device_profiles.profile import parse_profile
from edgewright.runtime.sources import (
    EndOfSource,
    FrameSource,
    ImageFolderSource,
    LiveSource,
    SourceDown,
    SourceOptions,
    VideoFileSource,
    open_source,
    parse_source,
)
from edgewright.runtime.testing import ListSource
from edgewright.runtime.types import Frame, TimeQuality

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

COUNT = 6
BOARD = """extends = "x86-64"
[gstreamer.csi]
value = "videotestsrc is-live=true ! video/x-raw,width={width},height={height},framerate={fps}/1 ! videoconvert ! appsink"
origin = "assumed"
source = "test pictures"
"""
PATIENCE_S = 10.0


class Ticking:
    """A camera with a frame every 20 ms, six of them."""

    def __init__(self) -> None:
        self.left = COUNT
        self.over = threading.Event()

    fps = 50.0

    def grab(self) -> bool:
        self.left -= 1
        return not self.over.wait(0.02 if self.left >= 0 else PATIENCE_S)

    def retrieve(self) -> NDArray[np.uint8] | None:
        return np.zeros((12, 16, 3), np.uint8)

    def stamp(self, arrived_at: float) -> tuple[float, TimeQuality]:
        return arrived_at, TimeQuality.ARRIVAL

    def interrupt(self) -> None:
        self.over.set()

    def close(self) -> None:
        self.over.set()


def make(kind: str, folder: Path) -> FrameSource:
    options = SourceOptions(name="cam")
    if kind == "list":
        return ListSource.blank(COUNT)
    if kind == "pipeline":
        return open_source(parse_source("csi:0?width=32&height=24&fps=50"), options, profile=parse_profile(BOARD, "b"))
    if kind == "live":
        return LiveSource(Ticking, options)
    for index in range(COUNT):
        cv2.imwrite(str(folder / f"{index}.png"), np.zeros((12, 16, 3), np.uint8))
    if kind == "folder":
        return ImageFolderSource(folder, options)
    path = folder / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (16, 12))
    for _ in range(COUNT):
        writer.write(np.zeros((12, 16, 3), np.uint8))
    writer.release()
    return VideoFileSource(path, options)


@pytest.mark.parametrize("kind", ["video", "folder", "live", "pipeline", "list"])
def test_the_promises_of_a_source(kind: str, tmp_path: Path) -> None:
    source = make(kind, tmp_path)
    frames: list[Frame] = []
    deadline = time.monotonic() + PATIENCE_S
    item = None
    while len(frames) < COUNT - 2 and not isinstance(item, EndOfSource) and time.monotonic() < deadline:
        item = source.take(0.5)
        if isinstance(item, Frame):
            frames.append(item)
    assert len(frames) >= 2
    assert all(frame.image.dtype == np.uint8 and frame.image.ndim == 3 for frame in frames)
    assert {frame.camera for frame in frames} == {source.name} == {"list" if kind == "list" else "cam"}
    for earlier, later in pairwise(frames):
        assert earlier.index < later.index
        assert earlier.media_time < later.media_time
        assert earlier.captured_at <= later.captured_at
    assert source.seen >= len(frames) + sum(source.drops.values())
    assert (source.total is None) == source.live
    source.close()
    source.close()
    assert isinstance(source.take(0.01), EndOfSource)


def test_a_usb_camera_that_is_not_there_is_down_with_a_reason() -> None:
    source = open_source(parse_source("63"))
    deadline = time.monotonic() + PATIENCE_S
    item = None
    while not isinstance(item, SourceDown) and time.monotonic() < deadline:
        item = source.take(0.2)
    assert isinstance(item, SourceDown)
    assert "there is no /dev/video63" in item.reason
    source.close()
