"""What the trainer, the data sets and the objectives say to one another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["Batch", "Boxes", "Loss", "Objective", "Outputs", "TrainingSet"]

Outputs: TypeAlias = "tuple[torch.Tensor, ...]"
"""What a module answers, in the order of ``SourceModel.output_names``; always a tuple."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """The labelled objects of one picture.

    Attributes:
        corners: (n, 4) float32 ``x1, y1, x2, y2``, as parts of width and height of what the network sees, 0..1.
        classes: (n,) int64, positions in the spec's labels.
        weights: (n,) float32, how much each counts, 1 where nothing is known against it.
    """

    corners: NDArray[np.float32]
    classes: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures of one step.

    Attributes:
        inputs: (n, 3, H, W) float32, prepared as the bundle prepares them (n, H, W, 3 for a network that takes that).
        rows: (n,) int64, which pictures of the training set these are.
        views: (n,) int64, which of the set's distortions each was given, 0 for none; (row, view) names an input, so
            that what a teacher says of it can be remembered.
        classes: (n,) int64, -1 where there is no label; None for a set without classes.
        boxes: Of each picture; None for a set without boxes, and an entry is None where nobody labelled that picture.
    """

    inputs: torch.Tensor
    rows: NDArray[np.int64]
    views: NDArray[np.int64]
    classes: torch.Tensor | None = None
    boxes: Sequence[Boxes | None] | None = None

    def to(self, device: torch.device) -> Batch:
        """The same with its tensors on ``device``."""
        classes = None if self.classes is None else self.classes.to(device)
        return Batch(self.inputs.to(device), self.rows, self.views, classes, self.boxes)


@dataclass(frozen=True, eq=False)
class Loss:
    """What is to become small.

    Attributes:
        total: One number, with its graph.
        parts: The numbers it was added up from, by name, for people.
    """

    total: torch.Tensor
    parts: Mapping[str, float] = field(default_factory=dict)


class TrainingSet(Protocol):
    """Pictures that can be asked for by number."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def batch(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Some of them, distorted as ``rng`` says; the same rows and the same generator give the same batch."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 over the pictures, their labels, and how they are prepared and distorted."""
        ...


class Objective(Protocol):
    """What the trainer makes small.

    Attributes:
        adapters: Layers that the objective learns beside the network, such as those that match the width of features;
            None without any. They are trained and kept in checkpoints, and are no part of what is exported.
    """

    adapters: torch.nn.Module | None

    def __call__(self, module: torch.nn.Module, batch: Batch) -> Loss:
        """Runs the module on the batch and says how far off it is."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON values: everything that determines it, for the key of a checkpoint and for the report."""
        ...
