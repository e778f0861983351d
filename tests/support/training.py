"""A small training on real pictures: a slice of Fashion-MNIST, tiny networks, and cross entropy.

    python tests/support/training.py FOLDER

trains as the tests do and says on standard output which steps are done, for tests that kill it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from examples.fashion.data import load_split

from edgewright.optimize.training.settings import TrainSettings
from edgewright.optimize.training.types import Batch, Loss

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURES = 320


def fashion_folder() -> Path:
    """Where `scripts/samples fashion` keeps it."""
    chosen = os.environ.get("EDGEWRIGHT_SAMPLES")
    if chosen:
        return Path(chosen) / "fashion"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgewright" / "samples" / "fashion"


class Pictures:
    """The first test pictures of Fashion-MNIST, shifted by up to two pixels."""

    def __init__(self, count: int = PICTURES) -> None:
        split = load_split(fashion_folder(), "t10k")
        self.images: NDArray[np.float32] = (split.images[:count] / np.float32(255) - np.float32(0.3))[:, None]
        self.labels = split.labels[:count]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        shifts = rng.integers(-2, 3, (len(rows), 2))
        moved = [np.roll(self.images[row], tuple(shift), (1, 2)) for row, shift in zip(rows, shifts, strict=True)]
        classes = torch.from_numpy(self.labels[rows])
        return Batch(torch.from_numpy(np.stack(moved)), rows, np.zeros_like(rows), classes)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()


class CrossEntropy:
    """Cross entropy, with a learned temperature as its adapter where one is wanted."""

    def __init__(self, adapters: torch.nn.Module | None = None) -> None:
        self.adapters = adapters

    def __call__(self, module: torch.nn.Module, batch: Batch) -> Loss:
        logits = module(batch.inputs)
        if self.adapters is not None:
            logits = self.adapters(logits)
        assert batch.classes is not None
        total = torch.nn.functional.cross_entropy(logits, batch.classes)
        return Loss(total, {"classes": float(total.detach())})

    def describe(self) -> dict[str, Any]:
        return {"kind": "cross entropy"}


def tiny_net(seed: int = 0) -> torch.nn.Module:
    """Convolution, batch norm, dropout: whatever a resume could get wrong."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False),
            torch.nn.BatchNorm2d(8),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.2),
            torch.nn.Flatten(),
            torch.nn.Linear(8 * 49, 10),
        )


def top1(pictures: Pictures) -> Any:
    """The share of ``pictures`` that a module gets right."""
    inputs, labels = torch.from_numpy(pictures.images), torch.from_numpy(pictures.labels)

    def measured(module: torch.nn.Module) -> float:
        return float((module(inputs).argmax(1) == labels).float().mean())

    return measured


def weights_of(module: torch.nn.Module) -> dict[str, bytes]:
    """Every value to the last bit."""
    return {name: value.detach().numpy().tobytes() for name, value in module.state_dict().items()}


SETTINGS = TrainSettings(
    epochs=4, batch=32, rate=0.01, ema=0.9, threads=1, evaluations=4, checkpoint_minutes=60, seed=5
)
"""Forty steps, a look after every tenth, no checkpoint unless somebody stops it."""

OFTEN = replace(SETTINGS, checkpoint_minutes=0)
"""The same with a checkpoint after every step, which changes no weight."""


def main() -> None:
    """Trains as the tests do; says after every step which it was."""
    from edgewright.optimize.progress import PlainProgress
    from edgewright.optimize.training.trainer import Trainer

    pictures = Pictures()
    Trainer(OFTEN, folder=Path(sys.argv[1]), progress=PlainProgress()).fit(
        tiny_net(),
        pictures,
        CrossEntropy(),
        title="kill me",
        evaluate=top1(pictures),
        hooks=[said],
    )


def said(_module: torch.nn.Module, step: int, _steps: int) -> None:
    """A hook that tells of every step."""
    sys.stdout.write(f"{step}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
