"""Golden vectors: a few real frames and what each variant answered, to be repeated on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.arrays import npz_bytes, read_npz
from edgewright.bundle.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["GoldenVectors", "read_golden", "write_golden"]

_FRAME = "frame"
_OUTPUT = "output"
_FRAME_AXES = 3
_CHANNELS = 3


@dataclass(frozen=True, eq=False)
class GoldenVectors:
    """Frames and answers.

    Attributes:
        frames: Each (H, W, 3) uint8 BGR.
        outputs: Variant name to one mapping a frame, output name to raw output array.
    """

    frames: tuple[NDArray[np.uint8], ...]
    outputs: Mapping[str, tuple[Mapping[str, NDArray[Any]], ...]]


def write_golden(
    frames: Sequence[NDArray[np.uint8]], outputs: Mapping[str, Sequence[Mapping[str, NDArray[Any]]]]
) -> bytes:
    """Packs golden vectors into ``golden.npz``.

    Args:
        frames: Each (H, W, 3) uint8 BGR.
        outputs: Variant name to the raw outputs for each frame.

    Returns:
        The file. Members are named ``frame/I`` and ``output/I/VARIANT/NAME``; NAME may hold slashes.
    """
    arrays: dict[str, NDArray[Any]] = {f"{_FRAME}/{i}": frame for i, frame in enumerate(frames)}
    for variant, answers in outputs.items():
        for i, answer in enumerate(answers):
            for name, value in answer.items():
                arrays[f"{_OUTPUT}/{i}/{variant}/{name}"] = value
    return npz_bytes(arrays)


def read_golden(data: bytes, name: str = "golden.npz") -> GoldenVectors:
    """Unpacks ``golden.npz``.

    Raises:
        IntegrityError: Malformed, or frames and answers do not belong together.
    """
    frames: dict[int, NDArray[np.uint8]] = {}
    answers: dict[str, dict[int, dict[str, NDArray[Any]]]] = {}
    for key, value in read_npz(data, name).items():
        kind, _, rest = key.partition("/")
        index, _, rest = rest.partition("/")
        if kind not in {_FRAME, _OUTPUT} or not index.isdecimal():
            msg = f"{name} holds an unknown array {key!r}"
            raise IntegrityError(msg)
        if kind == _FRAME:
            if value.ndim != _FRAME_AXES or value.shape[2] != _CHANNELS or value.dtype != np.uint8:
                msg = f"{name}: frame {index} has shape {value.shape} of {value.dtype}, expected (H, W, 3) uint8"
                raise IntegrityError(msg)
            frames[int(index)] = value
        else:
            variant, _, output = rest.partition("/")
            answers.setdefault(variant, {}).setdefault(int(index), {})[output] = value
    wanted = set(range(len(frames)))
    uneven = any(len({frozenset(row) for row in rows.values()}) > 1 for rows in answers.values())
    if uneven or set(frames) != wanted or any(set(rows) != wanted for rows in answers.values()):
        msg = f"{name}: frames and outputs do not belong together"
        raise IntegrityError(msg)
    return GoldenVectors(
        tuple(frames[i] for i in sorted(frames)),
        {variant: tuple(rows[i] for i in sorted(rows)) for variant, rows in answers.items()},
    )
