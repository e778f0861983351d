"""EfficientNet-Lite0 in PyTorch, for the ImageNet weights that come as a wheel.

    edgewright optimize examples.efficientnet.model:factory --weights efficientnet-lite0-57934424.pth ...

The network is EfficientNet (Tan and Le 2019, table 1) without squeeze-and-excitation and with ReLU6 for swish, which is
what its authors changed for integer hardware. It was trained in TensorFlow: strided layers pad as TensorFlow does. The
module names are those of the state dict, which is loaded strictly.
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

__all__ = ["EfficientNetLite0", "factory"]

INPUT = 224
CLASSES = 1000
_STEM, _HEAD = 32, 1280
_EPSILON = 1e-3
# The training saw (pixel - 127) / 128.
_MEAN, _STD = 127.0 / 255.0, 128.0 / 255.0
# (expansion, channels, repeats, first stride, kernel), table 1 of the paper
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class _SameConv(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow's SAME does at one input side."""

    def __init__(self, source: int, out: int, *, kernel: int, stride: int, groups: int, side: int) -> None:
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        before, after = total // 2, total - total // 2
        padding = before if before == after else 0
        super().__init__(source, out, kernel, stride, padding, groups=groups, bias=False)
        # Constants: a graph whose pads depend on the input's shape could not be exported with fixed ones.
        self.around = None if before == after else (before, after, before, after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.around is not None:
            x = nn.functional.pad(x, self.around)
        return super().forward(x)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON)


class Block(nn.Module):
    """Inverted residual, with the names of the state dict."""

    def __init__(self, source: int, out: int, *, expansion: int, kernel: int, stride: int, side: int) -> None:
        """Expands ``source`` channels, filters them one by one, projects to ``out``; ``side`` is the input's."""
        super().__init__()
        wide = source * expansion
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = nn.Conv2d(source, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _SameConv(wide, wide, kernel=kernel, stride=stride, groups=wide, side=side)
        self._bn1 = _norm(wide)
        self._project_conv = nn.Conv2d(wide, out, 1, bias=False)
        self._bn2 = _norm(out)
        self.residual = stride == 1 and source == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, source, h, w) to (N, out, h / stride, w / stride)."""
        y: torch.Tensor = nn.functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = nn.functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """The whole network: (N, 3, 224, 224) normalised RGB to (N, 1000) logits."""

    def __init__(self) -> None:
        """Builds it with untrained weights."""
        super().__init__()
        self._conv_stem = _SameConv(3, _STEM, kernel=3, stride=2, groups=1, side=INPUT)
        self._bn0 = _norm(_STEM)
        self._blocks = nn.ModuleList()
        source, side = _STEM, INPUT // 2
        for expansion, out, repeats, first, kernel in _STAGES:
            for index in range(repeats):
                stride = first if index == 0 else 1
                self._blocks.append(Block(source, out, expansion=expansion, kernel=kernel, stride=stride, side=side))
                source, side = out, -(-side // stride)
        self._conv_head = nn.Conv2d(source, _HEAD, 1, bias=False)
        self._bn1 = _norm(_HEAD)
        self._fc = nn.Linear(_HEAD, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of the ImageNet classes."""
        x = nn.functional.relu6(self._bn0(self._conv_stem(image)))
        for block in self._blocks:
            x = block(x)
        x = nn.functional.relu6(self._bn1(self._conv_head(x)))
        logits: torch.Tensor = self._fc(x.mean((2, 3)))
        return logits


def factory(weights: Path | None = None) -> SourceModel:
    """The classifier, ready to be optimized; it comes without class names.

    Args:
        weights: ``efficientnet-lite0-57934424.pth`` as fetched by ``scripts/samples efficientnet``.

    Raises:
        ModelError: No weights were given, or they are not this network's.
    """
    if weights is None:
        msg = "EfficientNet-Lite0 needs --weights efficientnet-lite0-57934424.pth; `scripts/samples efficientnet` fetches it"
        raise ModelError(msg)
    module = EfficientNetLite0()
    try:
        # weights_only: a state dict is tensors, and nothing in the file is allowed to run
        module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), strict=True)
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, pickle.UnpicklingError) as error:
        # all of them are what PyTorch's reader makes of bytes that are no state dict
        msg = f"{weights} does not hold the weights of EfficientNet-Lite0: {' '.join(str(error).split())[:300]}"
        raise ModelError(msg) from error
    # The shorter side before the crop: 224 + 32, as its authors evaluate it.
    options = ClassifierOptions(mean=(_MEAN,) * 3, std=(_STD,) * 3, crop_from=INPUT + 32)
    spec = classifier_spec(options, name="efficientnet-lite0", input_shape=(1, 3, INPUT, INPUT), scores="logits")
    return SourceModel(module.eval(), spec, ("logits",))
