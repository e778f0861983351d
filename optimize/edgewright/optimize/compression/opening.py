"""Opens what a run trains on, without the pictures that anything is judged on."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.manifest import Precision
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.optimize.candidate import Candidate
from edgewright.optimize.compression.learning import Learning
from edgewright.optimize.data.digest import frame_digest
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.distillation import find_pseudo_labels
from edgewright.optimize.errors import SpecError
from edgewright.optimize.evaluate.quality import FLOAT
from edgewright.optimize.finish import provenance_of
from edgewright.optimize.training.sets import PictureSet, open_training_set
from edgewright.optimize.variants.form import ModelForm
from edgewright.runtime.session import open_session

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
        labels = _labelled_by(request, compression, roles, progress)
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


def _labelled_by(request: OptimizeRequest, compression: Compression, roles: Roles, progress: Progress) -> Path:
    """A label file that the network wrote, kept beside the checkpoints so that it can be looked at and mended."""
    exclude = judged_on(roles)
    pictures, source = open_samples(compression.data.source), roles.source
    with tempfile.TemporaryDirectory(prefix="edgewright-teacher-") as folder:
        draft = Path(folder) / "teacher"
        candidate = Candidate(source, (ModelForm(FLOAT, source.model, Precision.FLOAT32),), source.spec.name, "1")
        manifest = candidate.manifest(candidate.variants(), provenance_of(request, source, "UNJUDGED"))
        write_bundle(draft, manifest, candidate.payload())
        with open_bundle(draft) as bundle:
            # The engine looks at a picture several times as fast as PyTorch does.
            look = open_session(bundle, FLOAT, request.timing.threads)
        found = find_pseudo_labels(look, pictures, source.spec.labels, exclude=exclude, progress=progress)
    for note in found.notes:
        progress.note(note)
    kept = compression.checkpoints or Path(tempfile.gettempdir())
    kept.mkdir(parents=True, exist_ok=True)
    name = sha256_hex(f"{source.source_sha256} {pictures.expression} {sorted(exclude)}".encode())[:16]
    path = kept / f"labels-by-teacher-{name}.json"
    found.write(path)
    progress.note(f"the network labelled {len(found.pictures)} pictures, {found.certain} boxes: {path}")
    return path
