"""A small depthwise network for Fashion-MNIST in PyTorch, and the factory that the optimizer takes.

    edgewright optimize examples.fashion.model:factory --weights fashion.npz ...

The inference form of MobileOne (Vasu et al. 2023): a stack of depthwise 3x3 and pointwise 1x1 convolutions with ReLU, into
which the branches of the training form (``examples.fashion.branches``) were folded. Networks folded from branches are
known to suffer from plain quantization (Chu et al. 2022, "Make RepVGG Greater Again"): a branch that is an identity with
batch norm puts its gain on the diagonal of a kernel, and where a channel never fires that gain is huge. Behind it a bias
becomes a constant, which the next kernel multiplies by a huge weight and takes back by its own bias: integers cannot.
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

__all__ = ["BLOCKS", "RECIPE_KEY", "STEM", "STRIDE", "DepthwiseNet", "build", "factory", "load_weights", "loaded"]

RECIPE_KEY = "recipe"
"""Entry of the weights file that is no weight: the digest of how they were trained, as bytes."""

STEM = 16
STRIDE = 2
"""Of the stem."""
BLOCKS = ((16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (32, 1))
"""(channels, stride) of each pair of a depthwise and a pointwise convolution."""


class DepthwiseNet(nn.Module):
    """The whole network: (N, 3, 28, 28) pictures, 0..1, to (N, 10) logits."""

    def __init__(self) -> None:
        """Builds it with untrained weights."""
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, STEM, 3, STRIDE, 1), nn.ReLU()]
        source = STEM
        for channels, stride in BLOCKS:
            layers += [nn.Conv2d(source, source, 3, stride, 1, groups=source), nn.ReLU()]
            layers += [nn.Conv2d(source, channels, 1), nn.ReLU()]
            source = channels
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(source, len(CLASSES))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of the ten classes."""
        logits: torch.Tensor = self.classifier(self.features(image).mean((2, 3)))
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
    return build(loaded(DepthwiseNet(), weights), "fashion-depthwise")


def loaded(module: nn.Module, weights: Path) -> nn.Module:
    """A network with the weights of a file.

    Raises:
        ModelError: They are not this network's.
    """
    try:
        module.load_state_dict(load_weights(weights), strict=True)
    except RuntimeError as error:
        msg = f"{weights} does not hold the weights of this network: {' '.join(str(error).split())[:300]}"
        raise ModelError(msg) from error
    return module


def build(module: nn.Module, name: str) -> SourceModel:
    """A network with how it is fed and read: pictures 0..1, logits out."""
    options = ClassifierOptions(
        resize=ResizeMode.STRETCH, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), labels=CLASSES, top_k=len(CLASSES)
    )
    spec = classifier_spec(options, name=name, input_shape=(1, 3, SIDE, SIDE), scores="logits")
    return SourceModel(module.eval(), spec, ("logits",))
