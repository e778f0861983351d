"""What a run begins with: the model, its float graph, and the pictures by their purpose."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.bundle.manifest import Format
from edgewright.optimize.data.plan import open_plan
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.preparation import prepare_source
from edgewright.optimize.roles import Roles, open_roles
from edgewright.optimize.sources import load_source
from edgewright.optimize.tflite_forms import check_tflite

if TYPE_CHECKING:
    from edgewright.optimize.compression.journey import Journey
    from edgewright.optimize.compression.run import Stepped
    from edgewright.optimize.progress import Progress
    from edgewright.optimize.request import OptimizeRequest
    from edgewright.optimize.sources import FloatModel

__all__ = ["Loaded", "load_model", "open_pictures"]

_COMPARED_PICTURES = 2


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network as the search takes it.

    Attributes:
        source: The network and where it came from.
        prepared: Its float graph, an ONNX file.
        notes: What the user should know.
        steps: The training steps that made it; empty for the network as it was given.
    """

    source: FloatModel
    prepared: bytes
    notes: tuple[str, ...]
    steps: tuple[Stepped, ...] = ()


def load_model(request: OptimizeRequest, journey: Journey, progress: Progress) -> Loaded:
    """Reads the model and prepares its float graph.

    Args:
        request: Names the model.
        journey: Training that the graph must allow.
        progress: Where stages are announced.

    Raises:
        ModelError: The model cannot be used.
        SpecError: Its description does not fit.
        DataError: The calibration pictures cannot be read.
    """
    with progress.stage("load the model"):
        pictures = open_samples(request.data.calibrate, request.data.calibrate_every)
        images = [sample.image for sample in itertools.islice(pictures, _COMPARED_PICTURES)]
        source = load_source(
            request.model, weights=request.weights, spec=request.spec, images=images, graph=request.graph
        )
    with progress.stage("prepare the float graph"):
        prepared, notes = prepare_source(source)
        journey.check_labels(source.spec)
        if Format.TFLITE in request.formats:
            check_tflite(prepared, source, model=request.model, trained=journey.has_steps)
    return Loaded(source, prepared, (*source.notes, *notes))


def open_pictures(request: OptimizeRequest, source: FloatModel, progress: Progress) -> Roles:
    """Opens the pictures, each part for one purpose.

    Args:
        request: Names them.
        source: The network that they are for.
        progress: Where stages are announced.

    Raises:
        DataError: They cannot be used.
    """
    with progress.stage("look at the pictures"):
        plan = open_plan(request.data, source.spec.task, source.spec.labels)
    for note in plan.notes:
        progress.note(note)
    roles = open_roles(plan, source, progress)
    for note in roles.notes:
        progress.note(note)
    return roles
