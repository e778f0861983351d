"""Named arrays from untrusted bytes: ``.npy`` without pickle, sizes checked before memory is taken.

``numpy.load`` allocates what a header claims before it looks at the data; here the claim must equal the bytes
that are really there.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["npy_bytes", "npz_bytes", "read_npy", "read_npz"]

_MAX_NPZ_BYTES = 512 << 20
_MAX_NPZ_MEMBERS = 4096
_PLAIN_KINDS = "biuf"


def npy_bytes(array: NDArray[Any]) -> bytes:
    """``array`` as an ``.npy`` file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
    return buffer.getvalue()


def read_npy(data: bytes, name: str) -> NDArray[Any]:
    """Reads an ``.npy`` file.

    Args:
        data: The file.
        name: What to call it in errors.

    Returns:
        A read-only array over ``data``.

    Raises:
        IntegrityError: Not an ``.npy`` file, an object array, or a header that does not fit the data.
    """
    buffer = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(buffer)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(buffer)
    except (ValueError, KeyError, SyntaxError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        msg = f"{name} is not a readable .npy array: {error}"
        raise IntegrityError(msg) from error
    if dtype.kind not in _PLAIN_KINDS or dtype.itemsize == 0:
        msg = f"{name} holds values of type {dtype}; only plain numbers are read"
        raise IntegrityError(msg)
    count = math.prod(shape)
    if any(size < 0 for size in shape) or count * dtype.itemsize != len(data) - buffer.tell():
        msg = f"{name} claims shape {shape} of {dtype}, its data does not have that size"
        raise IntegrityError(msg)
    flat = np.frombuffer(data, dtype=dtype, offset=buffer.tell(), count=count)
    return flat.reshape(shape, order="F" if fortran else "C")


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """``arrays`` as a deflated ``.npz`` file, the same bytes for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, npy_bytes(arrays[name]), compresslevel=9)
    return buffer.getvalue()


def read_npz(data: bytes, name: str) -> dict[str, NDArray[Any]]:
    """Reads an ``.npz`` file; the sizes it declares bound what is read.

    Args:
        data: The file.
        name: What to call it in errors.

    Returns:
        Member name without ``.npy`` to array.

    Raises:
        IntegrityError: Malformed, too large, or holding something else than plain arrays.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            odd = [m.filename for m in members if m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]
            if odd:
                msg = f"{name}: {odd[0]} is packed in a way that is not read; stored and deflated members are"
                raise IntegrityError(msg)
            total = sum(member.file_size for member in members)
            if total > _MAX_NPZ_BYTES or len(members) > _MAX_NPZ_MEMBERS:
                msg = f"{name} declares {total} bytes in {len(members)} arrays; at most {_MAX_NPZ_BYTES} are read"
                raise IntegrityError(msg)
            return {
                member.filename.removesuffix(".npy"): read_npy(_read_member(archive, member, name), member.filename)
                for member in members
            }
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        msg = f"{name} is not a readable .npz file: {error}"
        raise IntegrityError(msg) from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> bytes:
    with archive.open(member) as stream:
        data = stream.read(member.file_size + 1)
    if len(data) != member.file_size:
        msg = f"{name}: {member.filename} has another size than declared"
        raise IntegrityError(msg)
    return data
