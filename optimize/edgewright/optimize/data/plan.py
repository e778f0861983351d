"""Which pictures serve which purpose, so that nothing is judged on what it was calibrated on.

Three disjoint roles: *calibration* sets the integer ranges, *labelled* pictures give accuracy, *agreement* pictures
compare INT8 with float. A picture is known by its pixels, whatever it is called:

- A labelled picture is left out of calibration and agreement, with a note.
- A calibration picture is left out of agreement, with a note; when that would take most of them, it is an error.
- The same picture twice counts once, with a note: a copy is no further evidence.
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
_HELD_OUT = 3  # every third is


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

    def oddities(self) -> tuple[str, ...]:
        """What walking the sources brought to light."""
        sources = (self.calibration, self.agreement, self.images)
        return tuple(dict.fromkeys(note for source in sources if source is not None for note in source.notes))

    def labelled(self, note: Callable[[str], None] = lambda _text: None) -> Iterator[tuple[Sample, LabelledFrame]]:
        """The labelled pictures with their labels, each picture once; ``note`` is told how many were left out."""
        if self.labels is None or self.images is None:
            return
        seen, copies = set[bytes](), 0
        for sample, frame in labelled_samples(self.labels, self.images):
            digest = frame_digest(sample.image)
            if digest in seen:
                copies += 1
                continue
            seen.add(digest)
            yield sample, frame
        if copies:
            note(f"{_pictures(copies)} of {self.images.title} left out of the labelled ones: copies of others")


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
        if (calibration.estimate() or _HELD_OUT) < _HELD_OUT:
            msg = f"{calibration.expression} holds too few pictures to hold some out; give at least {_HELD_OUT} pictures or --agree"
            raise DataError(msg)
        calibration, agreement = hold_out(calibration)
        notes.append("no --agree and no --labels: every third calibration picture was held out to measure agreement")
    films = {source.title for source in (images, agreement) if source is not None and _is_film(source)}
    notes += [
        f"the names in {title} carry running numbers, so its pictures count as a film's: neighbours are taken together"
        for title in sorted(films)
    ]
    return DataPlan(calibration, agreement, labels, images, reserved, tuple(notes))


def _is_film(source: SampleSource) -> bool:
    return source.spacing_s is not None and not source.consecutive


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
    left_out, copies = 0, 0
    seen = set[bytes]()
    for sample in plan.calibration:
        digest = frame_digest(sample.image)
        if digest in plan.reserved or digest in seen:
            left_out += digest in plan.reserved
            copies += digest in seen
            continue
        seen.add(digest)
        yield sample, digest
    if not seen:
        msg = f"all {left_out} calibration pictures of {plan.calibration.expression} are labelled pictures too; name others"
        raise DataError(msg)
    if left_out:
        note(f"{_pictures(left_out)} of {plan.calibration.title} left out of calibration: they are labelled ones")
    if copies:
        note(f"{_pictures(copies)} of {plan.calibration.title} left out of calibration: copies of others")


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
    seen, copies, overlapping, labelled = set[bytes](), 0, 0, 0
    example = ""
    for sample in plan.agreement:
        digest = frame_digest(sample.image)
        if digest in plan.reserved:
            labelled += 1
        elif digest in calibrated:
            overlapping += 1
            example = example or sample.name
        elif digest in seen:
            copies += 1
        else:
            seen.add(digest)
            yield sample
    kept = len(seen)
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
    if copies:
        note(f"{_pictures(copies)} of {plan.agreement.title} left out of agreement: copies of others")


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
