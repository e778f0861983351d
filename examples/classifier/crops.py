"""Makes several hundred pictures out of the few photographs among the samples: crops, each as it is and mirrored.

Whole photographs are shared out among the three jobs, so no photograph serves two. Crops of one photograph resemble each
other: they show how the commands work, and say less than as many photographs would.

python -m examples.classifier.crops ~/.cache/edgewright/samples crops
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

# (name, left, top, right, bottom) as fractions; names without numbers, which would look like a film's.
_WINDOWS = (
    ("full", 0.0, 0.0, 1.0, 1.0),
    ("centre", 0.2, 0.2, 0.8, 0.8),
    ("north-west", 0.0, 0.0, 0.75, 0.75),
    ("north-east", 0.25, 0.0, 1.0, 0.75),
    ("south-west", 0.0, 0.25, 0.75, 1.0),
    ("south-east", 0.25, 0.25, 1.0, 1.0),
)
_LONGEST = 640
_ROLES = ("calibrate", "agree", "select", "agree", "agree")


def crops_of(image: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Six windows of a photograph, each as it is and mirrored.

    Args:
        image: (H, W, 3) uint8 BGR.

    Yields:
        A name and the window, at most 640 pixels long.
    """
    height, width = image.shape[:2]
    for name, left, top, right, bottom in _WINDOWS:
        part = image[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
        factor = min(1.0, _LONGEST / max(part.shape[:2]))
        size = (round(part.shape[1] * factor), round(part.shape[0] * factor))
        scaled = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        yield name, scaled
        yield f"{name}-mirrored", np.ascontiguousarray(scaled[:, ::-1])


def write_crops(photos: Sequence[Path], folder: Path) -> dict[str, int]:
    """Writes the crops into one folder a job.

    Args:
        photos: In the order in which they are shared out.
        folder: Gets ``calibrate``, ``select`` and ``agree``.

    Returns:
        How many pictures each job has.

    Raises:
        ValueError: A file is no picture.
    """
    counts = dict.fromkeys(sorted(set(_ROLES)), 0)
    for number, photo in enumerate(photos):
        role = _ROLES[number % len(_ROLES)]
        image = cv2.imread(str(photo))
        if image is None:
            msg = f"{photo} is not a picture that can be read"
            raise ValueError(msg)
        (folder / role).mkdir(parents=True, exist_ok=True)
        for name, part in crops_of(np.asarray(image, np.uint8)):
            cv2.imwrite(str(folder / role / f"{photo.stem}-{name}.png"), part)
            counts[role] += 1
    return counts


def main() -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Crops of the sample photographs, shared out among three jobs.")
    parser.add_argument("samples", type=Path, help="the folder that scripts/samples prints")
    parser.add_argument("out", type=Path, help="the folder to write")
    options = parser.parse_args()
    photos = sorted((*options.samples.glob("calibration/*"), *options.samples.glob("photos/*")))
    if not photos:
        sys.stderr.write(f"{options.samples} holds no photographs; fetch them with scripts/samples classifier\n")
        return 2
    try:
        counts = write_crops(photos, options.out)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{options.out}: {', '.join(f'{role} {count}' for role, count in counts.items())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
