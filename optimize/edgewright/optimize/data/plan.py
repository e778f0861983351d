"""Which pictures serve which purpose, so that nothing is judged on what it was calibrated on.

Three disjoint roles: *calibration* sets the integer ranges, *labelled* pictures give accuracy, *agreement* pictures
compare INT8 with float. A picture is known by its pixels, whatever it is called:

- A labelled picture is left out of calibration and agreement, with a note.
- A calibration picture is left out of agreement, with a note; when that would take most of them, it is an error.
- Without agreement pictures, the labelled ones serve; without those either, every third calibration picture does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.manifest import Task
from edgewright.optimize.data.digest import frame_digest
from edgewright.optimize.data.labels import (
    BoxLabels,
    ClassLabels,
    labelled_samples,
    load_box_labels,
    load_class_labels,
)
from edgewright.optimize.data.samples import hold_out, open_samples
from edgewright.optimize.errors import DataError, LabelsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edgewright.optimize.data.labels import LabelledFrame
    from edgewright.optimize.data.samples import Sample, SampleSource

__all__ = ["DEFAULT_EVERY", "DataChoice", "DataPlan", "agreement_samples", "calibration_samples", "open_plan"]

#: A video without a slice is calibrated on every so manieth frame: neighbours add nothing.
DEFAULT_EVERY = 10


@dataclass(frozen=True)
class DataChoice:
    """What the user named.

    Attributes:
        calibrate: Source of calibration pictures.
        calibrate_every: Take every so manieth of them.
        labels: Label file or folder.
        images: Source of the labelled pictures; None takes the folder of ``labels``.
        agree: Source of agreement pictures.
    """

    calibrate: str
    calibrate_every: int | None = None
    labels: Path | None = None
    images: str | None = None
    agree: str | None = None


@dataclass(frozen=True, eq=False)
class DataPlan:
    """The opened sources.

    Attributes:
        calibration: Pictures that set the ranges.
        agreement: Pictures to compare on; None means the labelled ones.
        labels: What is labelled, or None.
        images: Where the labelled pictures are.
        reserved: Digests of the labelled pictures.
        notes: How the pictures were shared out.
    """

    calibration: SampleSource
    agreement: SampleSource | None
    labels: BoxLabels | ClassLabels | None
    images: SampleSource | None
    reserved: frozenset[bytes]
    notes: tuple[str, ...]

    def labelled(self) -> Iterator[tuple[Sample, LabelledFrame]]:
        """The labelled pictures with their labels."""
        if self.labels is not None and self.images is not None:
            yield from labelled_samples(self.labels, self.images)


def open_plan(choice: DataChoice, task: Task, names: Sequence[str]) -> DataPlan:
    """Opens the sources, reads the labels, and walks the labelled pictures once.

    Args:
        choice: What the user named.
        task: What the model answers.
        names: Its labels.

    Raises:
        DataError: A source cannot be used.
        LabelsError: The labels cannot, or belong to other pictures.
    """
    calibration, notes = _calibration_source(choice)
    labels, images = _labelled(choice, task, names)
    reserved: frozenset[bytes] = frozenset()
    if labels is not None and images is not None:
        reserved = frozenset(frame_digest(sample.image) for sample, _ in labelled_samples(labels, images))
    agreement = open_samples(choice.agree) if choice.agree is not None else None
    if agreement is None and labels is None:
        calibration, agreement = hold_out(calibration)
        notes.append("no --agree and no --labels: every third calibration picture was held out to measure agreement")
    return DataPlan(calibration, agreement, labels, images, reserved, tuple(notes))


def _calibration_source(choice: DataChoice) -> tuple[SampleSource, list[str]]:
    source = open_samples(choice.calibrate, choice.calibrate_every)
    if source.consecutive and choice.calibrate_every is None and source.expression == str(source.path):
        note = f"calibration takes every {DEFAULT_EVERY}th frame of the video (say --calibrate-every for another step)"
        return open_samples(choice.calibrate, DEFAULT_EVERY), [note]
    return source, []


def _labelled(
    choice: DataChoice, task: Task, names: Sequence[str]
) -> tuple[BoxLabels | ClassLabels | None, SampleSource | None]:
    if choice.labels is None:
        if choice.images is not None:
            msg = f"--images {choice.images} needs --labels; to compare without labels use --agree"
            raise LabelsError(msg)
        return None, None
    load = load_box_labels if task is Task.DETECT else load_class_labels
    labels = load(choice.labels, names)
    images = choice.images
    if images is None and choice.labels.is_dir():
        images = str(choice.labels)
    if images is None:
        msg = f"--labels {choice.labels} needs --images: the folder or video that was labelled"
        raise LabelsError(msg)
    return labels, open_samples(images)


def calibration_samples(plan: DataPlan, note: Callable[[str], None]) -> Iterator[tuple[Sample, bytes]]:
    """The calibration pictures with their digests, without the labelled ones.

    Args:
        plan: Of this run.
        note: Told how many were left out.

    Raises:
        DataError: All of them are labelled pictures.
    """
    left_out, used = 0, 0
    for sample in plan.calibration:
        digest = frame_digest(sample.image)
        if digest in plan.reserved:
            left_out += 1
            continue
        used += 1
        yield sample, digest
    if not used:
        msg = f"all {left_out} calibration pictures of {plan.calibration.expression} are labelled pictures too; name others"
        raise DataError(msg)
    if left_out:
        note(f"{_pictures(left_out)} of {plan.calibration.title} left out of calibration: they are labelled ones")


def agreement_samples(plan: DataPlan, calibrated: frozenset[bytes], note: Callable[[str], None]) -> Iterator[Sample]:
    """The agreement pictures, without those that calibration or labels used.

    Args:
        plan: Of this run, with ``agreement`` set.
        calibrated: Digests of the calibration pictures.
        note: Told how many were left out.

    Raises:
        DataError: Most of them were used for calibration, or nothing is left.
    """
    if plan.agreement is None:
        return
    kept, overlapping, labelled = 0, 0, 0
    example = ""
    for sample in plan.agreement:
        digest = frame_digest(sample.image)
        if digest in plan.reserved:
            labelled += 1
        elif digest in calibrated:
            overlapping += 1
            example = example or sample.name
        else:
            kept += 1
            yield sample
    if overlapping > kept or not kept:
        msg = (
            f"{overlapping} of {overlapping + kept} agreement pictures of {plan.agreement.expression} were used for "
            f"calibration (such as {example or 'none'}) and {labelled} are labelled ones; judge on other pictures, "
            "for example by slices such as clip.avi#1::8 and clip.avi#3::4"
        )
        raise DataError(msg)
    if overlapping:
        note(f"{_pictures(overlapping)} of {plan.agreement.title} left out of agreement: calibration used them")
    if labelled:
        note(f"{_pictures(labelled)} of {plan.agreement.title} left out of agreement: they are labelled ones")


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
