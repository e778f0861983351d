"""What the steps of a recipe learn from: the training pictures, the teacher, and the pictures held out to choose weights."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.manifest import SsdDecode
from edgewright.optimize.contract import Contract
from edgewright.optimize.distillation import DistilSettings, Teacher, distilled
from edgewright.optimize.errors import DataError
from edgewright.optimize.evaluate.intervals import wilson
from edgewright.optimize.sources.factory import call_factory
from edgewright.optimize.training.losses import Supervised, boxes_metric, top1_metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from numpy.typing import NDArray

    from edgewright.optimize.compression.steps import ModelReference, Terms
    from edgewright.optimize.spec import SourceModel
    from edgewright.optimize.training.sets import PictureSet
    from edgewright.optimize.training.types import Batch, Objective

__all__ = ["Learning", "hold_out"]

NO_PROMISES = Contract()
_HELD_SHARE = 0.05
_MOST_HELD = 1000
_LEAST_HELD = 8
# With fewer labelled pictures, "as good as the original" is luck.
_LEAST_COMPARED = 200
# Importances are taken from so many pixels, in at least and at most so many pictures: each group of channels is tried on
# them several times.
_STATISTIC_PIXELS = 1 << 20
_STATISTIC_PICTURES = (8, 128)
_STATISTIC_BATCH = 32


def hold_out(pictures: PictureSet, seed: int = 0) -> tuple[PictureSet, PictureSet]:
    """Parts a training set: to train on, and to choose weights by.

    Neighbours of a film are alike, so what is held out of a film are stretches; of unrelated pictures, single ones.

    Args:
        pictures: All of them.
        seed: Of the draw.

    Returns:
        The larger part, and one picture in twenty: at least eight and at most a thousand.

    Raises:
        DataError: There are too few to part.
    """
    count = len(pictures)
    wanted = min(max(int(count * _HELD_SHARE), _LEAST_HELD), _MOST_HELD)
    if count < 2 * _LEAST_HELD:
        msg = f"{count} training pictures are too few to hold some out; give at least {2 * _LEAST_HELD}"
        raise DataError(msg)
    stretch = 1 if pictures.spacing_s is None else max(1, wanted // _LEAST_HELD)
    blocks = np.array_split(np.arange(count), max(1, count // stretch))
    chosen = np.random.default_rng(seed).permutation(len(blocks))[: max(1, wanted // stretch)]
    held = np.sort(np.concatenate([blocks[k] for k in chosen]))
    return pictures.part(np.setdiff1d(np.arange(count), held)), pictures.part(held)


class Learning:
    """The pictures and the teacher of one run."""

    def __init__(
        self,
        original: SourceModel,
        pictures: PictureSet,
        *,
        teacher: ModelReference | None = None,
        images: Sequence[NDArray[np.uint8]] = (),
        contract: Contract = NO_PROMISES,
        notes: Sequence[str] = (),
    ) -> None:
        """Holds pictures out; the teacher is made when it is first asked.

        Args:
            original: The network as it was given; the teacher unless another one is named.
            pictures: All training pictures.
            teacher: The network to learn from.
            images: A few real frames, to compare exported files on.
            contract: What of it speaks of accuracy or agreement ends trainings early; see ``enough``.
            notes: What a reader of the report should know of the pictures.
        """
        self._original, self._reference, self._contract = original, teacher, contract
        self.pictures, self.held = hold_out(pictures)
        self.images, self.notes = images, tuple(notes)

    @cached_property
    def teacher(self) -> Teacher:
        """The network that is learned from, frozen."""
        if self._reference is None:
            return Teacher(self._original)
        made = call_factory(self._reference.factory, self._reference.weights, bare=self._original.spec)
        return Teacher(made)

    def objective(self, terms: Terms, student: SourceModel) -> Objective:
        """What a network is trained for.

        Args:
            terms: What counts how much.
            student: The network.

        Raises:
            SpecError: The teacher does not fit it.
            DataError: Nothing is left to learn from.
        """
        labels = terms.labels if self.pictures.labelled else 0.0
        if not (labels or terms.teacher or terms.features):
            msg = "this step learns from labels alone, and no training picture has any; give --train-labels, or teacher = 1.0"
            raise DataError(msg)
        if not (terms.teacher or terms.features):
            return Supervised(student.spec, student.output_names)
        settings = DistilSettings(
            labels=labels,
            logits=terms.teacher,
            maps=terms.teacher,
            features=terms.features,
            temperature=terms.temperature,
        )
        return distilled(student, self.teacher, settings)

    def metric(self, source: SourceModel) -> Callable[[torch.nn.Module], float]:
        """What weights are chosen by: accuracy on the pictures held out, or agreement with the teacher without labels."""
        spec, names = source.spec, source.output_names
        labelled = self.held.labelled > 0
        if isinstance(spec.decode, SsdDecode):
            reference = None if labelled else self._original.module
            return boxes_metric(self.held, spec, names, reference=reference)
        if labelled:
            return top1_metric(self.held, spec, names)
        return agreement_metric(self.held, self._original, source)

    @cached_property
    def _whole(self) -> float:
        """The original network's own metric."""
        return self.metric(self._original)(self._original.module)

    def enough(self, value: float) -> bool:
        """Whether the contract asks for nothing more that the pictures held out could tell of, so that training may end.

        With labels: the contract limits what is lost, and the network is at least as good as the original one. Without
        labels, of a classifier: a share of answers is promised, and the share is above it beyond doubt (Wilson 1927).

        Args:
            value: The held-out metric of the network in training, see ``metric``.

        Returns:
            False, too, where fewer than 200 pictures are held out that tell.
        """
        limit, labelled, count = self._contract, self.held.labelled, len(self.held)
        if labelled:
            return limit.max_drop is not None and labelled >= _LEAST_COMPARED and value >= self._whole
        if limit.min_agreement is None or count < _LEAST_COMPARED or isinstance(self._original.spec.decode, SsdDecode):
            return False
        return 100.0 * wilson(round(value * count), count)[0] >= limit.min_agreement

    def batches(self) -> Iterator[Batch]:
        """A few training pictures as they are, for importances."""
        plain, pre = self.pictures.undistorted(), self._original.spec.preprocess
        least, most = _STATISTIC_PICTURES
        wanted = min(max(_STATISTIC_PIXELS // (pre.width * pre.height), least), most)
        order = np.random.default_rng(0).permutation(len(plain))[:wanted]
        for start in range(0, len(order), _STATISTIC_BATCH):
            yield plain.batch(np.sort(order[start : start + _STATISTIC_BATCH]), np.random.default_rng(0))

    def describe(self) -> dict[str, Any]:
        """JSON values that determine what is chosen and when training ends, for the key of a checkpoint."""
        promised = {"max_drop": self._contract.max_drop, "min_agreement": self._contract.min_agreement}
        return {"held_out": self.held.digest, **promised}


def agreement_metric(
    pictures: PictureSet, reference: SourceModel, source: SourceModel
) -> Callable[[torch.nn.Module], float]:
    """Share of pictures to which a classifier gives the same best class as another network, 0..1.

    Args:
        pictures: Undistorted ones are looked at.
        reference: The other network.
        source: How the classifier's outputs are read.
    """
    from edgewright.optimize.training.losses.metrics import looking
    from edgewright.optimize.training.losses.outputs import Reading, answers

    plain, size = pictures.undistorted(), 64
    rows = [np.arange(start, min(start + size, len(plain))) for start in range(0, len(plain), size)]

    def best(module: torch.nn.Module, of: SourceModel) -> list[Any]:
        reading = Reading(of.spec, of.output_names)
        with looking(module) as device:
            given = (plain.batch(part, np.random.default_rng(0)).to(device) for part in rows)
            return [reading.scores(answers(module, batch.inputs)).argmax(-1).cpu() for batch in given]

    wanted = best(reference.module, reference)

    def measure(module: torch.nn.Module) -> float:
        found = best(module, source)
        return sum(int((a == b).sum()) for a, b in zip(found, wanted, strict=True)) / len(plain)

    return measure
