"""Quantization-aware training: from an INT8 candidate to a better one on the same operators.

The float network, run by the same executor, is the teacher; labels are welcome and not needed. What comes out is a float
graph with other weights, ranges with other steps, and the INT8 file that the writer makes of them.

Example:
    >>> start = QatStart(state.model, state.ranges, state.graph, state.keep_float, scheme)      # doctest: +SKIP
    >>> result = train_quantized(start, pictures, QatSettings(), decode=spec.decode)            # doctest: +SKIP
    >>> result.graph.model                                                                      # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.errors import SpecError
from edgewright.optimize.progress import SilentProgress
from edgewright.optimize.quantization.scheme import Scheme
from edgewright.optimize.training.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch

    from edgewright.bundle.manifest import Decode
    from edgewright.optimize.progress import Progress
    from edgewright.optimize.qat.agreement import Agreement
    from edgewright.optimize.qat.network import Network
    from edgewright.optimize.quantization.writer import QuantizedGraph
    from edgewright.optimize.training.trainer import Trained
    from edgewright.optimize.training.types import Objective, TrainingSet
    from edgewright.optimize.types import Ranges

__all__ = ["QatResult", "QatSettings", "QatStart", "train_quantized"]

_TITLE = "train with simulated integers"
_FIRST_BYTES = 32 << 20  # of the pictures that means are taken of, all at once
_PROOF = 64  # pictures on which simulation and file are compared
_TWO = 2


@dataclass(frozen=True)
class QatSettings:
    """How an INT8 candidate is trained.

    Attributes:
        train: Rates are shares of each channel's own weights, so the default suits most networks. Weight decay pulls
            towards where training started.
        steps: Whether steps of activations are trained, too.
        bounds: Whether the bounds within which weights are cut are trained, too.
        pictures: The first so many of the training set tell what the layers' inputs are on average; 0 starts from
            the candidate as it is.
        labels: Weight of the cross entropy with labels beside the float network's answers.
        temperature: Softens the answers of a classifier.
    """

    train: TrainSettings = field(default_factory=lambda: TrainSettings(epochs=1.0, weight_decay=0.0))
    steps: bool = True
    bounds: bool = True
    pictures: int = 256
    labels: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what cannot be trained with.

        Raises:
            SpecError: Naming the setting.
        """
        if self.pictures < 0 or not 0.0 <= self.labels < float("inf"):
            msg = f"pictures {self.pictures} and labels {self.labels}: both must be 0 or more"
            raise SpecError(msg)
        if not 0.0 < self.temperature <= 100.0:
            msg = f"temperature is {self.temperature}; it must lie above 0 and up to 100"
            raise SpecError(msg)

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {**asdict(self), "train": self.train.to_json()}


@dataclass(frozen=True, eq=False)
class QatStart:
    """The INT8 candidate that training starts from.

    Attributes:
        model: The prepared float graph.
        ranges: Of its tensors.
        graph: The INT8 file, whose integers passes may have moved.
        keep_float: Nodes left in float.
        scheme: Which integers.
    """

    model: bytes
    ranges: Ranges
    graph: QuantizedGraph
    keep_float: frozenset[str] = frozenset()
    scheme: Scheme = field(default_factory=Scheme)


@dataclass(frozen=True, eq=False)
class QatResult:
    """What training came to.

    Attributes:
        model: The float graph; its weights are what the file's integers stand for.
        ranges: Of its tensors.
        graph: The INT8 file.
        trained: How training went.
        agreement: How near the simulation comes to the file.
        replaced: Constants that the writer chose otherwise than the simulation, and that were put right in the file.
        notes: What the user should know.
    """

    model: bytes
    ranges: Ranges
    graph: QuantizedGraph
    trained: Trained
    agreement: Agreement
    replaced: int
    notes: tuple[str, ...] = ()


def train_quantized(
    start: QatStart,
    training_set: TrainingSet,
    settings: QatSettings | None = None,
    *,
    decode: Decode | None = None,
    objective: Callable[[Network], Objective] | None = None,
    evaluate: Callable[[torch.nn.Module], float] | None = None,
    extra: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> QatResult:
    """Trains an INT8 candidate.

    Args:
        start: The candidate.
        training_set: Pictures, labelled or not.
        settings: How; None takes the defaults.
        decode: How outputs are read, for the objective.
        objective: Makes one from the float network; None imitates it (``imitation.Imitation``).
        evaluate: Metric of the simulation, larger is better.
        extra: More JSON values that determine the result, such as the pictures behind ``evaluate``; see ``Trainer.fit``.
        folder: For checkpoints.
        progress: Where it is told how far it is.

    Raises:
        ModelError: The graph holds what cannot be trained; the node is named.
        JudgeError: The trained network could not be written.
        TrainingError: See ``Trainer.fit``.
        MissingExtraError: PyTorch is not installed.
    """
    try:
        import torch  # noqa: F401 - said in our own words where it is missing
    except ImportError as error:
        what = "PyTorch, which quantization-aware training needs, is not installed"
        raise MissingExtraError(what, "torch") from error
    from edgewright.optimize.qat.agreement import agreement_of
    from edgewright.optimize.qat.imitation import Imitation
    from edgewright.optimize.qat.write import write_trained
    from edgewright.optimize.training.trainer import Trainer

    chosen, said = settings or QatSettings(), progress or SilentProgress()
    with said.stage("open the INT8 graph for training"):
        reference, network, notes = _open(start, training_set, chosen)
    make = objective or (
        lambda teacher: Imitation(teacher, decode, labels=chosen.labels, temperature=chosen.temperature)
    )
    known = {**(extra or {}), "qat": chosen.to_json(), "start": _digest(start)}
    trained = Trainer(chosen.train, folder=folder, progress=said).fit(
        network, training_set, make(reference), title=_TITLE, evaluate=evaluate, extra=known
    )
    with said.stage("write the trained integers"):
        written = write_trained(network, start.model, start.ranges, start.keep_float, start.scheme)
        pictures = _pictures(training_set, _PROOF)
        agreement = agreement_of(network, written.graph.model, pictures, written.graph.engine)
    if written.replaced:
        notes += (
            f"{written.replaced} constants of the INT8 file were set to what was trained, the writer chose others",
        )
    return QatResult(written.model, written.ranges, written.graph, trained, agreement, written.replaced, notes)


def _open(
    start: QatStart, training_set: TrainingSet, settings: QatSettings
) -> tuple[Network, Network, tuple[str, ...]]:
    """The float network, proved; the simulation, where training starts; and what the user should know of them."""
    from edgewright.optimize.qat.agreement import prove_float
    from edgewright.optimize.qat.build import float_network, simulated_network
    from edgewright.optimize.qat.means import centre_layers
    from edgewright.optimize.qat.write import differences, learnable_grids

    reference = float_network(start.model)
    prove_float(reference, start.model, _pictures(training_set, _TWO))
    learnt = learnable_grids(start.graph.model, start.ranges) if settings.steps else frozenset[str]()
    network = simulated_network(start.model, start.graph.model, start.scheme, learn_grids=learnt)
    network.one_by_one = reference.one_by_one
    notes = _notes(network, len(differences(network, start.graph.model)))
    for layer in network.layers.values():
        layer.bound_change.requires_grad_(settings.bounds and layer.grid is not None)
    if settings.pictures:
        centre_layers(network, reference, _pictures(training_set, settings.pictures))
    return reference, network, notes


def _pictures(training_set: TrainingSet, wanted: int) -> torch.Tensor:
    """The first few, as many as memory allows; always the same."""
    rng = np.random.default_rng(0)
    first = training_set.batch(np.arange(min(_TWO, len(training_set))), rng).inputs
    room = max(_TWO, int(_FIRST_BYTES // max(1, first[:1].numel() * first.element_size())))
    count = min(wanted, room, len(training_set))
    # Evenly spread: the first pictures of a clip all show the same.
    rows = np.unique(np.linspace(0, len(training_set) - 1, count).round().astype(np.int64))
    return training_set.batch(rows, np.random.default_rng(0)).inputs


def _notes(network: Network, others: int) -> tuple[str, ...]:
    notes = []
    if network.one_by_one:
        notes.append("the graph has one picture written into it, so pictures were trained on one by one")
    if others:
        notes.append(f"training starts from the writer's choice of {others} constants, not from those of the INT8 file")
    return tuple(notes)


def _digest(start: QatStart) -> str:
    digest = hashlib.sha256(start.model)
    digest.update(start.graph.model)
    ranges = sorted((name, float(low), float(high)) for name, (low, high) in start.ranges.items())
    digest.update(repr((sorted(start.keep_float), start.scheme, ranges, sorted(start.graph.engine.items()))).encode())
    return digest.hexdigest()
