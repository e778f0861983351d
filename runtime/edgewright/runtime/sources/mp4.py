"""Tells an MP4 file that was cut off from one that is whole.

A trimmed MP4 keeps all frames and an edit list that hides some of them, so it gives fewer than it announces and is
still whole. A file that was cut off ends in the middle of a box (ISO/IEC 14496-12: size, kind, content).
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["is_whole_mp4"]

_HEADER = struct.Struct(">I4s")
_LARGE = struct.Struct(">Q")
_MOST_BOXES = 1_000_000


def is_whole_mp4(path: Path) -> bool:
    """Whether the file is an MP4 whose top-level boxes fill it exactly."""
    try:
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            position = 0
            for _ in range(_MOST_BOXES):
                if position > end:
                    return False
                file.seek(position)
                header = file.read(_HEADER.size + _LARGE.size)
                if len(header) < _HEADER.size:
                    return position == end > 0
                size, kind = _HEADER.unpack_from(header)
                if position == 0 and kind != b"ftyp":
                    return False
                if size == 0:  # to the end of the file
                    return True
                if size == 1 and len(header) == _HEADER.size + _LARGE.size:
                    (size,) = _LARGE.unpack_from(header, _HEADER.size)
                if size < _HEADER.size:
                    return False
                position += size
    except OSError:
        return False
    return False
