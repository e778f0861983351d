"""Pictures from folders and videos, and which of them serve what."""

from __future__ import annotations

import shutil
import struct
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from tiny_models import spot_frame, write_clip, write_labels, write_photos

from edgewright.bundle.manifest import Task
from edgewright.optimize.data.digest import DatasetDigest, frame_digest
from edgewright.optimize.data.plan import DataChoice, agreement_samples, calibration_samples, open_plan
from edgewright.optimize.data.samples import fetch, hold_out, open_samples
from edgewright.optimize.errors import DataError, LabelsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.avi", 24)


@pytest.mark.parametrize(
    ("slice_", "indices"),
    [
        ("", list(range(24))),
        ("#1::8", [1, 9, 17]),
        ("#20:", [20, 21, 22, 23]),
        ("#:3", [0, 1, 2]),
        ("#4:10:3", [4, 7]),
        ("#5", [5]),
        ("#22:100", [22, 23]),
    ],
)
def test_slices_of_a_video(clip: Path, slice_: str, indices: list[int]) -> None:
    source = open_samples(f"{clip}{slice_}")
    assert [sample.index for sample in source] == indices
    assert source.estimate() == len(indices)
    assert source.consecutive


def test_a_slice_gives_the_frames_it_names(clip: Path) -> None:
    whole = {sample.index: sample.image for sample in open_samples(str(clip))}
    for sample in open_samples(f"{clip}#3::5"):
        assert (sample.image == whole[sample.index]).all()
        assert np.abs(sample.image.astype(int) - spot_frame(sample.index)).mean() < 20


def test_every(clip: Path) -> None:
    assert [sample.index for sample in open_samples(str(clip), every=10)] == [0, 10, 20]


def test_a_folder_is_read_by_name_and_below(tmp_path: Path) -> None:
    write_photos(tmp_path / "b", 2)
    write_photos(tmp_path / "a", 1)
    (tmp_path / "notes.txt").write_text("no picture")
    source = open_samples(str(tmp_path))
    assert source.names == ("a/photo-000.png", "b/photo-000.png", "b/photo-001.png")
    assert [sample.name for sample in source] == list(source.names)
    assert not source.consecutive
    assert [sample.index for sample in open_samples(f"{tmp_path}#1:")] == [1, 2]


def test_a_name_with_a_hash_is_a_name(tmp_path: Path) -> None:
    assert len(list(open_samples(str(write_photos(tmp_path / "set#1", 2))))) == 2


def test_a_source_can_be_walked_again(clip: Path) -> None:
    source = open_samples(f"{clip}#::6")
    assert [frame_digest(s.image) for s in source] == [frame_digest(s.image) for s in source]


def test_fetch(clip: Path) -> None:
    found = fetch(open_samples(f"{clip}#::2"), {4, 10})
    assert sorted(found) == [4, 10]


def test_hold_out_shares_nothing(clip: Path) -> None:
    most, rest = hold_out(open_samples(str(clip)))
    first, second = ({sample.index for sample in part} for part in (most, rest))
    assert (len(first), len(second), first & second) == (16, 8, set())
    assert (most.estimate(), rest.estimate()) == (16, 8)


def broken_video(tmp_path: Path) -> str:
    path = tmp_path / "broken.avi"
    path.write_bytes(b"RIFF" + bytes(range(256)) * 40)
    return str(path)


def cut_video(tmp_path: Path) -> str:
    whole = write_clip(tmp_path / "whole.avi", 4).read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(whole[:300])
    return str(path)


def empty_folder(tmp_path: Path) -> str:
    (tmp_path / "empty").mkdir()
    return str(tmp_path / "empty")


def broken_picture(tmp_path: Path) -> str:
    folder = write_photos(tmp_path / "photos", 1)
    (folder / "zzz.jpg").write_bytes(b"not a picture")
    return str(folder)


def enormous_picture(tmp_path: Path) -> str:
    """A PNG of a few bytes whose header announces 60000 x 60000 pixels."""
    folder = write_photos(tmp_path / "photos", 1)
    body = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    (folder / "zzz.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    return str(folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(enormous_picture, "60000x60000 pixels", id="enormous picture"),
        pytest.param(empty_folder, "holds no pictures", id="empty folder"),
        pytest.param(broken_video, "neither a folder of pictures nor a video", id="video that does not decode"),
        pytest.param(cut_video, "neither a folder|no frame of it decodes", id="video cut in its header"),
        pytest.param(broken_picture, r"zzz\.jpg is not a picture", id="picture that does not decode"),
        pytest.param(lambda p: str(p / "nowhere"), "does not exist", id="nothing there"),
        pytest.param(
            lambda p: f"{write_clip(p / 'c.avi', 3)}#9:", "no pictures after slicing", id="slice past the end"
        ),
        pytest.param(lambda p: f"{write_clip(p / 'c.avi', 3)}#a:b", "not a slice", id="no slice"),
        pytest.param(lambda p: f"{write_clip(p / 'c.avi', 3)}#::0", "step of 0", id="step of nothing"),
    ],
)
def test_bad_sources_give_one_clear_error(tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(open_samples(make(tmp_path)))  # type: ignore[operator]


def test_slice_and_every_exclude_each_other(clip: Path) -> None:
    with pytest.raises(DataError, match="not both"):
        open_samples(f"{clip}#::2", every=3)


def test_digests_tell_pictures_and_order_apart() -> None:
    first, second = frame_digest(spot_frame(1)), frame_digest(spot_frame(2))
    assert first != second
    assert frame_digest(spot_frame(1).reshape(96, 64, 3)) != first
    digests = []
    for order in ([first, second], [second, first]):
        whole = DatasetDigest()
        for frame in order:
            whole.add(frame)
        digests.append(whole.hexdigest())
    assert digests[0] != digests[1]


def plan_of(choice: DataChoice) -> tuple[list[int], list[int], list[str]]:
    """Calibration frames, agreement frames, notes."""
    notes: list[str] = []
    plan = open_plan(choice, Task.DETECT, ("spot",))
    calibrated = list(calibration_samples(plan, notes.append))
    used = frozenset(digest for _, digest in calibrated)
    agreed = [sample.index for sample in agreement_samples(plan, used, notes.append)]
    return [sample.index for sample, _ in calibrated], agreed, [*plan.notes, *notes]


def test_labelled_frames_are_left_out_of_both(clip: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "labels.json", range(0, 24, 4))
    choice = DataChoice(f"{clip}#::2", labels=labels, images=str(clip), agree=f"{clip}#1::3")
    calibrated, agreed, notes = plan_of(choice)
    assert calibrated == [2, 6, 10, 14, 18, 22]
    assert agreed == [1, 7, 13, 19]
    assert sum("labelled ones" in note for note in notes) == 2
    assert any("calibration used them" in note for note in notes)


def test_the_same_pictures_for_both_are_refused(clip: Path) -> None:
    with pytest.raises(DataError, match=r"were used for calibration .*#3::4"):
        plan_of(DataChoice(f"{clip}#::2", agree=f"{clip}#::2"))


def test_copies_under_other_names_are_known(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "one", 4)
    shutil.copytree(photos, tmp_path / "two")
    with pytest.raises(DataError, match="4 of 4 agreement pictures"):
        plan_of(DataChoice(str(photos), agree=str(tmp_path / "two")))


def test_a_third_is_held_out_without_agreement_pictures(clip: Path) -> None:
    calibrated, agreed, notes = plan_of(DataChoice(f"{clip}#::2"))
    assert (len(calibrated), len(agreed)) == (8, 4)
    assert not set(calibrated) & set(agreed)
    assert any("held out" in note for note in notes)


def test_a_plain_video_is_thinned(clip: Path) -> None:
    calibrated, agreed, notes = plan_of(DataChoice(str(clip), agree=str(clip)))
    assert calibrated == [0, 10, 20]
    assert len(agreed) == 21
    assert any("every 10th frame" in note for note in notes)


def test_nothing_left_to_calibrate_on(clip: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "labels.json", range(0, 24, 4))
    with pytest.raises(DataError, match="are labelled pictures too"):
        plan_of(DataChoice(f"{clip}#::4", labels=labels, images=str(clip), agree=f"{clip}#1::4"))


def test_images_without_labels(clip: Path) -> None:
    with pytest.raises(LabelsError, match="needs --labels"):
        plan_of(DataChoice(f"{clip}#::4", images=str(clip)))


def test_grey_and_transparent_pictures_become_bgr(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "grey.png"), np.zeros((4, 6), np.uint8))
    assert cv2.imwrite(str(tmp_path / "alpha.png"), np.zeros((4, 6, 4), np.uint8))
    assert [sample.image.shape for sample in open_samples(str(tmp_path))] == [(4, 6, 3), (4, 6, 3)]


def test_a_video_tells_the_time_between_frames(clip: Path, tmp_path: Path) -> None:
    assert open_samples(f"{clip}#1::8").spacing_s == pytest.approx(0.1)
    slow = write_clip(tmp_path / "slow.avi", 4, rate=2)
    most, rest = hold_out(open_samples(str(slow)))
    assert most.spacing_s == rest.spacing_s == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("names", "film"),
    [
        (["frame_0001.png", "frame_0002.png", "frame_0003.png"], True),
        (["000025.jpg", "000050.jpg", "000075.jpg", "000125.jpg"], True),
        (["a/1.png", "a/2.png", "b/1.png", "b/2.png", "b/3.png"], True),
        (["000000000139.jpg", "000000000285.jpg", "000000000632.jpg", "000000000724.jpg"], False),
        (["cat.png", "dog.png", "eagle.png"], False),
        (["only1.png"], False),
    ],
)
def test_running_numbers_are_a_film(tmp_path: Path, names: list[str], film: bool) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / name), np.zeros((4, 4, 3), np.uint8))
    assert (open_samples(str(tmp_path)).spacing_s is not None) is film


def test_a_video_cut_short_is_told(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.avi", 40)
    cut = tmp_path / "cut.avi"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    source, part = open_samples(str(cut)), open_samples(f"{cut}#:5")
    found = len(list(source))
    assert 10 < found < 30
    assert source.notes == [f"cut.avi ends after frame {found - 1}, but its header announces 40 frames; it is cut"]
    assert len(list(part)) == 5
    assert part.notes == []
    intact = open_samples(str(whole))
    assert len(list(intact)) == 40
    assert intact.notes == []


def test_copies_count_once(tmp_path: Path) -> None:
    photos, agree, labelled = (
        write_photos(tmp_path / name, 4, start=start) for name, start in zip("cal", (0, 10, 20), strict=True)
    )
    for folder in (photos, agree, labelled):
        first = min(folder.iterdir())
        shutil.copy(first, folder / "zz.png")
    rows = "".join(f"{path.name},red\n" for path in sorted(labelled.iterdir()))
    (tmp_path / "labels.csv").write_text(rows)
    choice = DataChoice(str(photos), labels=tmp_path / "labels.csv", images=str(labelled), agree=str(agree))
    notes: list[str] = []
    plan = open_plan(choice, Task.CLASSIFY, ("red",))
    assert len(list(calibration_samples(plan, notes.append))) == 4
    assert len(list(agreement_samples(plan, frozenset(), notes.append))) == 4
    assert len(list(plan.labelled(notes.append))) == 4
    assert [note.split(" left out")[0] for note in notes] == [f"1 picture of {name}" for name in "cal"]


def test_two_pictures_are_too_few_to_hold_one_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give at least 3 pictures or --agree"):
        open_plan(DataChoice(str(write_photos(tmp_path / "photos", 2))), Task.CLASSIFY, ())
