"""What the workstation half raises on purpose.

The tree::

    EdgewrightError                exit code 2 unless a subclass says otherwise
    +-- OptimizeError
        +-- ModelError             the source model cannot be read, exported, or trusted
        |   +-- PassError          a graph pass changed what the model computes, or broke the graph
        |   +-- ConversionError    the model cannot be written in another format
        +-- SpecError              the description of pre- and postprocessing is wrong or does not fit the model
        +-- DataError              calibration or evaluation pictures cannot be used
        |   +-- LabelsError        labels are malformed or do not belong to the pictures
        +-- JudgeError             a candidate could not be measured (it crashed, or hung, or gave nonsense)
        +-- TrainingError          a training cannot start or go on (its loss is no number, there is no room, ...)

A failed or inconclusive contract is a result, not an error: see ``Verdict``.
"""

from __future__ import annotations

from edgewright.bundle.errors import EdgewrightError
from edgewright.bundle.text import plain

__all__ = [
    "ConversionError",
    "DataError",
    "JudgeError",
    "LabelsError",
    "ModelError",
    "OptimizeError",
    "PassError",
    "SpecError",
    "TrainingError",
]


class OptimizeError(EdgewrightError):
    """Something in the workstation half that the person at the keyboard can act on."""

    def __str__(self) -> str:
        """The message, safe to show: it may hold names out of a model's file."""
        return plain(super().__str__())


class ModelError(OptimizeError):
    """The source model cannot be read, exported or trusted."""


class PassError(ModelError):
    """A graph pass changed what the model computes, or left a graph that does not check."""


class ConversionError(ModelError):
    """The model cannot be written in another format, such as TFLite.

    Attributes:
        reason: What cannot be written, and why; the message without the remedy.
    """

    def __init__(self, reason: str, *, remedy: str = "") -> None:
        """Says why, and what to do.

        Args:
            reason: See the attribute.
            remedy: What helps whatever the model was loaded from; empty where the reason says it.
        """
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.reason = reason


class SpecError(OptimizeError):
    """The description of pre- and postprocessing is wrong, or does not fit the model."""


class DataError(OptimizeError):
    """Calibration or evaluation pictures cannot be used."""


class LabelsError(DataError):
    """Labels are malformed, or do not belong to the pictures."""


class JudgeError(OptimizeError):
    """A candidate could not be measured: it crashed, hung, or answered nonsense."""


class TrainingError(OptimizeError):
    """A training cannot start or go on: its loss is not a number, or there is no room for checkpoints.

    Attributes:
        step: Where it stopped, from 1; None where it did not begin.
    """

    def __init__(self, message: str, *, step: int | None = None) -> None:
        """Says why, and what to do.

        Args:
            message: For the person at the keyboard.
            step: See the attribute.
        """
        super().__init__(message)
        self.step = step
