"""A residual network for Fashion-MNIST (He et al. 2016), large enough that making it smaller pays, and a small one like it.

    edgewright optimize examples.fashion.residual:factory --weights residual.npz --recipe prune-int8 ...

``factory`` is the network that is pruned, and the teacher; ``student`` has the same
blocks with fewer channels, and less than a tenth of its multiplications.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch  # noqa: TID253 - this module is a PyTorch network
from torch import nn  # noqa: TID253

from edgewright.optimize.errors import ModelError
from examples.fashion.data import CLASSES
from examples.fashion.model import build, loaded

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.optimize.spec import SourceModel

__all__ = ["ResidualNet", "factory", "student"]

WIDTHS = (24, 48, 96)
"""Channels of the three stages of the large network."""
STUDENT_WIDTHS = (8, 16, 24)
"""Channels of the small one: less than a tenth of the multiplications."""
_BLOCKS = 2  # a stage


class Block(nn.Module):
    """Two 3x3 convolutions, added to what came in."""

    def __init__(self, source: int, out: int, stride: int) -> None:
        """From ``source`` to ``out`` channels."""
        super().__init__()
        self.first = nn.Conv2d(source, out, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(out)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(out)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or source != out:
            self.skip = nn.Sequential(nn.Conv2d(source, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, source, h, w) to (N, out, h / stride, w / stride)."""
        y = nn.functional.relu(self.first_norm(self.first(x)))
        return nn.functional.relu(self.second_norm(self.second(y)) + self.skip(x))


class ResidualNet(nn.Module):
    """The whole network: (N, 3, 28, 28) pictures, 0..1, to (N, 10) logits."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        """Builds it with untrained weights."""
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, 2, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        blocks: list[nn.Module] = []
        source = widths[0]
        for stage, width in enumerate(widths):
            for number in range(_BLOCKS):
                blocks.append(Block(source, width, 2 if stage and not number else 1))
                source = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(source, len(CLASSES))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of the ten classes."""
        x = nn.functional.relu(self.stem_norm(self.stem(image)))
        logits: torch.Tensor = self.classifier(self.blocks(x).mean((2, 3)))
        return logits


def factory(weights: Path | None = None) -> SourceModel:
    """The large network, ready to be made smaller.

    Args:
        weights: What ``python -m examples.fashion.train_residual`` wrote.

    Raises:
        ModelError: No weights were given, or they are not this network's.
    """
    if weights is None:
        msg = "the residual network needs --weights FILE; `python -m examples.fashion.train_residual` makes it"
        raise ModelError(msg)
    return build(loaded(ResidualNet(), weights), "fashion-residual")


def student(weights: Path | None = None) -> SourceModel:
    """The small network; untrained without weights.

    Args:
        weights: Of the same network, trained.

    Raises:
        ModelError: They are not this network's.
    """
    torch.manual_seed(1)
    module = ResidualNet(STUDENT_WIDTHS)
    return build(module if weights is None else loaded(module, weights), "fashion-student")
