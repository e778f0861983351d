"""The files before and after a step, in the formats that are asked for: what the step promised of them and did not keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.manifest import Format
from edgewright.optimize.errors import ConversionError
from edgewright.optimize.pruning.figures import step_figures, tflite_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from edgewright.optimize.pruning.figures import StepFigures

__all__ = ["FileCheck", "check_pruned", "file_pairs"]


@dataclass(frozen=True)
class FileCheck:
    """A pruned network's files against those before.

    Attributes:
        figures: Of the files after the step.
        failed: What did not fall, by the format of the file; None for the network itself.
        notes: What could not be compared.
    """

    figures: StepFigures
    failed: Mapping[Format | None, tuple[str, ...]]
    notes: tuple[str, ...] = ()


def file_pairs(
    before: bytes, after: bytes, formats: Collection[Format]
) -> tuple[list[tuple[Format, bytes, bytes]], tuple[str, ...]]:
    """Files of two float graphs.

    Args:
        before: Prepared float ONNX file before the step.
        after: That of the step.
        formats: Of the files that are asked for.

    Returns:
        Format, file before and file after, and why a format is missing.
    """
    pairs = [(Format.ONNX, before, after)] if Format.ONNX in formats else []
    if Format.TFLITE not in formats:
        return pairs, ()
    try:
        return [*pairs, (Format.TFLITE, tflite_of(before), tflite_of(after))], ()
    except ConversionError as error:
        return pairs, (f"the TFLite files before and after this step were not compared: {error}",)


def check_pruned(label: str, before: bytes, after: bytes, formats: Collection[Format]) -> FileCheck:
    """Whether a step made the files smaller and faster.

    Args:
        label: Of the step.
        before: Prepared float ONNX file before it.
        after: That after it.
        formats: Of the files that are asked for.

    Raises:
        JudgeError: An engine refuses a file.
    """
    pairs, notes = file_pairs(before, after, formats)
    tflite = next(((first, second) for kind, first, second in pairs if kind is Format.TFLITE), None)
    _, figures = step_figures(label, before, after, tflite=tflite)
    failed: dict[Format | None, tuple[str, ...]] = {}
    for text in figures.failures:
        # A failure that is about one file names it.
        kind = next((kind for kind in Format if f"{kind.value} file" in text.lower()), None)
        if kind is None or kind in formats:
            failed[kind] = (*failed.get(kind, ()), text)
    return FileCheck(figures, failed, notes)
