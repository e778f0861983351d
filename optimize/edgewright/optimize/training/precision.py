"""Where it is trained, and in which numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.optimize.errors import TrainingError
from edgewright.optimize.training.settings import Device

if TYPE_CHECKING:
    import torch

    from edgewright.optimize.training.settings import TrainSettings

__all__ = ["Precision", "choose_device"]


def choose_device(wanted: Device) -> torch.device:
    """Where it is trained.

    Raises:
        TrainingError: CUDA is wanted and is not there.
    """
    import torch

    there = torch.cuda.is_available()
    if wanted is Device.CUDA and not there:
        msg = (
            "device is cuda, and PyTorch finds no CUDA here; say device auto or cpu, or mend what "
            "torch.cuda.is_available() needs: a driver and a PyTorch built for CUDA"
        )
        raise TrainingError(msg)
    return torch.device("cuda" if there and wanted is not Device.CPU else "cpu")


class Precision:
    """Mixed precision (Micikevicius et al. 2018): float16 with a scaled loss on CUDA, bfloat16 on the processor.

    Attributes:
        mixed: Whether it is used at all.
        scaler: Scales the loss, and skips steps whose gradients ran over; switched off where that is not needed.
    """

    def __init__(self, settings: TrainSettings, device: torch.device) -> None:
        """Decides it.

        Args:
            settings: What is wanted.
            device: Where it is trained.
        """
        import torch

        cuda = device.type == "cuda"
        self._device = device
        self.mixed = cuda if settings.mixed is None else settings.mixed
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.mixed and cuda)

    def forward(self) -> torch.autocast:
        """A context for the forward pass and the loss."""
        import torch

        half = torch.float16 if self._device.type == "cuda" else torch.bfloat16
        return torch.autocast(self._device.type, dtype=half, enabled=self.mixed)
