"""Fashion-MNIST (Xiao et al. 2017): reading its four files, and writing pictures the way the optimizer takes them.

    python -m examples.fashion.data ~/.cache/edgewright/samples/fashion pictures --calibrate 256

writes ``pictures/calibrate`` and ``pictures/select`` (training pictures, none in both) and ``pictures/test`` (all 10,000
test pictures) as PNG files, each with its ``labels.csv``, and the same as ``calibrate.npz``, ``select.npz`` and
``test.npz``: ``images`` (n, 28, 28) uint8 and ``labels`` (n,) int64. ``train.npz`` holds all other training pictures.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgewright.bundle.arrays import npz_bytes
from edgewright.bundle.atomic import write_bytes
from edgewright.optimize.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CLASSES", "SIDE", "Split", "label_file", "load_split", "write_pictures"]

SIDE = 28
CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)
_IMAGE_MAGIC, _LABEL_MAGIC = 2051, 2049
_IMAGE_HEADER, _LABEL_HEADER = 16, 8


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures with their classes.

    Attributes:
        images: (n, 28, 28) uint8, white on black.
        labels: (n,) int64, positions in ``CLASSES``.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def load_split(folder: Path, name: str) -> Split:
    """Reads one split.

    Args:
        folder: With the ``.gz`` files that ``scripts/samples fashion`` fetches.
        name: ``train`` (60,000) or ``t10k`` (10,000).

    Raises:
        DataError: A file is missing or is not what its name says.
    """
    images = _values(folder / f"{name}-images-idx3-ubyte.gz", _IMAGE_MAGIC, _IMAGE_HEADER)
    labels = _values(folder / f"{name}-labels-idx1-ubyte.gz", _LABEL_MAGIC, _LABEL_HEADER)
    if len(images) != len(labels) * SIDE * SIDE:
        msg = f"{folder}: {name} has {len(images)} pixels for {len(labels)} labels; fetch it again with scripts/samples fashion"
        raise DataError(msg)
    return Split(images.reshape(-1, SIDE, SIDE), labels.astype(np.int64))


def write_pictures(folder: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Writes PNG files and their label file.

    Args:
        folder: Made if need be; files are named so that nobody takes them for a film's.
        images: (n, 28, 28) uint8.
        labels: (n,) positions in ``CLASSES``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["file,label"]
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = f"{index:05d}-{CLASSES[label]}.png"
        cv2.imwrite(str(folder / name), image)
        rows.append(f"{name},{CLASSES[label]}")
    label_file(folder).write_text("\n".join(rows) + "\n", encoding="utf-8")


def label_file(folder: Path) -> Path:
    """Where the labels of a folder of pictures are."""
    return folder / "labels.csv"


def _values(path: Path, magic: int, header: int) -> NDArray[np.uint8]:
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        msg = f"cannot read {path}: {error}; fetch it with scripts/samples fashion"
        raise DataError(msg) from error
    if int.from_bytes(data[:4], "big") != magic:
        msg = f"{path} is not the file of Fashion-MNIST that its name says; fetch it again with scripts/samples fashion"
        raise DataError(msg)
    return np.frombuffer(data, np.uint8, offset=header)


def _arrays(split: Split) -> bytes:
    arrays: dict[str, NDArray[Any]] = {"images": split.images, "labels": split.labels}
    return npz_bytes(arrays)


def main() -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write Fashion-MNIST as pictures and as .npz files.")
    parser.add_argument("data", type=Path, help="folder of the four .gz files; scripts/samples fashion prints them")
    parser.add_argument("out", type=Path, help="folder to fill")
    parser.add_argument("--calibrate", type=int, default=256, metavar="N", help="training pictures to calibrate on")
    parser.add_argument(
        "--select", type=int, default=256, metavar="N", help="those after them, to choose among candidates"
    )
    options = parser.parse_args()
    try:
        train, test = load_split(options.data, "train"), load_split(options.data, "t10k")
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    first, last = options.calibrate, options.calibrate + options.select
    calibrate = Split(train.images[:first], train.labels[:first])
    select = Split(train.images[first:last], train.labels[first:last])
    for name, split in (("calibrate", calibrate), ("select", select), ("test", test)):
        write_pictures(options.out / name, split.images, split.labels)
        write_bytes(options.out / f"{name}.npz", _arrays(split))
        sys.stdout.write(f"{options.out / name}: {len(split.labels)} pictures, also as {name}.npz\n")
    rest = Split(train.images[last:], train.labels[last:])
    write_bytes(options.out / "train.npz", _arrays(rest))
    sys.stdout.write(f"{options.out / 'train.npz'}: {len(rest.labels)} pictures to train on\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
