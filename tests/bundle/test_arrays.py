"""Arrays from untrusted bytes."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewright.bundle.arrays import npy_bytes, npz_bytes, read_npy, read_npz
from edgewright.bundle.errors import IntegrityError
from edgewright.bundle.golden import read_golden, write_golden

PLAIN = st.sampled_from([np.float32, np.uint8, np.int64, np.float64, np.bool_])


@given(hnp.arrays(dtype=PLAIN, shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))
def test_npy_round_trip(array: np.ndarray) -> None:
    again = read_npy(npy_bytes(array), "x")
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    np.testing.assert_array_equal(again, array)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    for data in (noise, b"\x93NUMPY\x01\x00" + noise):
        with pytest.raises(IntegrityError):
            read_npy(data, "x")
    with pytest.raises(IntegrityError):
        read_npz(b"PK\x03\x04" + noise, "x")


def header(shape: str, descr: str = "<f4") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize("shape", ["(10000000000, 64)", "(-1,)", "(3,)", "(2**70,)", "(1.5,)"])
def test_a_header_that_claims_other_sizes_allocates_nothing(shape: str) -> None:
    with pytest.raises(IntegrityError):
        read_npy(header(shape) + b"\0" * 8, "x")


def test_objects_and_pickles_are_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for data in (buffer.getvalue(), pickle.dumps([1]), header("(0,)", "|O")):
        with pytest.raises(IntegrityError):
            read_npy(data, "x")


def test_an_npz_bomb_is_refused_by_its_declaration() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(6):
            archive.writestr(f"{i}.npy", b"\0" * (100 << 20))
    with pytest.raises(IntegrityError, match="declares"):
        read_npz(buffer.getvalue(), "golden.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_rare_packings_are_refused(method: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.npy", npy_bytes(np.zeros(9)))
    with pytest.raises(IntegrityError, match="packed in a way"):
        read_npz(buffer.getvalue(), "golden.npz")


def test_damaged_packing_is_refused() -> None:
    data = bytearray(npz_bytes({"a": np.arange(10_000, dtype=np.float64)}))
    start = data.index(b"a.npy") + 5
    for step in range(0, 3000, 7):
        changed = bytearray(data)
        changed[start + step] ^= 0xFF
        try:
            read_npz(bytes(changed), "golden.npz")
        except IntegrityError:
            continue
    data[start : start + 400] = b"\xff" * 400
    with pytest.raises(IntegrityError):
        read_npz(bytes(data), "golden.npz")


def test_golden_round_trip_keeps_names_with_slashes() -> None:
    frame = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    answer = {"Model/out:0": np.ones((1, 2), np.float32)}
    golden = read_golden(write_golden([frame, frame], {"int8-onnx": [answer, answer]}))
    np.testing.assert_array_equal(golden.frames[1], frame)
    np.testing.assert_array_equal(golden.outputs["int8-onnx"][1]["Model/out:0"], answer["Model/out:0"])


@pytest.mark.parametrize(
    "arrays",
    [
        {"frame/0": np.zeros((2, 2), np.uint8)},
        {"frame/0": np.zeros((2, 2, 3), np.float32)},
        {"frame/1": np.zeros((2, 2, 3), np.uint8)},
        {"odd/0": np.zeros(1)},
        {"frame/x": np.zeros(1)},
        {"frame/0": np.zeros((2, 2, 3), np.uint8), "output/3/v/o": np.zeros(1)},
    ],
)
def test_golden_files_that_do_not_hang_together(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(IntegrityError):
        read_golden(npz_bytes(arrays))
