"""Kinds of PyTorch layers, as pruning tells them apart."""

from __future__ import annotations

from typing import Any

__all__ = ["is_depthwise", "is_norm", "is_weighted"]


def is_weighted(module: Any) -> bool:
    """Whether it is a convolution or a linear layer."""
    import torch

    plain = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Linear)
    turned = (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)
    return isinstance(module, (*plain, *turned))


def is_depthwise(module: Any) -> bool:
    """Whether it is a convolution that treats each channel alone."""
    return getattr(module, "groups", 1) > 1 and module.groups == module.out_channels == module.in_channels


def is_norm(module: Any) -> bool:
    """Whether it is a batch norm with a scale for each channel."""
    import torch

    kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    return isinstance(module, kinds) and module.weight is not None
