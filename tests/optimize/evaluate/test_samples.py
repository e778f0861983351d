"""Pictures from folders and videos."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from tiny_models import spot_frame, write_clip, write_photos

from edgewright.optimize.data.digest import DatasetDigest, frame_digest
from edgewright.optimize.data.samples import fetch, open_samples
from edgewright.optimize.errors import DataError

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


def test_grey_and_transparent_pictures_become_bgr(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "grey.png"), np.zeros((4, 6), np.uint8))
    assert cv2.imwrite(str(tmp_path / "alpha.png"), np.zeros((4, 6, 4), np.uint8))
    assert [sample.image.shape for sample in open_samples(str(tmp_path))] == [(4, 6, 3), (4, 6, 3)]


def test_a_video_tells_the_time_between_frames(clip: Path, tmp_path: Path) -> None:
    assert open_samples(f"{clip}#1::8").spacing_s == pytest.approx(0.1)
    slow = write_clip(tmp_path / "slow.avi", 4, rate=2)
    source = open_samples(str(slow))
    assert source.spacing_s == source.part(lambda index: index > 1, "the rest").spacing_s == pytest.approx(0.5)


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
