"""Labels that the teacher writes for training pictures that nobody labelled; people may look at them and mend them."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.errors import OutputError
from edgewright.bundle.manifest import Precision, Task
from edgewright.bundle.reader import open_bundle
from edgewright.bundle.writer import write_bundle
from edgewright.optimize.candidate import Candidate
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.distillation import find_pseudo_labels
from edgewright.optimize.distillation.look import TorchSession
from edgewright.optimize.errors import SpecError
from edgewright.optimize.evaluate.quality import FLOAT
from edgewright.optimize.finish import provenance_of
from edgewright.optimize.sources.factory import call_factory, is_factory_reference
from edgewright.optimize.variants.form import ModelForm
from edgewright.runtime.session import open_session

if TYPE_CHECKING:
    from edgewright.optimize.compression.steps import Compression, ModelReference
    from edgewright.optimize.data.source import SampleSource
    from edgewright.optimize.distillation.look import Look
    from edgewright.optimize.progress import Progress
    from edgewright.optimize.request import OptimizeRequest
    from edgewright.optimize.sources import FloatModel
    from edgewright.optimize.spec import ModelSpec, SourceModel

__all__ = ["check_task", "label_by_teacher", "labels_of_factory"]


def label_by_teacher(
    request: OptimizeRequest,
    compression: Compression,
    source: FloatModel,
    exclude: frozenset[bytes],
    progress: Progress,
) -> Path:
    """A label file that the teacher wrote, or wrote in an earlier run, whatever was mended in it since.

    Args:
        request: Threads, and provenance.
        compression: The pictures, the teacher, and where the file is kept: beside the checkpoints, or else in a
            temporary folder of its own.
        source: The network; it labels where no other teacher is named that can.
        exclude: Digests of pictures that are judged on.
        progress: Told of the file.

    Raises:
        SpecError: The pictures come from a factory, or the network is no detector.
        DataError: A picture cannot be read, none are left, or the teacher is sure of nothing.
        OutputError: The file cannot be written.
    """
    expression = compression.data.source
    if is_factory_reference(expression) and not Path(expression).exists():
        raise labels_of_factory(expression)
    check_task(source.spec)
    pictures, other = open_samples(expression), _other_teacher(compression.teacher, source, progress)
    teacher = source.source_sha256 if other is None else _digest(other)
    name = sha256_hex(f"{teacher} {_identity(pictures)} {sorted(exclude)}".encode())[:16]
    path = _folder(compression.checkpoints) / f"labels-by-teacher-{name}.json"
    if path.is_file():
        progress.note(f"the labels that the teacher wrote before, and what was mended in them, are used: {path}")
        return path
    look = _engine(request, source) if other is None else TorchSession(other)
    found = find_pseudo_labels(look, pictures, source.spec.labels, exclude=exclude, progress=progress)
    for note in found.notes:
        progress.note(note)
    found.write(path)
    who = "the network" if other is None else f"the teacher {other.spec.name}"
    progress.note(f"{who} labelled {len(found.pictures)} pictures, {found.certain} boxes: {path}")
    return path


def labels_of_factory(expression: str) -> SpecError:
    """The error for a factory of pictures that a teacher is to label.

    Args:
        expression: The factory.
    """
    return SpecError(
        f"--train-labels teacher labels the pictures of a folder or a film, and {expression} is a factory, which "
        "makes pictures and labels alike; leave --train-labels out"
    )


def check_task(spec: ModelSpec) -> None:
    """Refuses a network that no teacher labels pictures for.

    Args:
        spec: Of the network.

    Raises:
        SpecError: It is no detector.
    """
    if spec.task is not Task.DETECT:
        msg = (
            f"--train-labels teacher writes boxes for detectors, and {spec.name} is no detector; leave --train-labels out: "
            "a step learns from the teacher's answers themselves"
        )
        raise SpecError(msg)


def _other_teacher(named: ModelReference | None, source: FloatModel, progress: Progress) -> SourceModel | None:
    """The teacher that was named, where it can label for the network."""
    if named is None:
        return None
    made = call_factory(named.factory, named.weights, bare=source.spec)
    if made.spec.task is Task.DETECT and made.spec.labels == source.spec.labels:
        return made
    progress.note(f"{named.factory} is no detector of the same labels; the network itself labels the training pictures")
    return None


def _engine(request: OptimizeRequest, source: FloatModel) -> Look:
    """The network in the engine, which looks at a picture several times as fast as PyTorch does."""
    with tempfile.TemporaryDirectory(prefix="edgewright-teacher-") as folder:
        draft = Path(folder) / "teacher"
        candidate = Candidate(source, (ModelForm(FLOAT, source.model, Precision.FLOAT32),), source.spec.name, "1")
        manifest = candidate.manifest(candidate.variants(), provenance_of(request, source, "UNJUDGED"))
        write_bundle(draft, manifest, candidate.payload())
        with open_bundle(draft) as bundle:
            return open_session(bundle, FLOAT, request.timing.threads)


def _folder(checkpoints: Path | None) -> Path:
    try:
        if checkpoints is None:
            # Others who use the machine can neither read nor foresee it.
            return Path(tempfile.mkdtemp(prefix="edgewright-labels-"))
        checkpoints.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = checkpoints or tempfile.gettempdir()
        msg = f"the teacher's labels cannot be kept in {where}: {error.strerror or error}; name another --checkpoints"
        raise OutputError(msg) from error
    return checkpoints


def _identity(pictures: SampleSource) -> str:
    """Which pictures they are, without reading them; a file or folder that has changed is another one."""
    state = pictures.path.stat()
    return f"{pictures.path.resolve()} {pictures.slice} {state.st_size} {state.st_mtime_ns}"


def _digest(model: SourceModel) -> str:
    digest = hashlib.sha256(repr(model.spec.preprocess).encode())
    for name, tensor in model.module.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
