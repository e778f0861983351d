"""Small PyTorch networks with the structures that pruning has to cope with, and batches for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from edgewright.optimize.spec import ClassifierOptions, SourceModel, classifier_spec
from edgewright.optimize.training.types import Batch, Loss

if TYPE_CHECKING:
    from collections.abc import Iterator


def conv(source: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(source, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out), nn.ReLU()
    )


class Chain(nn.Module):
    """Two convolutions and a linear layer."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, 2, 1)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, 24, 3, 2, 1)
        self.out = nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> Any:
        return self.out(torch.relu(self.second(torch.relu(self.norm(self.first(x))))).mean((2, 3)))


class Residual(nn.Module):
    """Two residual blocks, the second with a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16)
        self.a, self.b = conv(16, 24), nn.Sequential(nn.Conv2d(24, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.c, self.d = conv(16, 32, stride=2), nn.Conv2d(32, 32, 3, padding=1)
        self.skip = nn.Conv2d(16, 32, 1, 2)
        self.out = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.stem(x)
        x = torch.relu(x + self.b(self.a(x)))
        x = torch.relu(self.skip(x) + self.d(self.c(x)))
        return self.out(x.mean((2, 3)))


class Concat(nn.Module):
    """A concatenated skip, a flattened head and a second head on the map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = conv(3, 16, stride=2), conv(16, 24, stride=2)
        self.up = nn.ConvTranspose2d(24, 16, 2, 2)
        self.join = conv(32, 24, 1)
        self.map = nn.Conv2d(24, 3, 1)
        self.flat = nn.Linear(24 * 16, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine = self.stem(x)
        y = self.join(torch.cat([fine, torch.relu(self.up(self.down(fine)))], 1))
        return self.map(y), self.flat(nn.functional.adaptive_avg_pool2d(y, 4).flatten(1))


class Gated(nn.Module):
    """Grouped convolutions, halves that gate one another, and a channel attention."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 32, stride=2)
        self.grouped = conv(32, 32, groups=2)
        self.split = nn.Conv2d(32, 48, 1)
        self.squeeze, self.excite = nn.Conv2d(24, 16, 1), nn.Conv2d(16, 24, 1)
        self.out = nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> Any:
        left, right = self.split(self.grouped(self.stem(x))).chunk(2, 1)
        y = left * torch.sigmoid(right)
        y = y * torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return self.out(y.mean((2, 3)))


class Branching(nn.Module):
    """Its path depends on the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = Chain()

    def forward(self, x: torch.Tensor) -> Any:
        return self.chain(x) if x.mean() > 0 else self.chain(-x)


def settled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and statistics of norms drawn, so that no channel is like another."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                assert part.running_mean is not None and part.running_var is not None  # noqa: PT018
                part.weight.copy_(torch.rand(part.weight.shape, generator=generator) + 0.5)
                part.bias.copy_(torch.randn(part.bias.shape, generator=generator) * 0.1)
                part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=generator) * 0.1)
                part.running_var.copy_(torch.rand(part.running_var.shape, generator=generator) + 0.5)
            elif isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                scale = (2.0 / part.weight[0].numel()) ** 0.5
                part.weight.copy_(torch.randn(part.weight.shape, generator=generator) * scale)
                if part.bias is not None:
                    part.bias.copy_(torch.randn(part.bias.shape, generator=generator) * 0.1)
    return module.eval()


def source_of(module: nn.Module, side: int = 16, outputs: tuple[str, ...] = ("scores",), seed: int = 0) -> SourceModel:
    spec = classifier_spec(ClassifierOptions(), name="small", input_shape=(1, 3, side, side), scores=outputs[0])
    return SourceModel(settled(module, seed), spec, outputs)


def batches(side: int = 16, count: int = 2, size: int = 8) -> Iterator[Batch]:
    rng = np.random.default_rng(5)
    for number in range(count):
        inputs = torch.from_numpy(rng.standard_normal((size, 3, side, side)).astype(np.float32))
        rows = np.arange(number * size, (number + 1) * size)
        yield Batch(inputs, rows, np.zeros(size, np.int64), torch.from_numpy(rng.integers(0, 3, size)))


class CrossEntropy:
    adapters = None

    def __call__(self, module: nn.Module, batch: Batch) -> Loss:
        assert batch.classes is not None
        return Loss(nn.functional.cross_entropy(module(batch.inputs), batch.classes))

    def describe(self) -> dict[str, Any]:
        return {"loss": "cross entropy"}
