"""Video files and image folders: every frame, in order, and clear words when something is wrong."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edgewright.runtime.errors import SourceError
from edgewright.runtime.sources import (
    EndOfSource,
    ImageFolderSource,
    SourceOptions,
    VideoFileSource,
    open_source,
    parse_source,
    shrink,
)
from edgewright.runtime.sources.mp4 import is_whole_mp4
from edgewright.runtime.sources.pictures import picture_size
from edgewright.runtime.types import Frame, TimeQuality

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.runtime.sources import FrameSource


def write_video(path: Path, frames: int = 30, fps: float = 10.0, size: tuple[int, int] = (96, 64)) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    assert writer.isOpened()
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 30, (size[1], size[0], 3), np.uint8)
    for index in range(frames):
        writer.write(noise + np.uint8(index * 3 % 226))
    writer.release()
    return path


def read_all(source: FrameSource) -> list[Frame]:
    frames = []
    while isinstance(item := source.take(0.0), Frame):
        frames.append(item)
    assert isinstance(item, EndOfSource)
    assert isinstance(source.take(0.0), EndOfSource)
    return frames


@pytest.mark.parametrize("name", ["clip.avi", "ünïcode 街 clip.avi"])
def test_a_video_gives_every_frame_in_order(tmp_path: Path, name: str) -> None:
    source = open_source(parse_source(str(write_video(tmp_path / name))))
    assert (source.total, source.fps, source.live, source.name) == (30, 10.0, False, name)
    frames = read_all(source)
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.media_time for frame in frames] == pytest.approx([index / 10 for index in range(30)])
    means = [float(frame.image.mean()) for frame in frames]
    assert means == sorted(means)
    assert {frame.time_quality for frame in frames} == {TimeQuality.FILE}
    assert (source.seen, dict(source.drops)) == (30, {})


def test_every_nth_frame_keeps_the_scene_clock(tmp_path: Path) -> None:
    source = VideoFileSource(write_video(tmp_path / "clip.avi"), SourceOptions(every_nth=7, max_side=48))
    frames = read_all(source)
    assert [frame.index for frame in frames] == [0, 7, 14, 21, 28]
    assert frames[1].media_time == pytest.approx(0.7)
    assert frames[0].image.shape == (32, 48, 3)
    assert source.total == 5
    assert source.drops == {"every_nth": 25}
    assert source.seen == 30


def test_a_video_cut_short_says_where(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", frames=60)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source = VideoFileSource(cut)
    with pytest.raises(SourceError, match=r"cut\.avi: decoding stopped at frame \d+ of 60"):
        read_all(source)
    assert isinstance(source.take(0.0), EndOfSource)


def test_damage_in_the_middle_is_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", frames=100)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    source = VideoFileSource(path)
    given = len(read_all(source))
    assert 90 < given < 100
    assert source.drops == {"missing": 100 - given}
    assert source.seen == 100


class Spoilt:
    """A real capture that cannot decode some of its frames."""

    def __init__(self, capture: cv2.VideoCapture, bad: set[int]) -> None:
        self._capture = capture
        self._bad = bad
        self._at = 0

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        self._at += 1
        if self._at in self._bad:
            raise cv2.error("damaged")
        return self._capture.retrieve()  # type: ignore[return-value]

    def __getattr__(self, name: str) -> object:
        return getattr(self._capture, name)


def test_a_frame_that_cannot_be_decoded_is_passed_over_and_counted(tmp_path: Path) -> None:
    source = VideoFileSource(write_video(tmp_path / "clip.avi"))
    source._capture = Spoilt(source._capture, {4, 5})  # type: ignore[assignment]
    assert [frame.index for frame in read_all(source)] == [0, 1, 2, 3, *range(6, 30)]
    assert source.drops == {"undecodable": 2}
    assert source.seen == 30


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def trimmed(data: bytes, hidden: int, frames: int) -> bytes:
    """An MP4 whose edit list now hides its first frames, as trimming without encoding again leaves it."""
    at = data.index(b"elst")
    size = struct.unpack_from(">I", data, at - 4)[0]
    assert size == 28  # one edit: version, count, length in movie units, start in media units, rate
    length, start = struct.unpack_from(">II", data, at + 12)
    step = struct.unpack_from(">I", data, data.index(b"stts") + 16)[0]
    edited = bytearray(data)
    struct.pack_into(">II", edited, at + 12, length * (frames - hidden) // frames, start + hidden * step)
    return bytes(edited)


def test_a_trimmed_mp4_is_whole_and_one_cut_off_is_not(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (96, 64))
    for index in range(60):
        writer.write(np.full((64, 96, 3), index * 4, np.uint8))
    writer.release()
    whole = path.read_bytes()
    path.write_bytes(trimmed(whole, 20, 60))
    source = VideoFileSource(path)
    given = len(read_all(source))
    assert given < 45
    assert source.drops["missing"] == pytest.approx(60 - given, abs=2)
    assert is_whole_mp4(path)
    path.write_bytes(whole[:-100])
    assert not is_whole_mp4(path)


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (b"", False),
        (box(b"ftyp", b"isom") + box(b"mdat", b"x" * 90), True),
        (box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"mdat", 20) + b"xxxx", True),
        (box(b"ftyp", b"isom") + struct.pack(">I4s", 0, b"mdat") + b"to the end", True),
        (box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"mdat", 2**63) + b"xxxx", False),
        (box(b"ftyp", b"isom") + struct.pack(">I4s", 3, b"mdat"), False),
        (box(b"ftyp", b"isom") + b"\0\0", False),
        (box(b"mdat", b"isom"), False),
        (b"RIFF" + b"\0" * 60, False),
    ],
)
def test_whole_means_boxes_fill_the_file(tmp_path: Path, content: bytes, whole: bool) -> None:
    (tmp_path / "x.mp4").write_bytes(content)
    assert is_whole_mp4(tmp_path / "x.mp4") is whole


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100, b"RIFF\x00\x00\x00\x00AVI LIST"])
def test_what_is_no_video_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fake.avi"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"fake\.avi: not a video"):
        open_source(parse_source(str(path)))


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a video"):
        VideoFileSource(write_video(tmp_path / "empty.avi", frames=0))


def test_closing_early_is_no_damage(tmp_path: Path) -> None:
    source = VideoFileSource(write_video(tmp_path / "clip.avi"))
    source.take()
    source.close()
    source.close()
    assert read_all(source) == []


def write_pictures(folder: Path, count: int, suffix: str = ".png") -> None:
    for index in range(count):
        _, data = cv2.imencode(suffix, np.full((40, 60, 3), index * 10, np.uint8))
        (folder / f"ä_{index:03d}{suffix}").write_bytes(data.tobytes())


def test_a_folder_gives_pictures_by_name_and_counts_the_rest(tmp_path: Path) -> None:
    write_pictures(tmp_path, 5)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "ä_002b.jpg").write_bytes(b"broken" * 10)
    (tmp_path / "sub").mkdir()
    source = open_source(parse_source(str(tmp_path)), SourceOptions(folder_fps=5.0))
    frames = read_all(source)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 10, 20, 30, 40]
    assert [frame.index for frame in frames] == [0, 1, 2, 4, 5]
    assert frames[-1].media_time == pytest.approx(1.0)
    assert source.drops == {"not_a_picture": 1, "undecodable": 1}
    assert source.seen == 7


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_every_nth_picture_of_every_kind(tmp_path: Path, suffix: str) -> None:
    write_pictures(tmp_path, 5, suffix)
    source = ImageFolderSource(tmp_path, SourceOptions(every_nth=2, max_side=30))
    frames = read_all(source)
    assert [frame.index for frame in frames] == [0, 2, 4]
    assert {frame.image.shape for frame in frames} == {(20, 30, 3)}
    assert source.total == 3


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(SourceError, match="no picture among 1 files"):
        ImageFolderSource(tmp_path)


def test_a_folder_of_damaged_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    with pytest.raises(SourceError, match="none of 1 pictures"):
        read_all(ImageFolderSource(tmp_path))


def test_a_picture_that_announces_gigabytes_is_never_decoded(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "bomb.png").write_bytes(bomb + b"\0" * 20)
    write_pictures(tmp_path, 1)
    source = ImageFolderSource(tmp_path)
    assert len(read_all(source)) == 1
    assert source.drops == {"too_large": 1}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
@pytest.mark.parametrize("size", [(60, 40), (1, 1), (301, 17)])
def test_header_sizes_agree_with_the_decoder(suffix: str, size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    _, data = cv2.imencode(suffix, picture)
    assert picture_size(data.tobytes()) == size


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"\xff\xd8" + b"\xff" * 60, b"RIFF0000WEBPXXXX" + b"\0" * 20, b"GIF89a" * 9]
)
def test_headers_that_say_nothing(data: bytes) -> None:
    assert picture_size(data) is None


@pytest.mark.parametrize(
    ("shape", "limit", "expected"),
    [
        ((100, 200), None, (100, 200)),
        ((100, 200), 200, (100, 200)),
        ((100, 200), 50, (25, 50)),
        ((1, 900), 30, (1, 30)),
    ],
)
def test_shrink_never_enlarges(shape: tuple[int, int], limit: int | None, expected: tuple[int, int]) -> None:
    assert shrink(np.zeros((*shape, 3), np.uint8), limit).shape[:2] == expected
