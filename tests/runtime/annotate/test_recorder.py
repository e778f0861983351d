"""Annotated videos and frames can be decoded, are whole or absent, and show what was seen."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import pytest

from edgewright.bundle.errors import OutputError
from edgewright.runtime import recorder as recorder_module
from edgewright.runtime.annotate import annotate, color_of
from edgewright.runtime.observe import Observation
from edgewright.runtime.recorder import FrameFolder, Recorder, VideoFile, open_writer
from edgewright.runtime.rules import Overlay
from edgewright.runtime.testing import detections
from edgewright.runtime.types import Classification, Frame, Result, ResultStatus, TimeQuality, Tracks

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = (160, 120)
BOX = (40.0, 50.0, 90.0, 110.0)


class Usage(NamedTuple):
    """A full disk."""

    total: int = 100
    used: int = 99
    free: int = 1


def observation(
    index: int = 0, *, status: ResultStatus = ResultStatus.OK, tracked: bool = True, size: tuple[int, int] = SIZE
) -> Observation:
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    seen = detections(BOX)
    tracks = Tracks(np.array([index + 1]), seen.boxes, seen.scores, seen.class_ids) if tracked else None
    frame = Frame(image, "cam", index, 0.0, index / 10, TimeQuality.FILE)
    result = Result("cam", index, 0.0, index / 10, TimeQuality.FILE, status, seen, tracks, error="why not")
    overlay = Overlay("door", np.array([[10.0, 10.0], [150.0, 10.0], [150.0, 110.0]]), "3")
    return Observation(result, frame, (overlay,))


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = []
    while True:
        ok, image = capture.read()
        if not ok:
            return frames
        frames.append(np.asarray(image, np.uint8))


@pytest.mark.parametrize("name", ["seen.mp4", "seen.avi", "gesehen ü 街.MP4"])
def test_every_frame_of_a_file_is_in_the_video(tmp_path: Path, name: str) -> None:
    target = tmp_path / "new" / name
    recorder = Recorder(open_writer(target, 10.0, live=False), ["person"], wait=True)
    for index in range(40):
        recorder.observe(observation(index))
    recorder.observe(Observation(observation().result))  # no picture: the source was down
    assert not target.exists()  # whole or not at all
    recorder.close()
    frames = frames_of(target)
    assert len(frames) == 40
    assert frames[0].shape == (SIZE[1], SIZE[0], 3)
    assert [path.name for path in target.parent.iterdir()] == [name]


def test_a_folder_gets_one_whole_picture_a_frame(tmp_path: Path) -> None:
    recorder = Recorder(open_writer(tmp_path / "frames", None, live=False), ["person"], wait=True)
    for index in (3, 5):
        recorder.observe(observation(index))
    recorder.close()
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == ["frame_000003.jpg", "frame_000005.jpg"]
    picture = cv2.imread(str(tmp_path / "frames" / names[0]))
    assert picture is not None
    assert picture.shape == (SIZE[1], SIZE[0], 3)


def test_nothing_is_left_after_an_error_and_the_old_video_stays(tmp_path: Path) -> None:
    target = tmp_path / "seen.mp4"
    target.write_bytes(b"the old one")
    recorder = Recorder(open_writer(target, 10.0, live=False), [], wait=True)
    recorder.observe(observation())
    recorder.close(keep=False)
    assert target.read_bytes() == b"the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["seen.mp4"]


def test_a_run_that_saw_nothing_leaves_no_empty_video(tmp_path: Path) -> None:
    recorder = Recorder(open_writer(tmp_path / "seen.mp4", 10.0, live=False), [], wait=True)
    recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_error_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(open_writer(tmp_path / "seen.mp4", 10.0, live=False), [], wait=True)
    monkeypatch.setattr(recorder_module.shutil, "disk_usage", lambda _: Usage())
    recorder.observe(observation())
    with pytest.raises(OutputError, match="make room"):
        recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_live_recorder_keeps_its_failure_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(open_writer(tmp_path / "seen.mp4", 10.0, live=True), [], wait=False)
    monkeypatch.setattr(recorder_module.shutil, "disk_usage", lambda _: Usage())
    for index in range(20):
        recorder.observe(observation(index))
    recorder.close()
    assert isinstance(recorder.error, OutputError)
    assert list(tmp_path.iterdir()) == []


def test_a_video_cut_short_by_the_disk_is_noticed(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "seen.avi", 10.0, paced=False)
    for index in range(5):
        video.write(np.zeros((64, 64, 3), np.uint8), index, index / 10)
    video._written += 3  # as if three more writes had gone nowhere, which the encoder does not tell
    with pytest.raises(OutputError, match="only 5 of 8 frames"):
        video.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_paced_video_keeps_the_scenes_time(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "live.avi", 10.0, paced=True)
    times = [0.0, 0.01, 0.02, 0.5, 1.0, 1.05, 2.0]
    for index, seconds in enumerate(times):
        video.write(np.full((64, 64, 3), 30 * index, np.uint8), index, 100.0 + seconds)
    video.finish()
    frames = frames_of(tmp_path / "live.avi")
    assert 20 <= len(frames) <= 21


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "seen.avi", 10.0, paced=False)
    for index, size in enumerate([(64, 48), (128, 96)]):
        video.write(np.zeros((size[1], size[0], 3), np.uint8), index, index / 10)
    video.finish()
    assert [frame.shape for frame in frames_of(tmp_path / "seen.avi")] == [(48, 64, 3)] * 2


def test_folders_with_something_in_them_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(OutputError, match="not empty"):
        open_writer(tmp_path, 10.0, live=False)
    (tmp_path / "x.mp4").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        open_writer(tmp_path / "x.mp4", 10.0, live=False)
    with pytest.raises(OutputError, match="cannot write"):
        open_writer(tmp_path / "holiday.jpg" / "frames", 10.0, live=False)
    assert (tmp_path / "holiday.jpg").read_bytes() == b"precious"


def test_an_unused_folder_goes_again(tmp_path: Path) -> None:
    FrameFolder(tmp_path / "frames").discard()
    assert not (tmp_path / "frames").exists()


def test_the_box_is_drawn_where_it_is_in_the_colour_of_its_id() -> None:
    seen = observation(4)
    assert seen.frame is not None
    picture = annotate(seen, ["person"])
    assert picture is not None
    assert picture[80, 40].tolist() == pytest.approx(list(color_of(5)), abs=60)
    assert picture[100, 65].tolist() == [90, 90, 90]
    assert (seen.frame.image == 90).all()  # the shared frame is untouched


def test_what_is_behind_a_caption_shows_through() -> None:
    seen = observation(4, size=(640, 480))
    assert seen.frame is not None
    stripes = np.where(np.arange(640) % 8 < 4, 40, 200)
    seen.frame.image[:] = stripes[None, :, None]
    picture = annotate(seen, ["person"])
    assert picture is not None
    patch = picture[int(BOX[1]) - 12 : int(BOX[1]) - 1].astype(int)
    columns = np.arange(int(BOX[0]), int(BOX[2]))
    dark, bright = (np.median(patch[:, columns[stripes[columns] == value]]) for value in (40, 200))
    assert bright > dark + 40
    assert patch[:, columns].max() > 200  # the letters


@pytest.mark.parametrize("status", list(ResultStatus))
def test_every_kind_of_result_can_be_drawn(status: ResultStatus) -> None:
    for tracked in (True, False):
        assert annotate(observation(status=status, tracked=tracked), []) is not None
    tiny = observation(size=(5, 3))
    assert annotate(tiny, ["日本語"]) is not None
    assert tiny.frame is not None
    answer = Classification(np.array([0, 7]), np.array([0.9, 0.1], np.float32))
    classified = Result("cam", 0, 0.0, 0.0, TimeQuality.FILE, status, answer)
    assert annotate(Observation(classified, tiny.frame), ["cat"]) is not None
    assert annotate(Observation(classified), ["cat"]) is None


def test_colours_of_neighbouring_ids_differ_and_stay() -> None:
    colors = [np.array(color_of(number), float) for number in range(1, 60)]
    assert all(np.abs(one - two).max() > 60 for one, two in pairwise(colors))
    assert color_of(7) == color_of(7)
    assert len({tuple(color) for color in colors}) == len(colors)
