"""Pictures from ``.npz`` files."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgewright.optimize.data.arrays_source import ArraysSource
from edgewright.optimize.data.source import Slice
from edgewright.optimize.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 5, 6, 3)).astype(np.uint8)


def source(path: Path, chosen: Slice | None = None) -> ArraysSource:
    return ArraysSource(str(path), path, chosen or Slice())


def saved(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_pictures_come_one_by_one_in_order(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "a.npz", images=IMAGES, labels=np.arange(7))
    found = source(tmp_path / "a.npz")
    for _ in range(2):
        samples = list(found)
        assert [sample.index for sample in samples] == list(range(7))
        assert np.array_equal([sample.image for sample in samples], IMAGES)
    assert samples[3].name == "a.npz picture 3"
    assert found.estimate() == 7


def test_slices(tmp_path: Path) -> None:
    found = source(saved(tmp_path, images=IMAGES), Slice(1, 6, 2))
    assert [sample.index for sample in found] == [1, 3, 5]
    assert all(np.array_equal(sample.image, IMAGES[sample.index]) for sample in found)
    assert found.estimate() == 3
    with pytest.raises(DataError, match="holds no pictures after slicing"):
        list(source(saved(tmp_path, images=IMAGES), Slice(9)))


@pytest.mark.parametrize("shape", [(7, 5, 6), (7, 5, 6, 1)])
def test_grey_pictures_get_three_channels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    grey = IMAGES[..., 0].reshape(shape)
    for sample in source(saved(tmp_path, any_name=grey)):
        assert np.array_equal(sample.image, np.repeat(IMAGES[sample.index, ..., :1], 3, axis=2))


def test_common_pictures_are_found(tmp_path: Path) -> None:
    path = saved(tmp_path, images=IMAGES)
    assert source(path, Slice(1, None, 2)).common(source(path, Slice(0, None, 2))) is None
    assert source(path, Slice(0, None, 3)).common(source(path, Slice(1, None, 2))) == "a.npz picture 3"


BAD = {
    "floats": ({"images": IMAGES / 255}, "is float64 7x5x6x3; pictures are uint8"),
    "channels first": ({"images": IMAGES.transpose(0, 3, 1, 2).copy()}, "uint8 7x3x5x6; pictures"),
    "columns first": ({"images": np.asfortranarray(IMAGES)}, "column by column"),
    "one picture": ({"images": IMAGES[0, 0]}, "uint8 6x3; pictures"),
    "none": ({"images": IMAGES[:0]}, "uint8 0x5x6x3; pictures"),
    "objects": ({"images": np.array([{}, None])}, "is object 2; pictures"),
    "two unnamed": ({"a": IMAGES, "b": IMAGES}, "holds a, b; call the array of pictures 'images'"),
}


@pytest.mark.parametrize("case", BAD)
def test_arrays_that_are_no_pictures(tmp_path: Path, case: str) -> None:
    arrays, says = BAD[case]
    with pytest.raises(DataError, match=says):
        source(saved(tmp_path, **arrays))


def header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


BROKEN = {
    "not a zip": b"no archive at all",
    "empty": b"",
    "no array": {"images.npy": b"not numpy"},
    "claims too much": {"images.npy": header((10**9, 100, 100, 3)) + bytes(300)},
    "huge pictures": {"images.npy": header((1, 10**6, 10**6, 3)) + bytes(300)},
    "overflow": {"images.npy": header((2**40, 2**40, 2**40, 3)) + bytes(300)},
    "pickled": {"images.npy": b"\x93NUMPY\x01\x00\x10\x00" + b"__import__('os')"},
    "nothing inside": {},
}


@pytest.mark.parametrize("case", BROKEN)
def test_files_that_are_broken_or_lie(tmp_path: Path, case: str) -> None:
    content, path = BROKEN[case], tmp_path / "a.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    with pytest.raises(DataError, match=r"a\.npz"):
        source(path)


def test_damage_in_the_middle_is_told(tmp_path: Path) -> None:
    path = saved(tmp_path, images=IMAGES)
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="CRC"):
        list(source(path))


def test_a_file_that_changes_under_the_reader(tmp_path: Path) -> None:
    found = source(saved(tmp_path, images=IMAGES))
    saved(tmp_path, images=IMAGES[:3])
    with pytest.raises(DataError, match="changed while"):
        list(found)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        source(tmp_path / "nowhere.npz")
