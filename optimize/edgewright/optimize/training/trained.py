"""What a training came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Look", "Trained"]


@dataclass(frozen=True)
class Look:
    """How a training stood at one moment.

    Attributes:
        step: Steps done.
        loss: Mean since the look before.
        parts: The means of what it was added up from, by name.
        metric: Of the weights at this step, larger is better; None where nobody measures one.
        rate: Learning rate of the last step.
        seconds: Spent on training so far, over all runs that led here.
    """

    step: int
    loss: float
    parts: Mapping[str, float]
    metric: float | None
    rate: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {**asdict(self), "parts": dict(self.parts)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Look:
        """The inverse of ``to_json``.

        Raises:
            KeyError: A field is missing.
            TypeError: A field is no number.
            ValueError: Likewise.
        """
        parts = {str(name): float(part) for name, part in dict(value["parts"]).items()}
        metric = None if value["metric"] is None else float(value["metric"])
        rest = (float(value["rate"]), float(value["seconds"]))
        return cls(int(value["step"]), float(value["loss"]), parts, metric, *rest)


@dataclass(frozen=True)
class Trained:
    """What a training came to; the module that was given holds its weights.

    Attributes:
        steps: Done, over all runs that led here.
        epochs: Passes over the training pictures, parts of one included.
        history: Of every look.
        best_metric: Of the weights that the module now has; None where nobody measured one.
        stopped: Why it ended, in words.
        resumed_from: The step of the checkpoint that it went on from, 0 when it began anew.
        notes: What the user should know.
    """

    steps: int
    epochs: float
    history: tuple[Look, ...]
    best_metric: float | None
    stopped: str
    resumed_from: int = 0
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        history = [look.to_json() for look in self.history]
        return {**asdict(self), "history": history, "notes": list(self.notes)}
