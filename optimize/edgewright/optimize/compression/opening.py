"""Opens what a run trains on, without the pictures that anything is judged on."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from edgewright.optimize.compression.beside import beside_judged
from edgewright.optimize.compression.labelling import label_by_teacher
from edgewright.optimize.compression.learning import Learning
from edgewright.optimize.data.digest import frame_digest
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.errors import SpecError
from edgewright.optimize.training.sets import PictureSet, open_training_set

if TYPE_CHECKING:
    from edgewright.optimize.compression.steps import Compression
    from edgewright.optimize.progress import Progress
    from edgewright.optimize.request import OptimizeRequest
    from edgewright.optimize.roles import Roles
    from edgewright.optimize.spec import SourceModel

__all__ = ["judged_on", "open_learning"]

_COMPARED_PICTURES = 2


def judged_on(roles: Roles) -> frozenset[bytes]:
    """Digests of all pictures that choose among candidates or judge the result.

    Args:
        roles: Of the run.
    """
    agreement = roles.plan.agreement
    seen = frozenset[bytes]() if agreement is None else frozenset(frame_digest(sample.image) for sample in agreement)
    return seen | roles.plan.reserved | roles.used.selected


def open_learning(
    request: OptimizeRequest, compression: Compression, roles: Roles, progress: Progress, network: SourceModel
) -> Learning:
    """Reads the training pictures and their labels.

    Args:
        request: The contract ends trainings early.
        compression: What is trained on.
        roles: Whose pictures are left out.
        progress: Where stages are announced.
        network: The one that is learned from unless another one is named.

    Raises:
        DataError: Pictures cannot be used, or none are left.
        LabelsError: Labels do not belong to them.
        SpecError: The teacher is to label pictures for a network that is no detector, or those of a data factory.
        OutputError: Its labels cannot be written.
    """
    exclude = judged_on(roles)
    data = compression.data
    if compression.labelled_by_teacher:
        labels = label_by_teacher(request, compression, roles.source, exclude, progress)
        data = dataclasses.replace(data, labels=labels)
    pictures = open_training_set(data, network.spec, exclude, progress)
    if not isinstance(pictures, PictureSet):
        msg = f"{data.source} is a training set of its own; a recipe's steps need pictures and labels: let it return those"
        raise SpecError(msg)
    for note in pictures.notes:
        progress.note(note)
    walk = open_samples(request.data.calibrate, request.data.calibrate_every)
    images = [sample.image for sample in itertools.islice(walk, _COMPARED_PICTURES)]
    beside = beside_judged(pictures, data.source, roles.plan)
    for note in beside:
        progress.note(note)
    return Learning(
        network,
        pictures,
        teacher=compression.teacher,
        images=images,
        contract=request.contract,
        notes=beside,
    )
