"""MobileNetV2 (Sandler et al. 2018) in PyTorch, for the ImageNet weights that torchvision published.

    edgewright optimize examples.classifier.model:factory --weights mobilenet_v2-b0353104.pth ...

The module names are those of the state dict, which is loaded strictly.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import torch  # noqa: TID253 - this module is a PyTorch network
from torch import nn  # noqa: TID253

from edgewright.optimize.errors import ModelError
from edgewright.optimize.spec import ClassifierOptions, SourceModel, classifier_spec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MobileNetV2", "factory"]

INPUT = 224
CLASSES = 1000
# (expansion, channels, repeats, first stride), table 2 of the paper
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def _conv(source: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(source, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU6())


class Block(nn.Module):
    """Inverted residual."""

    def __init__(self, source: int, out: int, stride: int, expansion: int) -> None:
        """Expands ``source`` channels, filters them one by one, projects to ``out``."""
        super().__init__()
        wide = source * expansion
        layers: list[nn.Module] = [_conv(source, wide)] if expansion > 1 else []
        layers += [_conv(wide, wide, 3, stride, wide), nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out)]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and source == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, source, h, w) to (N, out, h / stride, w / stride)."""
        y: torch.Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """The whole network: (N, 3, 224, 224) normalised RGB to (N, 1000) logits."""

    def __init__(self) -> None:
        """Builds it with untrained weights."""
        super().__init__()
        layers: list[nn.Module] = [_conv(3, 32, 3, 2)]
        source = 32
        for expansion, out, repeats, first in _STAGES:
            for index in range(repeats):
                layers.append(Block(source, out, first if index == 0 else 1, expansion))
                source = out
        self.features = nn.Sequential(*layers, _conv(source, 1280))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, CLASSES))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of the ImageNet classes."""
        pooled = self.features(image).mean((2, 3))
        logits: torch.Tensor = self.classifier(pooled)
        return logits


def factory(weights: Path | None = None) -> SourceModel:
    """The classifier, ready to be optimized; it comes without class names.

    Args:
        weights: ``mobilenet_v2-b0353104.pth`` as fetched by ``scripts/samples classifier``.

    Raises:
        ModelError: No weights were given, or they are not this network's.
    """
    if weights is None:
        msg = "the classifier needs --weights mobilenet_v2-b0353104.pth; `scripts/samples classifier` fetches it"
        raise ModelError(msg)
    module = MobileNetV2()
    try:
        # weights_only: a state dict is tensors, and nothing in the file is allowed to run
        module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), strict=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        msg = f"{weights} does not hold the weights of this MobileNetV2: {' '.join(str(error).split())[:300]}"
        raise ModelError(msg) from error
    spec = classifier_spec(ClassifierOptions(), name="mobilenet-v2", input_shape=(1, 3, INPUT, INPUT), scores="logits")
    return SourceModel(module.eval(), spec, ("logits",))
