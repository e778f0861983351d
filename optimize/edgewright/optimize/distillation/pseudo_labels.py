"""Labels that a teacher finds by itself on pictures that nobody labelled (Lee 2013 for classes; here boxes).

The teacher has time: it looks at the whole picture and at tiles on several scales, through the device's own decoding.
What it is sure of becomes a label, weighed by its score; what it half believes becomes a box that counts neither way; so
the student is not taught that there is nothing where the teacher merely doubts.

The labels are a COCO file like any other: it can be looked at, mended by hand, and named as the labels of a training set.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgewright.bundle.atomic import write_text
from edgewright.optimize.data.digest import frame_digest
from edgewright.optimize.distillation.tiles import Merging, look_on_tiles, merged, tiles_of
from edgewright.optimize.errors import DataError, SpecError
from edgewright.optimize.progress import SilentProgress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from edgewright.optimize.data.source import SampleSource
    from edgewright.optimize.distillation.look import Look
    from edgewright.optimize.progress import Progress
    from edgewright.runtime.types import Detections

__all__ = ["LabelledPicture", "PseudoLabels", "PseudoSettings", "find_boxes", "find_pseudo_labels"]


@dataclass(frozen=True)
class PseudoSettings:
    """How a teacher labels.

    Attributes:
        grids: It looks at 1 x 1, 2 x 2, 3 x 3, ... tiles of each picture.
        overlap: Part of a tile's side that it shares with its neighbour.
        border: Boxes nearer to a tile's inner border than this part of its side are dropped.
        certain: Scores from here on are labels.
        doubtful: Scores from here up to ``certain`` count neither way.
        merge_iou: Boxes of one class that overlap by more are the same object.
        nested: So are those of which one lies in the other by more than this part.
    """

    grids: tuple[int, ...] = (1, 2, 3)
    overlap: float = 0.3
    border: float = 0.02
    certain: float = 0.5
    doubtful: float = 0.3
    merge_iou: float = 0.4
    nested: float = 0.85

    def __post_init__(self) -> None:
        """Refuses what makes no sense.

        Raises:
            SpecError: Naming the setting.
        """
        if not self.grids or not all(1 <= grid <= 16 for grid in self.grids):
            msg = f"grids are {list(self.grids)}; give one or more numbers of tiles a side, 1 to 16"
            raise SpecError(msg)
        for name in ("overlap", "border", "merge_iou", "nested"):
            if not 0.0 <= getattr(self, name) < 1.0:
                msg = f"{name} is {getattr(self, name)}; it must lie from 0 to below 1"
                raise SpecError(msg)
        if not 0.0 < self.doubtful <= self.certain <= 1.0:
            msg = (
                f"doubtful {self.doubtful} and certain {self.certain} must be scores above 0, the first not the larger"
            )
            raise SpecError(msg)

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """What the teacher found on one picture.

    Attributes:
        name: File name for the label file: the picture's, or ``clip_000007.png`` for frame 7 of ``clip.avi``.
        size: (width, height) in pixels.
        found: Boxes from ``doubtful`` on, best first.
    """

    name: str
    size: tuple[int, int]
    found: Detections


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """What the teacher found.

    Attributes:
        pictures: One entry each.
        settings: How it looked.
        labels: Class names by id.
        notes: What was odd.
    """

    pictures: tuple[LabelledPicture, ...]
    settings: PseudoSettings
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def certain(self) -> int:
        """How many boxes count as labels."""
        return sum(int((row.found.scores >= self.settings.certain).sum()) for row in self.pictures)

    @property
    def doubtful(self) -> int:
        """How many boxes count neither way."""
        return sum(len(row.found) for row in self.pictures) - self.certain

    def write(self, path: Path) -> None:
        """Writes them as a COCO file, whole or not at all.

        Raises:
            DataError: Nothing certain was found, so that there is nothing to learn.
            OutputError: It cannot be written.
        """
        if not self.certain:
            msg = (
                f"the teacher is sure of nothing on {len(self.pictures)} pictures (score {self.settings.certain:g} or "
                "more); lower `certain`, look at finer tiles, or take other pictures"
            )
            raise DataError(msg)
        write_text(path, json.dumps(self.to_coco(), indent=1) + "\n")

    def to_coco(self) -> dict[str, Any]:
        """As COCO, each box with its ``score``; doubtful ones are marked ``ignore``."""
        names = self.labels or tuple(str(n) for n in range(1 + max(int(c) for c in self._classes())))
        annotations: list[dict[str, Any]] = []
        for number, picture in enumerate(self.pictures, start=1):
            rows = zip(picture.found.boxes, picture.found.scores, picture.found.class_ids, strict=True)
            for box, score, label in rows:
                x1, y1, x2, y2 = (round(float(edge), 2) for edge in box)
                width, height = round(x2 - x1, 2), round(y2 - y1, 2)
                if width <= 0 or height <= 0:
                    continue
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": int(label) + 1,
                        "bbox": [x1, y1, width, height],
                        "area": round(width * height, 2),
                        "iscrowd": 0,
                        "ignore": int(score < self.settings.certain),
                        "score": round(float(score), 4),
                    }
                )
        images = [
            {"id": number, "file_name": picture.name, "width": picture.size[0], "height": picture.size[1]}
            for number, picture in enumerate(self.pictures, start=1)
        ]
        info = {"description": "boxes found by a teacher, not by people", "settings": self.settings.to_json()}
        categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
        return {"info": info, "images": images, "annotations": annotations, "categories": categories}

    def _classes(self) -> list[int]:
        return [0, *(int(label) for picture in self.pictures for label in picture.found.class_ids)]


def find_boxes(look: Look, image: NDArray[np.uint8], settings: PseudoSettings) -> Detections:
    """What a teacher finds on one picture, best first, in its pixels.

    Args:
        look: The teacher.
        image: (H, W, 3) uint8 BGR.
        settings: How it looks.
    """
    height, width = image.shape[:2]
    looks = []
    for grid in sorted(set(settings.grids)):
        tiles = tiles_of(width, height, grid, settings.overlap)
        looks.append((tiles, look_on_tiles(look, image, tiles, settings.doubtful, border=settings.border)))
    how = Merging(settings.merge_iou, settings.nested, settings.border, settings.certain)
    return merged(looks, how)


def find_pseudo_labels(
    look: Look,
    source: SampleSource,
    labels: Sequence[str],
    settings: PseudoSettings | None = None,
    *,
    exclude: frozenset[bytes] = frozenset(),
    progress: Progress | None = None,
) -> PseudoLabels:
    """Labels pictures.

    Args:
        look: The teacher: a ``Session`` on a bundle, or a ``TorchSession``.
        source: The pictures.
        labels: Class names by id.
        settings: How it looks.
        exclude: ``frame_digest`` of pictures that are judged on; they are left out.
        progress: Where to tell of it.

    Raises:
        DataError: A picture cannot be read, or none are left.
        SpecError: The teacher is no detector.
    """
    settings, progress = settings or PseudoSettings(), progress or SilentProgress()
    pictures: list[LabelledPicture] = []
    left_out = 0
    with progress.stage(f"labelling {source.title} by the teacher", source.estimate()) as advance:
        for sample in source:
            if frame_digest(sample.image) in exclude:
                left_out += 1
                continue
            size = (sample.image.shape[1], sample.image.shape[0])
            name = f"{source.path.stem}_{sample.index:06d}.png" if source.consecutive else sample.name
            pictures.append(LabelledPicture(name, size, find_boxes(look, sample.image, settings)))
            advance(len(pictures) + left_out)
    if not pictures:
        msg = f"{source.expression} leaves no pictures to label: all {left_out} are judged on; name others"
        raise DataError(msg)
    note = f"{left_out} pictures of {source.expression} are judged on and were left out"
    return PseudoLabels(tuple(pictures), settings, tuple(labels), (note,) if left_out else ())
