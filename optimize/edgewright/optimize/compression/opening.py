"""Opens what a run trains on, without the pictures that anything is judged on."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.digest import sha256_hex
from edgewright.optimize.compression.learning import Learning
from edgewright.optimize.data.digest import frame_digest
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.distillation import TorchSession, find_pseudo_labels
from edgewright.optimize.errors import SpecError
from edgewright.optimize.training.sets import PictureSet, open_training_set

if TYPE_CHECKING:
    from edgewright.optimize.compression.steps import Compression
    from edgewright.optimize.progress import Progress
    from edgewright.optimize.request import OptimizeRequest
    from edgewright.optimize.roles import Roles
    from edgewright.optimize.spec import SourceModel

__all__ = ["TEACHER_LABELS", "judged_on", "open_learning"]

TEACHER_LABELS = "teacher"
"""In the place of a label file: the network itself labels the pictures, on tiles and at several scales."""

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
        SpecError: The teacher is to label pictures for a network that is no detector.
    """
    exclude = judged_on(roles)
    data = compression.data
    if data.labels is not None and data.labels == Path(TEACHER_LABELS) and not data.labels.exists():
        labels = _labelled_by(network, compression, exclude, progress)
        data = dataclasses.replace(data, labels=labels)
    pictures = open_training_set(data, network.spec, exclude, progress)
    if not isinstance(pictures, PictureSet):
        msg = f"{data.source} is a training set of its own; a recipe's steps need pictures and labels: let it return those"
        raise SpecError(msg)
    for note in pictures.notes:
        progress.note(note)
    walk = open_samples(request.data.calibrate, request.data.calibrate_every)
    images = [sample.image for sample in itertools.islice(walk, _COMPARED_PICTURES)]
    return Learning(network, pictures, teacher=compression.teacher, images=images, max_drop=request.contract.max_drop)


def _labelled_by(teacher: SourceModel, compression: Compression, exclude: frozenset[bytes], progress: Progress) -> Path:
    """A label file that the teacher wrote, kept beside the checkpoints so that it can be looked at and mended."""
    pictures = open_samples(compression.data.source)
    found = find_pseudo_labels(TorchSession(teacher), pictures, teacher.spec.labels, exclude=exclude, progress=progress)
    for note in found.notes:
        progress.note(note)
    folder = compression.checkpoints or Path(tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    name = sha256_hex(f"{pictures.expression} {sorted(exclude)}".encode())[:16]
    path = folder / f"labels-by-teacher-{name}.json"
    found.write(path)
    progress.note(f"the teacher labelled {len(found.pictures)} pictures, {found.certain} boxes: {path}")
    return path
