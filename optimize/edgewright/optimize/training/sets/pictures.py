"""Pictures in memory with their labels, given out in distorted and normalised batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.manifest import Layout
from edgewright.optimize.training.sets.distort import Distort, distorted
from edgewright.optimize.training.sets.prepare import Normalizer
from edgewright.optimize.training.sets.store import StorePart
from edgewright.optimize.training.sets.truths import transformed
from edgewright.optimize.training.types import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.spec import ModelSpec
    from edgewright.optimize.training.sets.store import PictureStore
    from edgewright.optimize.training.types import Boxes

__all__ = ["Held", "PictureSet"]


@dataclass(frozen=True, eq=False)
class Held:
    """What a training set is made of.

    Attributes:
        store: The fitted pictures.
        names: Of each, for people.
        classes: (n,) int64, -1 where unknown; None for a set without classes.
        boxes: Of each; None for a set without boxes.
        digest: SHA-256 over pictures and labels.
        notes: What was odd.
        indices: (n,) ``Sample.index`` of each; None where they come from a factory.
        spacing_s: Seconds from one index to the next where they are a film's; None for unrelated pictures.
    """

    store: PictureStore | StorePart
    names: Sequence[str]
    classes: NDArray[np.int64] | None
    boxes: Sequence[Boxes | None] | None
    digest: str
    notes: tuple[str, ...] = ()
    indices: NDArray[np.int64] | None = None
    spacing_s: float | None = None


class PictureSet:
    """A ``TrainingSet`` over pictures in memory."""

    def __init__(self, held: Held, spec: ModelSpec, distort: Distort) -> None:
        """Nothing is read; see ``open_training_set``.

        Args:
            held: The pictures and labels.
            spec: How pictures enter the network.
            distort: What happens to them.
        """
        self._held, self._spec, self._distort = held, spec, distort
        self._normalize = Normalizer(spec.preprocess)

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self._held.store)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was odd about pictures or labels, in words."""
        return self._held.notes

    @property
    def names(self) -> Sequence[str]:
        """What to call each picture."""
        return self._held.names

    @property
    def indices(self) -> NDArray[np.int64] | None:
        """(n,) ``Sample.index`` of each in its source; None where they come from a factory."""
        return self._held.indices

    @property
    def spacing_s(self) -> float | None:
        """Seconds from one index to the next where the pictures are a film's; None for unrelated pictures."""
        return self._held.spacing_s

    @property
    def classes(self) -> NDArray[np.int64] | None:
        """(n,) class of each picture, -1 where unknown; None for a set without classes."""
        return self._held.classes

    @property
    def boxes(self) -> Sequence[Boxes | None] | None:
        """Boxes of each picture, None where nobody labelled it; None for a set without boxes."""
        return self._held.boxes

    @property
    def labelled(self) -> int:
        """How many pictures have labels."""
        if self._held.classes is not None:
            return int((self._held.classes >= 0).sum())
        return sum(boxes is not None for boxes in self._held.boxes or ())

    @property
    def distort(self) -> Distort:
        """What happens to the pictures."""
        return self._distort

    @property
    def digest(self) -> str:
        """SHA-256 over the pictures, their labels, and how they are prepared and distorted."""
        settings = repr((self._spec.preprocess, self._spec.layout, sorted(self._distort.to_json().items())))
        return sha256_hex(f"{self._held.digest} {settings}".encode())

    def undistorted(self) -> PictureSet:
        """The same pictures as they are, for looking at how good a network is; no memory is taken."""
        return PictureSet(self._held, self._spec, Distort.none())

    def part(self, rows: NDArray[np.int64]) -> PictureSet:
        """Some of the pictures, numbered anew from 0; no memory is taken.

        Args:
            rows: Their numbers here, in order.
        """
        held = self._held
        some = Held(
            StorePart(held.store, rows),
            [held.names[row] for row in rows],
            None if held.classes is None else held.classes[rows],
            None if held.boxes is None else [held.boxes[row] for row in rows],
            sha256_hex(f"{held.digest} {','.join(map(str, rows))}".encode()),
            held.notes,
            None if held.indices is None else held.indices[rows],
            held.spacing_s,
        )
        return PictureSet(some, self._spec, self._distort)

    def batch(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Some pictures, distorted as ``rng`` says; the same rows and the same generator give the same batch.

        Args:
            rows: (n,) numbers of pictures.
            rng: Where chance comes from.
        """
        import torch

        rows = np.asarray(rows, np.int64)
        made = distorted(self._held.store.take(rows), self._distort, rng)
        values: NDArray[Any] = self._normalize(made.planes)
        if self._spec.layout is Layout.NHWC:
            values = np.ascontiguousarray(values.transpose(0, 2, 3, 1))
        classes = None if self._held.classes is None else torch.from_numpy(self._held.classes[rows])
        return Batch(torch.from_numpy(values), rows, made.views, classes, self._boxes(rows, made.matrices))

    def _boxes(self, rows: NDArray[np.int64], matrices: NDArray[np.float64]) -> list[Boxes | None] | None:
        held = self._held.boxes
        if held is None:
            return None
        size = (self._spec.preprocess.width, self._spec.preprocess.height)
        still = np.eye(2, 3)
        found: list[Boxes | None] = []
        for row, matrix in zip(rows, matrices, strict=True):
            boxes = held[row]
            moved = boxes is not None and len(boxes.corners) and not (matrix == still).all()
            found.append(transformed(boxes, matrix, size) if boxes is not None and moved else boxes)
        return found
