"""The objective of a student: labels, the teacher's answers and its features, each with a weight.

teacher = Teacher(strong_source)
objective = distilled(student_source, teacher, DistilSettings(labels=0.5, features=0.1))
Trainer(settings).fit(student_source.module, training_set, objective, title="distil")
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from edgewright.optimize.distillation.features import FeaturePair, adapters_for, automatic_pairs, feature_loss
from edgewright.optimize.distillation.logits import logit_loss
from edgewright.optimize.distillation.maps import map_loss
from edgewright.optimize.distillation.taps import tapped
from edgewright.optimize.errors import SpecError
from edgewright.optimize.training.losses.multibox import MultiboxSettings
from edgewright.optimize.training.losses.outputs import Reading, answers
from edgewright.optimize.training.losses.supervised import Supervised
from edgewright.optimize.training.types import Loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from edgewright.optimize.distillation.teacher import Taught, Teacher
    from edgewright.optimize.spec import ModelSpec, SourceModel
    from edgewright.optimize.training.types import Batch, Outputs

__all__ = ["DistilSettings", "Distilled", "distilled"]


@dataclass(frozen=True)
class DistilSettings:
    """What a student learns from, and how much each counts; 0 leaves a part out.

    Attributes:
        labels: Weight of the labels; pictures without any count nothing.
        logits: Weight of a classifying teacher's answers.
        maps: Weight of a detecting teacher's class and box maps.
        features: Weight of what the teacher sees inside.
        temperature: Softens answers of both sides; a detector's class map is softened by its square root at most 2.
        pairs: Modules whose outputs are to become alike; empty pairs the ends of stages.
        smoothing: Of class labels.
        multibox: How a detector learns from boxes.
        seed: Of what the adapters of features start with.
    """

    labels: float = 1.0
    logits: float = 1.0
    maps: float = 1.0
    features: float = 0.0
    temperature: float = 4.0
    pairs: tuple[FeaturePair, ...] = ()
    smoothing: float = 0.0
    multibox: MultiboxSettings = field(default_factory=MultiboxSettings)
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuses what teaches nothing.

        Raises:
            SpecError: Naming the setting.
        """
        for name in ("labels", "logits", "maps", "features"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                msg = f"the weight of {name} is {getattr(self, name)}; give 0 or more"
                raise SpecError(msg)
        if not 0.0 < self.temperature <= 100.0:
            msg = f"temperature is {self.temperature}; it must lie above 0 and up to 100"
            raise SpecError(msg)

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


def distilled(student: SourceModel, teacher: Teacher, settings: DistilSettings) -> Distilled:
    """Makes the objective of a student.

    Args:
        student: The network that learns; it is run once to find the sizes of its features.
        teacher: What it learns from.
        settings: How.

    Raises:
        SpecError: The two do not fit, or nothing is learned.
    """
    import torch

    teacher.fit(student.spec)
    if not settings.features:
        return Distilled(student.spec, student.output_names, teacher, settings)
    example = torch.zeros(
        student.spec.input_shape or (1, 3, student.spec.preprocess.height, student.spec.preprocess.width)
    )
    pairs = settings.pairs or automatic_pairs(student.module, teacher.module, example)
    adapters = adapters_for(student.module, teacher.module, pairs, example, settings.seed)
    asked = teacher.with_features([pair.teacher for pair in pairs])
    asked.fit(student.spec)
    return Distilled(student.spec, student.output_names, asked, settings, Hints(pairs, adapters))


@dataclass(frozen=True, eq=False)
class Hints:
    """Pairs of features and the layers that match their widths, one each."""

    pairs: tuple[FeaturePair, ...]
    adapters: torch.nn.ModuleList


class Distilled:
    """An ``Objective``: the weighted sum of what labels and teacher ask for; see ``distilled``."""

    def __init__(
        self,
        spec: ModelSpec,
        output_names: Sequence[str],
        teacher: Teacher,
        settings: DistilSettings,
        hints: Hints | None = None,
    ) -> None:
        """Puts the parts together.

        Args:
            spec: How the student's outputs are read.
            output_names: Of what the student answers, in order.
            teacher: Made fit for the student.
            settings: Weights.
            hints: Where features are learned.

        Raises:
            SpecError: All weights are 0.
        """
        self._reading = Reading(spec, output_names)
        self._teacher, self._settings, self._hints = teacher, settings, hints
        self._supervised = Supervised(spec, output_names, smoothing=settings.smoothing, multibox=settings.multibox)
        self.adapters: torch.nn.Module | None = None if hints is None else hints.adapters
        answer = settings.maps if self._reading.detects else settings.logits
        if not (settings.labels or answer or settings.features):
            what = "maps" if self._reading.detects else "logits"
            msg = f"the weights of labels, {what} and features are all 0: {spec.name} would learn nothing"
            raise SpecError(msg)
        self._asks = bool(answer or settings.features)

    @property
    def pairs(self) -> tuple[FeaturePair, ...]:
        """Which features are learned."""
        return () if self._hints is None else self._hints.pairs

    @property
    def teacher(self) -> Teacher:
        """Who teaches."""
        return self._teacher

    def __call__(self, module: torch.nn.Module, batch: Batch) -> Loss:
        """See ``Objective``; ``parts`` are weighted, and their sum is the total."""
        import torch

        # Labels alone need no teacher.
        taught = self._teacher(batch) if self._asks else None
        with tapped(module, [pair.student for pair in self.pairs]) as seen:
            outputs = answers(module, batch.inputs)
        parts: dict[str, torch.Tensor] = {}
        if self._settings.labels:
            parts["labels"] = self._settings.labels * self._supervised.judge(outputs, batch).total
        if taught is not None:
            parts |= self._maps(outputs, taught) if self._reading.detects else self._logits(outputs, taught)
        if taught is not None and self._hints is not None:
            ours = [seen[pair.student].float() for pair in self.pairs]
            hint = feature_loss(self._hints.adapters, ours, taught.features)
            parts["features"] = self._settings.features * hint
        total = torch.stack(list(parts.values())).sum()
        return Loss(total, {name: part.item() for name, part in parts.items()})

    def describe(self) -> dict[str, Any]:
        """See ``Objective``."""
        pairs = [[pair.student, pair.teacher] for pair in self.pairs]
        settings = self._settings.to_json() | {"pairs": pairs}
        decode = repr(self._reading.decode)
        return {"kind": "distilled", "decode": decode, "teacher": self._teacher.describe(), **settings}

    def _logits(self, outputs: Outputs, taught: Taught) -> dict[str, torch.Tensor]:
        weight, theirs = self._settings.logits, self._teacher.reading
        if not weight:
            return {}
        activations = (self._reading.decode.activation, theirs.decode.activation)
        scores = self._reading.scores(outputs), theirs.scores(taught.outputs)
        return {"logits": weight * logit_loss(*scores, self._settings.temperature, activations)}

    def _maps(self, outputs: Outputs, taught: Taught) -> dict[str, torch.Tensor]:
        weight, theirs = self._settings.maps, self._teacher.reading
        if not weight:
            return {}
        ours = self._reading.scores(outputs), self._reading.codes(outputs)
        wanted = theirs.scores(taught.outputs), theirs.codes(taught.outputs)
        # Anchors answer yes or no: as soft as ten classes they would all say "perhaps".
        classes, boxes = map_loss(self._reading, ours, wanted, min(2.0, self._settings.temperature**0.5))
        return {"class map": weight * classes, "box map": weight * boxes}
