"""A board's own answers to pictures that a workstation sent, on their way back to be judged there.

Pictures travel as PNG, which loses nothing, several to a file; answers as plain arrays: per variant, how many rows each
picture has, and the rows one after the other. Both are read with the bounds of ``edgewright.bundle.arrays``, and the
answers checked like anything else that comes from another machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgewright.bundle.arrays import npz_bytes, read_npz
from edgewright.bundle.manifest import SsdDecode
from edgewright.runtime.backends.choice import NO_WISHES
from edgewright.runtime.candidates import read_candidate
from edgewright.runtime.results.schema import ResultError
from edgewright.runtime.session import open_session
from edgewright.runtime.types import Classification, Detections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.bundle.reader import Bundle
    from edgewright.runtime.backends.choice import EngineOptions

__all__ = ["CURVE_SCORE", "Answer", "answer", "answers_bytes", "pack_pictures", "read_answers", "unpack_pictures"]

Answer = Detections | Classification
#: Average precision needs the weak boxes as well.
CURVE_SCORE = 0.01
_MOST_PIXELS = 1 << 26
_LARGEST_PICTURE_FILE = 128 << 20


def pack_pictures(images: Sequence[NDArray[np.uint8]]) -> bytes:
    """Pictures (H, W, 3) uint8 BGR as one file."""
    arrays = {}
    for number, image in enumerate(images):
        done, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not done:
            msg = f"picture {number} of shape {image.shape} cannot be packed as PNG"
            raise ResultError(msg)
        arrays[f"{number:06d}"] = np.asarray(data, np.uint8).reshape(-1)
    return npz_bytes(arrays)


def unpack_pictures(data: bytes, where: str) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a file, in order.

    Raises:
        IntegrityError: It is no such file.
        ResultError: A picture in it cannot be read, or is too large.
    """
    for name, packed in sorted(read_npz(data, where).items()):
        image = None
        if packed.dtype == np.uint8 and 0 < packed.size <= _LARGEST_PICTURE_FILE and _pixels(packed) <= _MOST_PIXELS:
            image = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        if image is None:
            msg = f"{where}: picture {name} cannot be read as PNG of at most {_MOST_PIXELS} pixels"
            raise ResultError(msg)
        yield np.asarray(image, np.uint8)


def _pixels(packed: NDArray[Any]) -> int:
    """What the head of a PNG says, before memory is taken for it; too many when it is none."""
    head = packed[:24].tobytes()
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n":
        return _MOST_PIXELS + 1
    return int.from_bytes(head[16:20], "big") * int.from_bytes(head[20:24], "big")


def answer(
    bundle: Bundle,
    candidates: Sequence[str],
    pictures: Callable[[], Iterator[NDArray[np.uint8]]],
    threads: int = 1,
    options: EngineOptions = NO_WISHES,
) -> dict[str, list[Answer]]:
    """Every variant's answers to pictures, through the very ``Session`` of the camera loop.

    Args:
        bundle: Opened.
        candidates: ``VARIANT`` or ``VARIANT@BACKEND`` each.
        pictures: Walks the pictures anew.
        threads: For the engines.
        options: What the owner of the machine says of its engines.
    """
    threshold = CURVE_SCORE if isinstance(bundle.manifest.decode, SsdDecode) else None
    found: dict[str, list[Answer]] = {}
    for name in candidates:
        chosen = read_candidate(name)
        session = open_session(bundle, chosen.variant, threads, backend=chosen.backend, options=options)
        try:
            found[name] = [session.infer(picture, score_threshold=threshold) for picture in pictures()]
        finally:
            session.close()
    return found


def answers_bytes(answers: Mapping[str, Sequence[Answer]]) -> bytes:
    """Answers as one file."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, rows in answers.items():
        arrays[f"{name}/counts"] = np.array([len(row.scores) for row in rows], np.int64)
        arrays[f"{name}/scores"] = _joined([row.scores for row in rows], np.float32)
        arrays[f"{name}/class_ids"] = _joined([row.class_ids for row in rows], np.int64)
        boxes = [row.boxes for row in rows if isinstance(row, Detections)]
        if boxes:
            arrays[f"{name}/boxes"] = _joined(boxes, np.float32).reshape(-1, 4)
    return npz_bytes(arrays)


def _joined(rows: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate([np.asarray(row, dtype) for row in rows]) if rows else np.zeros(0, dtype)


def read_answers(data: bytes, where: str, *, pictures: int, boxes: bool) -> dict[str, list[Answer]]:
    """Answers out of a file of a board.

    Args:
        data: The file.
        where: What to call it in errors.
        pictures: How many pictures were sent.
        boxes: Whether a detector answered.

    Raises:
        IntegrityError: It is no such file.
        ResultError: It does not hold one answer a picture, of finite numbers.
    """
    arrays = read_npz(data, where)
    names = list(dict.fromkeys(key.rpartition("/")[0] for key in arrays))
    parts = ("counts", "scores", "class_ids", *(("boxes",) if boxes else ()))
    found = {}
    for name in names:
        rows = {part: arrays.get(f"{name}/{part}") for part in parts}
        known = {part: row for part, row in rows.items() if row is not None}
        if len(known) != len(parts) or not _fit(known, pictures):
            msg = (
                f"{where} does not hold one answer of {ascii(name)[:60]} for each of {pictures} pictures; measure again"
            )
            raise ResultError(msg)
        found[name] = _split(known)
    return found


def _fit(rows: Mapping[str, NDArray[Any]], pictures: int) -> bool:
    counts = rows["counts"]
    if counts.shape != (pictures,) or counts.dtype.kind not in "iu" or (counts < 0).any():
        return False
    total = int(counts.sum())
    shapes = {"scores": (total,), "class_ids": (total,), "boxes": (total, 4)}
    if any(rows[part].shape != shapes[part] for part in rows if part != "counts"):
        return False
    scores = rows["scores"].astype(np.float64)
    good = bool(np.isfinite(scores).all() and ((scores >= 0) & (scores <= 1)).all())
    boxes = rows.get("boxes")
    return good and rows["class_ids"].dtype.kind in "iu" and (boxes is None or bool(np.isfinite(boxes).all()))


def _split(rows: Mapping[str, NDArray[Any]]) -> list[Answer]:
    ends = np.cumsum(rows["counts"])
    found: list[Answer] = []
    for end, count in zip(ends, rows["counts"], strict=True):
        part = slice(int(end - count), int(end))
        scores, ids = rows["scores"][part].astype(np.float32), rows["class_ids"][part].astype(np.int64)
        found.append(
            Detections(rows["boxes"][part].astype(np.float32), scores, ids)
            if "boxes" in rows
            else Classification(ids, scores)
        )
    return found
