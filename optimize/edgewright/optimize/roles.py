"""The pictures of each role as the chain takes them, with the record of which they were."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from edgewright.optimize.chain.workbench import PictureSet
from edgewright.optimize.data.manifest import manifest_of
from edgewright.optimize.data.plan import calibration_samples, selection_samples
from edgewright.optimize.doubts import selection_notes
from edgewright.optimize.evaluate.intervals import block_of
from edgewright.optimize.feeds import KEPT_BYTES, KEPT_OF_MANY, PictureFeeds
from edgewright.optimize.judge import UsedPictures
from edgewright.optimize.steps import input_of
from edgewright.optimize.steps.key import json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgewright.bundle.manifest import TensorSpec
    from edgewright.optimize.data.manifest import SampleManifest
    from edgewright.optimize.data.plan import DataPlan
    from edgewright.optimize.data.samples import Sample
    from edgewright.optimize.data.source import SampleSource
    from edgewright.optimize.progress import Progress
    from edgewright.optimize.sources import FloatModel

__all__ = ["Roles", "open_roles"]

_FEW_PICTURES = 8
_SELECTION_LIMITS = (256 * 2**20, 256 * 2**20)  # bytes of pictures kept: every candidate is run over them


@dataclass(frozen=True, eq=False)
class Roles:
    """Calibration and selection pictures of one run.

    Attributes:
        calibration: Pictures that set integers.
        selection: Pictures that choose among candidates.
        calibrated: Record of the calibration pictures.
        selected: Record of the selection pictures.
        notes: What the user should know.
        source: The float model they are prepared for.
        plan: Where they come from.
    """

    calibration: PictureSet
    selection: PictureSet
    calibrated: SampleManifest
    selected: SampleManifest
    notes: tuple[str, ...]
    source: FloatModel
    plan: DataPlan

    @property
    def used(self) -> UsedPictures:
        """Pictures that nothing may be judged on any more."""
        return UsedPictures(_digests(self.calibrated), _digests(self.selected))

    def some_selection(self, wanted: int = 8) -> list[Sample]:
        """A few of the selection pictures, evenly spread, to time with."""
        walk = _selection(self.plan, _digests(self.calibrated))
        step = max(1, self.selected.count // wanted)
        return list(itertools.islice(walk, 0, step * wanted, step))

    def selection_for(self, tensor: TensorSpec) -> PictureFeeds:
        """The selection pictures as another input tensor takes them, in the same order."""
        walk = partial(_selection, self.plan, _digests(self.calibrated))
        return PictureFeeds(walk, self.source.spec.preprocess, tensor, *_SELECTION_LIMITS)


def open_roles(plan: DataPlan, source: FloatModel, progress: Progress) -> Roles:
    """Walks the calibration and the selection pictures once, to know which they are.

    Args:
        plan: Of this run.
        source: The float model they are prepared for.
        progress: Where stages are announced.

    Raises:
        DataError: A role is left without pictures, or two of them share most.
    """
    notes: list[str] = []
    with progress.stage("read the calibration pictures", plan.calibration.estimate()) as advance:
        calibrated, indices = _walk(calibration_samples(plan, notes.append), plan.calibration, advance)
    known = _digests(calibrated)
    calibration = _set(partial(_calibration, plan), source, calibrated, block=_block(indices, plan.calibration))
    with progress.stage("read the selection pictures", plan.selection.estimate()) as advance:
        selected, indices = _walk(selection_samples(plan, notes.append, known), plan.selection, advance)
    block = _block(indices, plan.selection)
    selection = _set(partial(_selection, plan, known), source, selected, block=block, limits=_SELECTION_LIMITS)
    if calibrated.count < _FEW_PICTURES:
        notes.append(f"only {calibrated.count} calibration pictures; 20 to 50 that look like the real scene do better")
    # Said now: whoever reads it may give more pictures before the search has spent its time on these.
    notes += selection_notes(selected.count)
    return Roles(calibration, selection, calibrated, selected, tuple(notes), source, plan)


def _walk(
    samples: Iterator[tuple[Sample, bytes]], source: SampleSource, advance: Callable[[int], None]
) -> tuple[SampleManifest, list[int]]:
    digests, indices = [], []
    for sample, digest in samples:
        digests.append(digest)
        indices.append(sample.index)
        advance(len(digests))
    return manifest_of(source, digests), indices


def _set(
    pictures: Callable[[], Iterator[Sample]],
    source: FloatModel,
    manifest: SampleManifest,
    *,
    block: int,
    limits: tuple[int, int] = (KEPT_BYTES, KEPT_OF_MANY),
) -> PictureSet:
    feeds = PictureFeeds(pictures, source.spec.preprocess, source.inputs[0], *limits)
    # The same pictures prepared otherwise are other inputs.
    how = json_text({"preprocess": asdict(source.spec.preprocess), "input": asdict(source.inputs[0])}, "preprocessing")
    key = input_of(f"{manifest.digest} {how}".encode(), manifest.source)
    return PictureSet(feeds, key, manifest.count, block)


def _block(indices: list[int], source: SampleSource) -> int:
    return block_of(indices, source.spacing_s)


def _calibration(plan: DataPlan) -> Iterator[Sample]:
    return (sample for sample, _ in calibration_samples(plan, _ignore))


def _selection(plan: DataPlan, calibrated: frozenset[bytes]) -> Iterator[Sample]:
    return (sample for sample, _ in selection_samples(plan, _ignore, calibrated))


def _ignore(_note: str) -> None:
    """The notes were told on the first walk."""


def _digests(manifest: SampleManifest) -> frozenset[bytes]:
    return frozenset(bytes.fromhex(digest) for digest in manifest.digests)
