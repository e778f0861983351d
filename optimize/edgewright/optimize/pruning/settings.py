"""What is to be pruned, how far, and how it is chosen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from edgewright.optimize.errors import SpecError

__all__ = ["THIS_MACHINE", "Importance", "PruneSettings", "PruneTarget", "Ratios", "TargetKind"]

THIS_MACHINE = "this machine"


class TargetKind(str, Enum):
    """What shall become smaller."""

    MACS = "macs"
    BYTES = "bytes"
    LATENCY = "latency"


class Importance(str, Enum):
    """By what a channel is kept; scores of coupled layers are added up."""

    L1 = "l1"
    """Sum of the absolute weights that make and read the channel."""
    L2 = "l2"
    """The same with squares (Fang et al. 2023, "DepGraph")."""
    BN = "bn"
    """Scale of the batch norms on the channel (Liu et al. 2017, "Network Slimming")."""
    TAYLOR = "taylor"
    """Squared first-order change of the loss when the channel goes (Molchanov et al. 2019)."""
    ACTIVATION = "activation"
    """Mean absolute value that reaches the layers reading it."""
    APOZ = "apoz"
    """How often it is not zero there (Hu et al. 2016, "Network Trimming")."""

    @property
    def needs_batches(self) -> bool:
        """Whether pictures are run through the network for it."""
        return self in (Importance.TAYLOR, Importance.ACTIVATION, Importance.APOZ)


class Ratios(str, Enum):
    """How the work is shared out between layers."""

    UNIFORM = "uniform"
    """Every group keeps the same share of its channels."""
    GLOBAL = "global"
    """One ranking over the whole network."""
    SENSITIVITY = "sensitivity"
    """More from the groups whose loss rises least for what they save."""


@dataclass(frozen=True)
class PruneTarget:
    """What shall remain, as a share of the network as it came; exactly one is given.

    Attributes:
        macs: Of the multiplications.
        bytes: Of the weights' bytes.
        latency: Of the milliseconds of the float file in ONNX Runtime.
        machine: Where the latency counts.
    """

    macs: float | None = None
    bytes: float | None = None
    latency: float | None = None
    machine: str = THIS_MACHINE

    def __post_init__(self) -> None:
        """Refuses what cannot be aimed at.

        Raises:
            SpecError: None or several are given, or one is no share, or the latency is that of another machine.
        """
        given = {kind.value: getattr(self, kind.value) for kind in TargetKind if getattr(self, kind.value) is not None}
        if len(given) != 1:
            msg = f"a pruning target is one of macs, bytes and latency; {', '.join(given) or 'none'} was given"
            raise SpecError(msg)
        name, share = next(iter(given.items()))
        if not 0.0 < share < 1.0:
            msg = f"{name} is {share}; give the share that shall remain, between 0 and 1, such as 0.5"
            raise SpecError(msg)
        if self.latency is not None and self.machine != THIS_MACHINE:
            msg = (
                f"the latency of {self.machine!r} cannot be aimed at from here: nothing was measured on it. Give the "
                f"target as macs or bytes, or prune on that machine with machine={THIS_MACHINE!r}"
            )
            raise SpecError(msg)

    @property
    def kind(self) -> TargetKind:
        """Which of them."""
        return next(kind for kind in TargetKind if getattr(self, kind.value) is not None)

    @property
    def share(self) -> float:
        """How much of it shall remain."""
        return float(getattr(self, self.kind.value))


@dataclass(frozen=True)
class PruneSettings:
    """How a network is pruned.

    Attributes:
        target: How far.
        importance: Which channels stay.
        ratios: How many stay in which layer.
        round_to: Channels are kept in multiples of this; kernels like 8.
        rounds: Steps, with fine-tuning between them; the shares form a geometric series.
        most: Largest share of one group's channels that may go.
        keep: Patterns of module names (``fnmatch``) whose output channels stay.
        threads: Of the engine where latency is measured.
        seed: Of the input that removals are proved on.
    """

    target: PruneTarget
    importance: Importance = Importance.L2
    ratios: Ratios = Ratios.GLOBAL
    round_to: int = 8
    rounds: int = 1
    most: float = 0.8
    keep: tuple[str, ...] = field(default=())
    threads: int = 1
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuses what cannot be done.

        Raises:
            SpecError: Naming the setting.
        """
        for name in ("round_to", "rounds", "threads"):
            if getattr(self, name) < 1:
                msg = f"{name} is {getattr(self, name)}; give 1 or more"
                raise SpecError(msg)
        if not 0.0 < self.most < 1.0:
            msg = f"most is {self.most}; give the largest share of a layer's channels that may go, between 0 and 1"
            raise SpecError(msg)

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        target = {self.target.kind.value: self.target.share}
        if self.target.kind is TargetKind.LATENCY:
            target["machine"] = self.target.machine  # type: ignore[assignment]
        rest = {key: value.value if isinstance(value, Enum) else value for key, value in asdict(self).items()}
        return {**rest, "target": target, "keep": list(self.keep)}
