"""Which pictures serve which purpose, so that nothing is chosen or judged on what it was made from.

Four disjoint roles: *calibration* pictures set the integer ranges, *selection* pictures choose among candidates,
*labelled* pictures give accuracy, and *agreement* pictures compare the outcome with float for the report.

- Sources that the user names for calibration, selection and agreement must not share a picture: the same file (links
  followed), or the same frame of the same film, named for two roles is an error that names it, before any work.
- Beyond that a picture is known by its pixels, whatever it is called. A labelled picture is left out of the other
  roles, and what calibration or selection used is left out of the roles after it, each with a note: a film of a still
  scene repeats itself, and that is no error. When it would take most of a role's pictures, it is: then somebody copied
  a folder.
- The same picture twice in one role counts once, with a note: a copy is no further evidence.
- Without ``--select`` a third of the calibration source is held out for selection. Without agreement pictures the
  labelled ones serve; without those either, another third is held out for them. How a source is shared out, and why a
  film is cut into stretches for it, is told in ``edgewright.optimize.data.share``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
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
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.data.share import GAP_S, draw, share_out
from edgewright.optimize.data.sift import CALIBRATED, LABELLED, SELECTED, pictures, sifted
from edgewright.optimize.errors import DataError, LabelsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edgewright.optimize.data.labels import LabelledFrame
    from edgewright.optimize.data.samples import Sample, SampleSource

__all__ = [
    "DEFAULT_EVERY",
    "DataChoice",
    "DataPlan",
    "agreement_samples",
    "calibration_samples",
    "check_sources",
    "open_plan",
    "selection_samples",
]

#: A video without a slice is calibrated and selected on every so manieth frame: neighbours add nothing.
DEFAULT_EVERY = 10
_WORDS = {"c": "the part for calibration", "s": "the part for selection", "a": "the part for agreement"}


@dataclass(frozen=True)
class DataChoice:
    """What the user named.

    Attributes:
        calibrate: Source of calibration pictures.
        calibrate_every: Take every so manieth of them.
        labels: Label file or folder.
        images: Source of the labelled pictures; None takes the folder of ``labels``.
        agree: Source of agreement pictures.
        select: Source of selection pictures; None holds some calibration pictures out for them.
        limit: At most so many calibration pictures, drawn at random; what is held out of them is drawn likewise.
        seed: Of that draw.
    """

    calibrate: str
    calibrate_every: int | None = None
    labels: Path | None = None
    images: str | None = None
    agree: str | None = None
    select: str | None = None
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses numbers that leave no pictures, before anything is opened.

        Raises:
            DataError: Naming the option.
            LabelsError: Labelled pictures are named without their labels.
        """
        for option, number, least in (
            ("--calibrate-limit", self.limit, 1),
            ("--calibrate-every", self.calibrate_every, 1),
            ("--seed", self.seed, 0),
        ):
            if number is not None and number < least:
                msg = f"{option} is {number}; give {least} or more"
                raise DataError(msg)
        if self.labels is None and self.images is not None:
            msg = f"--images {self.images} needs --labels; to compare without labels use --agree"
            raise LabelsError(msg)


@dataclass(frozen=True, eq=False)
class DataPlan:
    """The opened sources.

    Attributes:
        calibration: Pictures that set the ranges.
        selection: Pictures to choose among candidates on.
        agreement: Pictures to compare on; None means the labelled ones.
        labels: What is labelled, or None.
        images: Where the labelled pictures are.
        reserved: Digests of the labelled pictures.
        notes: How the pictures were shared out.
    """

    calibration: SampleSource
    selection: SampleSource
    agreement: SampleSource | None
    labels: BoxLabels | ClassLabels | None
    images: SampleSource | None
    reserved: frozenset[bytes]
    notes: tuple[str, ...]

    @property
    def judged(self) -> int:
        """About how many pictures the result is judged on, the labelled ones included."""
        agreed = self.agreement.estimate() if self.agreement is not None else 0
        return (agreed or 0) + (0 if self.labels is None else len(self.labels.frames))

    def oddities(self) -> tuple[str, ...]:
        """What walking the sources brought to light."""
        sources = (self.calibration, self.selection, self.agreement, self.images)
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
            note(f"{pictures(copies)} of {self.images.title} left out of the labelled ones: copies of others")


def check_sources(choice: DataChoice) -> None:
    """Refuses sources that cannot be opened, or that share pictures, before anything else is done.

    Args:
        choice: What the user named.

    Raises:
        DataError: Naming the source.
        LabelsError: There are no labels where they are said to be.
    """
    named, _ = _named_sources(choice)
    _refuse_overlap(named)
    if choice.images is not None:
        open_samples(choice.images)
    if choice.labels is not None and not choice.labels.exists():
        msg = f"there are no labels at {choice.labels}"
        raise LabelsError(msg)


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
    named, notes = _named_sources(choice)
    _refuse_overlap(named)
    labels, images = _labelled(choice, task, names)
    reserved: frozenset[bytes] = frozenset()
    if labels is not None and images is not None:
        reserved = frozenset(frame_digest(sample.image) for sample, _ in labelled_samples(labels, images))
    parts, told = _share(named, labelled=labels is not None)
    notes += told
    if choice.limit is not None:
        held_out = {role: source for role, source in parts.items() if role == "c" or role not in named}
        parts |= {role: draw(source, choice.limit, choice.seed) for role, source in held_out.items()}
    selection, agreement = parts["s"], parts.get("a")
    films = {source.title for source in (images, selection, agreement) if source is not None and _is_film(source)}
    notes += [
        f"the names in {title} carry running numbers, so its pictures count as a film's: neighbours are taken together"
        for title in sorted(films)
    ]
    return DataPlan(parts["c"], selection, agreement, labels, images, reserved, tuple(notes))


def _named_sources(choice: DataChoice) -> tuple[dict[str, SampleSource], list[str]]:
    """What the user named, by the letter of its role, and notes."""
    calibration, notes = _thinned(choice.calibrate, choice.calibrate_every, "calibration", "--calibrate-every")
    named = {"c": calibration}
    if choice.select is not None:
        named["s"], told = _thinned(choice.select, None, "selection", "CLIP#::5")
        notes += told
    if choice.agree is not None:
        named["a"] = open_samples(choice.agree)
    return named, notes


def _thinned(expression: str, every: int | None, role: str, option: str) -> tuple[SampleSource, list[str]]:
    source = open_samples(expression, every)
    if source.consecutive and every is None and source.expression == str(source.path):
        note = f"{role} takes every {DEFAULT_EVERY}th frame of the video (say {option} for another step)"
        return open_samples(expression, DEFAULT_EVERY), [note]
    return source, []


_FLAGS = {"c": "--calibrate", "s": "--select", "a": "--agree"}


def _refuse_overlap(named: Mapping[str, SampleSource]) -> None:
    for first, second in combinations(named, 2):
        shared = named[first].common(named[second])
        if shared is not None:
            film = f"{named[first].path.name}" if named[first].consecutive else "clip.avi"
            msg = (
                f"{_FLAGS[first]} {named[first].expression} and {_FLAGS[second]} {named[second].expression} share "
                f"pictures, {shared} for one; what chooses or judges must not have seen them: give other pictures, "
                f"or slices that never meet, for example {film}#1::8, {film}#5::8 and {film}#3::4"
            )
            raise DataError(msg)


def _share(named: Mapping[str, SampleSource], *, labelled: bool) -> tuple[dict[str, SampleSource], list[str]]:
    """A source for every role that needs one: named, or held out of the calibration source."""
    missing = [role for role in ("s", "a") if role not in named and not (role == "a" and labelled)]
    if not missing:
        return dict(named), []
    turns = {("s",): "ccs", ("a",): "cca", ("s", "a"): "csa"}[tuple(missing)]
    whole = named["c"]
    count = whole.estimate()
    if count is not None and count < len(turns):
        flags = " and ".join(_FLAGS[role] for role in missing)
        msg = f"{whole.expression} holds too few pictures to hold some out; give at least {len(turns)} pictures or {flags}"
        raise DataError(msg)
    parts = {**named, **share_out(whole, turns, _WORDS)}
    how = "every third calibration picture was"
    if whole.spacing_s is not None:
        how = f"a third of the calibration film was, in stretches with gaps of up to {GAP_S:g} s,"
    reasons = {"s": f"no --select: {how} held out to choose among candidates"}
    reasons["a"] = f"no --agree and no --labels: {how} held out to measure agreement"
    return parts, [reasons[role] for role in missing]


def _is_film(source: SampleSource) -> bool:
    return source.spacing_s is not None and not source.consecutive


def _labelled(
    choice: DataChoice, task: Task, names: Sequence[str]
) -> tuple[BoxLabels | ClassLabels | None, SampleSource | None]:
    if choice.labels is None:
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
    yield from sifted(plan.calibration, "calibration", {LABELLED: plan.reserved}, note)


def selection_samples(
    plan: DataPlan, note: Callable[[str], None], calibrated: frozenset[bytes] = frozenset()
) -> Iterator[tuple[Sample, bytes]]:
    """The selection pictures with their digests, without those that calibration or labels used.

    Args:
        plan: Of this run.
        note: Told how many were left out.
        calibrated: Digests of the calibration pictures.

    Raises:
        DataError: Most of them were used for calibration, or nothing is left.
    """
    used = {LABELLED: plan.reserved, CALIBRATED: calibrated}
    yield from sifted(plan.selection, "selection", used, note)


def agreement_samples(
    plan: DataPlan,
    calibrated: frozenset[bytes],
    note: Callable[[str], None],
    selected: frozenset[bytes] = frozenset(),
) -> Iterator[Sample]:
    """The agreement pictures, without those that calibration, selection or labels used.

    Args:
        plan: Of this run, with ``agreement`` set.
        calibrated: Digests of the calibration pictures.
        note: Told how many were left out.
        selected: Digests of the selection pictures.

    Raises:
        DataError: Most of them were used before, or nothing is left.
    """
    if plan.agreement is None:
        return
    used = {
        LABELLED: plan.reserved,
        CALIBRATED: calibrated,
        SELECTED: selected,
    }
    for sample, _ in sifted(plan.agreement, "agreement", used, note):
        yield sample
