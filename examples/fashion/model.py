"""A small depthwise network for Fashion-MNIST in PyTorch, and the factory that the optimizer takes.

    edgewright optimize examples.fashion.model:factory --weights fashion.npz ...

Separable convolutions as in Xception (Chollet 2017): a depthwise 3x3 and a pointwise 1x1 without anything between them,
then batch norm and ReLU. Nothing holds the scales of the channels between the two together, and training lets them
drift apart; one 8-bit scale for all of them then leaves the weak ones a few levels. That makes it a network that plain
min-max quantization breaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch  # noqa: TID253 - this module is a PyTorch network
from torch import nn  # noqa: TID253

from edgewright.bundle.arrays import read_npz
from edgewright.bundle.errors import EdgewrightError
from edgewright.bundle.manifest import ResizeMode
from edgewright.optimize.errors import ModelError
from edgewright.optimize.spec import ClassifierOptions, SourceModel, classifier_spec
from examples.fashion.data import CLASSES, SIDE

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RECIPE_KEY", "DepthwiseNet", "factory", "load_weights"]

RECIPE_KEY = "recipe"
"""Entry of the weights file that is no weight: the digest of how they were trained, as bytes."""

STEM = 16
# (channels, stride)
_BLOCKS = ((16, 2), (32, 1), (32, 2), (32, 1), (32, 1), (32, 1))


class Separable(nn.Module):
    """Depthwise 3x3, pointwise 1x1, batch norm, ReLU."""

    def __init__(self, source: int, out: int, stride: int) -> None:
        """Filters ``source`` channels one by one, then mixes them to ``out``."""
        super().__init__()
        self.depthwise = nn.Conv2d(source, source, 3, stride, 1, groups=source, bias=False)
        self.pointwise = nn.Conv2d(source, out, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, source, h, w) to (N, out, h / stride, w / stride)."""
        y: torch.Tensor = nn.functional.relu(self.norm(self.pointwise(self.depthwise(x))))
        return y


class DepthwiseNet(nn.Module):
    """The whole network: (N, 3, 28, 28) pictures, 0..1, to (N, 10) logits."""

    def __init__(self) -> None:
        """Builds it with untrained weights."""
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, STEM, 3, 1, 1, bias=False), nn.BatchNorm2d(STEM), nn.ReLU())
        layers, source = [], STEM
        for channels, stride in _BLOCKS:
            layers.append(Separable(source, channels, stride))
            source = channels
        self.blocks = nn.Sequential(*layers)
        self.classifier = nn.Linear(source, len(CLASSES))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of the ten classes."""
        logits: torch.Tensor = self.classifier(self.blocks(self.stem(image)).mean((2, 3)))
        return logits


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a file that ``examples.fashion.train`` wrote; plain arrays, nothing in it can run.

    Raises:
        ModelError: It cannot be read.
    """
    try:
        arrays = read_npz(path.read_bytes(), str(path))
    except OSError as error:
        msg = f"cannot read the weights {path}: {error.strerror or error}"
        raise ModelError(msg) from error
    except EdgewrightError as error:
        msg = f"{path} is no weights file of examples.fashion.train: {error}"
        raise ModelError(msg) from error
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items() if name != RECIPE_KEY}


def factory(weights: Path | None = None) -> SourceModel:
    """The classifier, ready to be optimized.

    Args:
        weights: What ``python -m examples.fashion.train`` wrote.

    Raises:
        ModelError: No weights were given, or they are not this network's.
    """
    if weights is None:
        msg = "the Fashion-MNIST classifier needs --weights FILE; `python -m examples.fashion.train` makes it"
        raise ModelError(msg)
    module = DepthwiseNet()
    try:
        module.load_state_dict(load_weights(weights), strict=True)
    except RuntimeError as error:
        msg = f"{weights} does not hold the weights of this network: {' '.join(str(error).split())[:300]}"
        raise ModelError(msg) from error
    options = ClassifierOptions(
        resize=ResizeMode.STRETCH, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), labels=CLASSES, top_k=len(CLASSES)
    )
    shape = (1, 3, SIDE, SIDE)
    spec = classifier_spec(options, name="fashion-depthwise", input_shape=shape, scores="logits")
    return SourceModel(module.eval(), spec, ("logits",))
