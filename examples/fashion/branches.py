"""The training form of the network: every convolution is a sum of branches, each with a batch norm of its own.

MobileOne (Vasu et al. 2023), figure 3, with one branch of each kind. After training the branches are folded into the one
convolution that the network is shipped with; both forms compute the same function.
"""

from __future__ import annotations

import torch  # noqa: TID253 - this module is a PyTorch network
from torch import nn  # noqa: TID253

from examples.fashion.data import CLASSES
from examples.fashion.model import BLOCKS, STEM, STRIDE, DepthwiseNet

__all__ = ["BranchedNet", "Branches", "fold"]


class Branches(nn.Module):
    """A convolution, for depthwise ones a 1x1 beside it, and where shapes allow the identity; then ReLU."""

    def __init__(self, source: int, out: int, kernel: int, stride: int, *, depthwise: bool) -> None:
        """Branches from ``source`` to ``out`` channels."""
        super().__init__()
        groups = source if depthwise else 1
        kernels = (kernel, 1) if depthwise else (kernel,)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(source, out, side, stride, side // 2, groups=groups, bias=False) for side in kernels
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(out) for _ in kernels)
        self.identity = nn.BatchNorm2d(out) if source == out and stride == 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, source, h, w) to (N, out, h / stride, w / stride)."""
        y = torch.stack([norm(conv(x)) for conv, norm in zip(self.convolutions, self.norms, strict=True)]).sum(0)
        if self.identity is not None:
            y = y + self.identity(x)
        return nn.functional.relu(y)

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights and bias of the one convolution that computes the same in evaluation mode, before ReLU."""
        pairs = zip(self.convolutions, self.norms, strict=True)
        parts = [_fold_norm(conv.weight, norm) for conv, norm in pairs if isinstance(conv.weight, torch.Tensor)]
        kernel = parts[0][0]
        if self.identity is not None:
            channels, inputs = kernel.shape[:2]
            one = torch.zeros(channels, inputs, 1, 1)
            one[range(channels), [0 if inputs == 1 else index for index in range(channels)]] = 1.0
            parts.append(_fold_norm(one, self.identity))
        centre = kernel.shape[-1] // 2
        weights, bias = kernel.clone(), parts[0][1].clone()
        for small, shift in parts[1:]:
            weights[:, :, centre, centre] += small[:, :, 0, 0]
            bias += shift
        return weights, bias


class BranchedNet(nn.Module):
    """The whole network as it is trained: (N, 3, 28, 28) pictures, 0..1, to (N, 10) logits."""

    def __init__(self) -> None:
        """Builds it with untrained weights."""
        super().__init__()
        layers: list[nn.Module] = [Branches(3, STEM, 3, STRIDE, depthwise=False)]
        source = STEM
        for channels, stride in BLOCKS:
            layers += [Branches(source, source, 3, stride, depthwise=True)]
            layers += [Branches(source, channels, 1, 1, depthwise=False)]
            source = channels
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(source, len(CLASSES))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of the ten classes."""
        logits: torch.Tensor = self.classifier(self.features(image).mean((2, 3)))
        return logits


def fold(trained: BranchedNet) -> DepthwiseNet:
    """The inference form of a trained network.

    Args:
        trained: In evaluation mode.

    Returns:
        A network that computes the same with one convolution for each set of branches.
    """
    network = DepthwiseNet().eval()
    with torch.no_grad():
        slots = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
        sets = [layer for layer in trained.features if isinstance(layer, Branches)]
        for slot, branches in zip(slots, sets, strict=True):
            weights, bias = branches.folded()
            slot.weight.copy_(weights)
            if slot.bias is not None:
                slot.bias.copy_(bias)
        network.classifier.load_state_dict(trained.classifier.state_dict())
    return network


def _fold_norm(weights: torch.Tensor, norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    state = norm.state_dict()
    scale = state["weight"] / torch.sqrt(state["running_var"] + nn.BatchNorm2d(1).eps)
    shift: torch.Tensor = state["bias"] - state["running_mean"] * scale
    return (weights * scale[:, None, None, None]).detach(), shift
