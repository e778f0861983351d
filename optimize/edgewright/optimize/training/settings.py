"""How something is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from edgewright.optimize.errors import SpecError

__all__ = ["Device", "OptimizerName", "Schedule", "TrainSettings"]


class OptimizerName(str, Enum):
    """Which optimizer."""

    ADAMW = "adamw"
    SGD = "sgd"


class Schedule(str, Enum):
    """How the learning rate goes after the warm-up."""

    COSINE = "cosine"
    CONSTANT = "constant"
    LINEAR = "linear"


class Device(str, Enum):
    """Where it is trained; ``auto`` takes CUDA when it is there."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class TrainSettings:
    """How something is trained; the defaults suit fine-tuning.

    Attributes:
        epochs: Passes over the training pictures; parts of one are fine.
        batch: Pictures a step.
        rate: Largest learning rate.
        optimizer: AdamW, or SGD with Nesterov momentum.
        momentum: Of SGD.
        weight_decay: Not applied to biases and norms; decoupled in AdamW (Loshchilov & Hutter 2019).
        schedule: How the rate falls after the warm-up, to ``floor`` times ``rate``.
        floor: See ``schedule``.
        warmup: Part of all steps over which the rate rises from nearly nothing.
        clip: Longest gradient (2-norm over all parameters); 0 lets all pass.
        ema: Decay of the running mean of weights that is kept in their place, 0 for none. It is corrected for the
            start, so that a short run is not held back by its first weights.
        average_norms: Whether batch norms go on following the pictures (True), or keep their statistics (False).
        mixed: Mixed precision; None uses it on CUDA only.
        device: Where.
        threads: Of the processor; None leaves PyTorch's own choice.
        seed: Of order, distortions and everything else drawn.
        checkpoint_minutes: Between checkpoints.
        evaluations: How often the metric is looked at while it trains, evenly spread, the end included; 0 never.
        patience: Stop after so many looks in a row without a better metric; None never stops for that.
    """

    epochs: float = 4.0
    batch: int = 64
    rate: float = 1e-3
    optimizer: OptimizerName = OptimizerName.ADAMW
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Schedule = Schedule.COSINE
    floor: float = 0.01
    warmup: float = 0.05
    clip: float = 10.0
    ema: float = 0.0
    average_norms: bool = True
    mixed: bool | None = None
    device: Device = Device.AUTO
    threads: int | None = None
    seed: int = 1
    checkpoint_minutes: float = 3.0
    evaluations: int = 5
    patience: int | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be trained with.

        Raises:
            SpecError: Naming the setting.
        """
        for name, low, high in (
            ("epochs", 0.0, 1e5),
            ("rate", 0.0, 1e3),
            ("momentum", 0.0, 1.0),
            ("weight_decay", 0.0, 10.0),
            ("floor", 0.0, 1.0),
            ("warmup", 0.0, 1.0),
            ("clip", 0.0, 1e9),
            ("ema", 0.0, 1.0),
            ("checkpoint_minutes", 0.0, 1e4),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"{name} is {value}; it must lie between {low:g} and {high:g}"
                raise SpecError(msg)
        for name, least in (("batch", 1), ("seed", 0), ("evaluations", 0), ("patience", 1), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                msg = f"{name} is {value}; give {least} or more"
                raise SpecError(msg)
        if self.epochs == 0 or self.rate == 0:
            msg = f"epochs {self.epochs:g} and rate {self.rate:g}: nothing would be trained; give more than 0"
            raise SpecError(msg)

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {key: value.value if isinstance(value, Enum) else value for key, value in asdict(self).items()}
