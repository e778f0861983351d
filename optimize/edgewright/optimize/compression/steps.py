"""What a recipe can ask for before quantization."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.qat.train import QatSettings
from edgewright.optimize.training.settings import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.optimize.pruning.settings import PruneSettings
    from edgewright.optimize.pruning.sparse import SparseSettings
    from edgewright.optimize.training.sets import TrainingData

__all__ = [
    "TEACHER_LABELS",
    "Compression",
    "DistilStep",
    "ModelReference",
    "PruneStep",
    "QatChoice",
    "QatWhen",
    "SparsifyStep",
    "Step",
    "Terms",
    "TuneStep",
    "no_network",
]

TEACHER_LABELS = "teacher"
"""In the place of a label file: the teacher itself labels the pictures, on tiles and at several scales."""


@dataclass(frozen=True)
class ModelReference:
    """A network that a factory of the user's makes.

    Attributes:
        factory: ``package.module:factory``.
        weights: What it is called with; None calls it without.
    """

    factory: str
    weights: Path | None = None


@dataclass(frozen=True)
class Terms:
    """What the loss is added up from; a weight of 0 leaves a term out.

    Attributes:
        labels: Weight of the labels, where there are any.
        teacher: Weight of the teacher's answers: logits of classifiers, class and box maps of detectors.
        features: Weight of the teacher's features, through learned adapters.
        temperature: Softens the logits of classifiers (Hinton et al. 2015).
    """

    labels: float = 0.5
    teacher: float = 1.0
    features: float = 0.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        """Refuses what cannot be learned from.

        Raises:
            SpecError: Naming the weight.
        """
        for name in ("labels", "teacher", "features"):
            if not 0.0 <= getattr(self, name) <= 1e3:
                msg = f"the weight of {name} is {getattr(self, name)}; it must lie between 0 and 1000"
                raise SpecError(msg)
        if not 0.1 <= self.temperature <= 100.0:
            msg = f"the temperature is {self.temperature}; it must lie between 0.1 and 100"
            raise SpecError(msg)
        if not (self.labels or self.teacher or self.features):
            msg = "labels, teacher and features all weigh 0: there is nothing to learn from"
            raise SpecError(msg)


@dataclass(frozen=True)
class DistilStep:
    """A student learns from the original network.

    Attributes:
        terms: What it learns from.
        train: How.
        width: Share of channels of a scaled-down copy of the network that becomes the student where none is named.
        label: Of the step, in tables.
    """

    terms: Terms = field(default_factory=Terms)
    train: TrainSettings = field(default_factory=TrainSettings)
    width: float | None = None
    label: str = "distil"

    def __post_init__(self) -> None:
        """Refuses widths that give no network.

        Raises:
            SpecError: The width is no share.
        """
        if self.width is not None and not 0.0 < self.width <= 1.0:
            msg = f"width is {self.width}; give the share of channels that the copy keeps, above 0 and up to 1"
            raise SpecError(msg)


@dataclass(frozen=True)
class PruneStep:
    """Channels are removed, in rounds; after each what is left is tuned.

    Attributes:
        prune: What is removed, and how it is chosen.
        terms: What the tuning learns from.
        train: Tuning after the last round.
        between: Passes over the training pictures after each round but the last; 0 tunes after the last one only.
        label: Of the step, in tables.
    """

    prune: PruneSettings
    terms: Terms = field(default_factory=Terms)
    train: TrainSettings = field(default_factory=TrainSettings)
    between: float = 1.0
    label: str = "prune"

    def __post_init__(self) -> None:
        """Refuses what cannot be trained.

        Raises:
            SpecError: There are no so many passes.
        """
        most = 1e5
        if not 0.0 <= self.between <= most:
            msg = f"between is {self.between}; give the passes after each round but the last, 0 or more"
            raise SpecError(msg)


@dataclass(frozen=True)
class SparsifyStep:
    """Single weights become zero while the network is tuned; no channel is removed.

    Attributes:
        sparse: Which weights, and when.
        terms: What the tuning learns from.
        train: How.
        label: Of the step, in tables.
    """

    sparse: SparseSettings
    terms: Terms = field(default_factory=Terms)
    train: TrainSettings = field(default_factory=TrainSettings)
    label: str = "sparsify"


@dataclass(frozen=True)
class TuneStep:
    """The network is trained further as it is.

    Attributes:
        terms: What it learns from.
        train: How.
        label: Of the step, in tables.
    """

    terms: Terms = field(default_factory=Terms)
    train: TrainSettings = field(default_factory=TrainSettings)
    label: str = "tune"


Step: TypeAlias = "DistilStep | PruneStep | SparsifyStep | TuneStep"


def no_network(source: str, step: Step) -> ModelError:
    """The error for a file whose network cannot be trained.

    Args:
        source: The model as the user named it.
        step: The first one of the recipe.
    """
    return ModelError(
        f"{source} is a file, and the recipe's step {step.label} trains a PyTorch network: "
        "name the function that makes it, as package.module:factory; --qat takes files too"
    )


class QatWhen(str, Enum):
    """When quantization-aware training follows."""

    NEVER = "never"
    NEEDED = "needed"
    ALWAYS = "always"


@dataclass(frozen=True)
class QatChoice:
    """Quantization-aware training; the teacher is the float network that is being quantized.

    Attributes:
        settings: How it is trained.
        when: ``needed``: only where the selection pictures say that the contract would be missed without it.
    """

    settings: QatSettings = field(default_factory=QatSettings)
    when: QatWhen = QatWhen.NEVER


@dataclass(frozen=True)
class Compression:
    """Everything that is trained on the way to the file.

    Attributes:
        data: Training pictures and their labels.
        steps: In order; none where only quantization-aware training is wanted.
        student: The network that a ``DistilStep`` trains; None takes a scaled-down copy.
        teacher: The network that is learned from; None takes the original one.
        qat: Quantization-aware training.
        checkpoints: Where training keeps checkpoints, so that a killed run goes on; None keeps none.
    """

    data: TrainingData
    steps: tuple[Step, ...] = ()
    student: ModelReference | None = None
    teacher: ModelReference | None = None
    qat: QatChoice = field(default_factory=QatChoice)
    checkpoints: Path | None = None

    def __post_init__(self) -> None:
        """Refuses what would have no effect, or undo what was done before.

        Raises:
            SpecError: Saying what to change.
        """
        if self.student is not None and not any(isinstance(step, DistilStep) for step in self.steps):
            msg = (
                f"the student {self.student.factory} is for a step that distils, and there is none: "
                "add one (--recipe distil-int8), or leave --student out"
            )
            raise SpecError(msg)
        self._check_teacher()
        self._check_zeros()

    def _check_teacher(self) -> None:
        if self.teacher is None or self.labelled_by_teacher:
            return
        if not any(step.terms.teacher or step.terms.features for step in self.steps):
            why = "the steps learn from labels alone"
            if not self.steps:
                why = "quantization-aware training learns from the float network that is being quantized"
            msg = f"the teacher {self.teacher.factory} would teach nothing: {why}; leave --teacher out"
            raise SpecError(msg)

    def _check_zeros(self) -> None:
        zeros = next((n for n, step in enumerate(self.steps) if isinstance(step, SparsifyStep)), None)
        if zeros is None:
            return
        label = self.steps[zeros].label
        if zeros + 1 < len(self.steps):
            after = self.steps[zeros + 1].label
            msg = (
                f"the zeros of step {label} would not outlive step {after}, which trains all weights: put sparsify last"
            )
            raise SpecError(msg)
        if self.qat.when is not QatWhen.NEVER:
            msg = (
                f"the zeros of step {label} would not outlive quantization-aware training, which trains all weights; "
                'leave one of them out (--qat never, or when = "never" under [qat])'
            )
            raise SpecError(msg)

    @property
    def labelled_by_teacher(self) -> bool:
        """Whether the network or its teacher labels the training pictures."""
        labels = self.data.labels
        return labels is not None and str(labels) == TEACHER_LABELS and not labels.exists()
