"""Runs the training steps of a recipe: each takes a PyTorch network and gives one, exported and checked."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Format
from edgewright.optimize.compression.comparing import check_pruned, file_pairs
from edgewright.optimize.compression.steps import DistilStep, PruneStep, SparsifyStep, no_network
from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.preparation import prepare_source
from edgewright.optimize.pruning.scaled import scaled_copy
from edgewright.optimize.pruning.sparse import SparsityHook, make_sparse_permanent
from edgewright.optimize.pruning.sparse_files import compare_sparse
from edgewright.optimize.pruning.structured import prune
from edgewright.optimize.sources.factory import call_factory
from edgewright.optimize.sources.module import from_module
from edgewright.optimize.tflite_forms import check_tflite
from edgewright.optimize.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgewright.optimize.compression.learning import Learning
    from edgewright.optimize.compression.steps import Compression, Step, Terms
    from edgewright.optimize.progress import Progress
    from edgewright.optimize.sources import FloatModel
    from edgewright.optimize.spec import SourceModel
    from edgewright.optimize.training.trained import Trained
    from edgewright.optimize.training.trainer import Hook

__all__ = ["Stepped", "compress", "scoring"]


@dataclass(frozen=True, eq=False)
class Stepped:
    """What one step came to.

    Attributes:
        label: Its number and kind.
        source: The network after it, exported.
        prepared: Its float graph.
        sentence: What was done, in words.
        notes: What the user should know.
        failed: What it promised and did not keep, by the format of the file; None for what holds of every file.
        promises_speed: Whether the file must be faster than the one that the way began with.
        facts: JSON values for the report.
    """

    label: str
    source: FloatModel
    prepared: bytes
    sentence: str
    notes: tuple[str, ...] = ()
    failed: Mapping[Format | None, tuple[str, ...]] = field(default_factory=dict)
    promises_speed: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[str, ...]:
        """What it promised and did not keep, of all files."""
        return tuple(text for texts in self.failed.values() for text in texts)

    def failures_of(self, kind: Format) -> tuple[str, ...]:
        """Those of the files of one format."""
        return (*self.failed.get(None, ()), *self.failed.get(kind, ()))

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        told = {"label": self.label, "sentence": self.sentence, "notes": list(self.notes)}
        return {**told, "failures": list(self.failures), **self.facts}


def compress(
    original: FloatModel,
    prepared: bytes,
    compression: Compression,
    learn: Callable[[SourceModel], Learning],
    progress: Progress,
    *,
    formats: Sequence[Format] = (Format.ONNX,),
) -> tuple[Stepped, ...]:
    """Runs the steps in order.

    Args:
        original: The network as it was given.
        prepared: Its float graph.
        compression: What is to be done.
        learn: Opens the training pictures for a network.
        progress: Where stages are announced.
        formats: Of the files that are asked for; a step's promises are checked on files of these.

    Raises:
        ModelError: There is no PyTorch network to train, or a step's network cannot be exported.
        SpecError: The student does not fit in the network's place.
        ConversionError: The student cannot be written as TFLite, which is asked for.
        PassError: A target of pruning cannot be reached.
        TrainingError: A training cannot go on.
    """
    if not compression.steps:
        return ()
    if original.module is None:
        raise no_network(original.source, compression.steps[0])
    return _Run(original, compression, learn(original.module), progress, tuple(formats)).run(prepared)


class _Run:
    def __init__(
        self,
        original: FloatModel,
        compression: Compression,
        learning: Learning,
        progress: Progress,
        formats: tuple[Format, ...],
    ) -> None:
        self._formats = formats
        self._original, self._compression = original, compression
        self._learning, self._progress = learning, progress

    def run(self, prepared: bytes) -> tuple[Stepped, ...]:
        done: list[Stepped] = []
        source, before = _module_of(self._original), prepared
        self._check_student(source)
        for step in self._compression.steps:
            with self._progress.stage(f"step {step.label}"), _threads(step.train.threads):
                made = self._stepped(step, source, before)
            if not done:
                made = dataclasses.replace(made, notes=(*self._learning.notes, *made.notes))
            for told in (made.sentence, *made.notes, *made.failures):
                self._progress.note(f"{made.label}: {told}")
            done.append(made)
            source, before = _module_of(made.source), made.prepared
        return tuple(done)

    def _check_student(self, source: SourceModel) -> None:
        """Refuses a student that no file can be made of: before it is taught, which may take hours."""
        named = self._compression.student
        step = next((step for step in self._compression.steps if isinstance(step, DistilStep)), None)
        if named is None or step is None:
            return
        with self._progress.stage("export the untaught student"):
            made = from_module(self._student(step, source), named.factory, images=self._learning.images)
            prepared, _ = prepare_source(made)
            if Format.TFLITE in self._formats:
                check_tflite(prepared, made, model=named.factory, trained=True)

    def _stepped(self, step: Step, source: SourceModel, before: bytes) -> Stepped:
        # What came before stays as it is: it is a teacher, and the step's file is held against its file.
        source = dataclasses.replace(source, module=copy.deepcopy(source.module))
        if isinstance(step, DistilStep):
            return self._distilled(step, source)
        if isinstance(step, PruneStep):
            return self._pruned(step, source, before)
        if isinstance(step, SparsifyStep):
            return self._sparsified(step, source, before)
        trained = self._trained(source, step, step.label)
        return self._exported(step, source, told_of(trained), trained)

    def _distilled(self, step: DistilStep, source: SourceModel) -> Stepped:
        student = self._student(step, source)
        trained = self._trained(student, step, step.label)
        return self._exported(step, student, told_of(trained), trained)

    def _student(self, step: DistilStep, source: SourceModel) -> SourceModel:
        named = self._compression.student
        if named is None:
            return source if step.width is None else scaled_copy(source, step.width, step.train.seed)
        made = call_factory(named.factory, named.weights, bare=source.spec)
        return _in_place_of(made, source, named.factory)

    def _pruned(self, step: PruneStep, source: SourceModel, before: bytes) -> Stepped:
        learning = self._learning
        rounds: list[Trained] = []

        def tune(now: SourceModel, number: int, of: int) -> None:
            epochs = step.train.epochs if number == of else step.between
            if epochs:
                train = dataclasses.replace(step.train, epochs=epochs)
                title = f"{step.label}, round {number} of {of}"
                rounds.append(self._trained(now, dataclasses.replace(step, train=train), title))

        objective = learning.objective(scoring(step.terms), source)
        result = prune(
            source, step.prune, batches=learning.batches, objective=objective, tune=tune, progress=self._progress
        )
        kept = {what: getattr(result.after, what) / getattr(result.before, what) for what in ("macs", "parameters")}
        sentence = f"{kept['macs']:.0%} of the multiplications and {kept['parameters']:.0%} of the weights are left"
        made = self._exported(step, result.source, "; ".join((sentence, *map(told_of, rounds[-1:]))), *rounds)
        skipped = (f"{', '.join(row.layers)} cannot be pruned: {row.reason}" for row in result.skipped)
        with self._progress.stage("hold the pruned file against the one before"):
            check = check_pruned(step.label, before, made.prepared, self._formats)
        return dataclasses.replace(
            made,
            notes=(*result.notes, *skipped, *made.notes, *check.notes),
            failed=check.failed,
            promises_speed=True,
            facts={**made.facts, "pruning": result.to_json(), "files": check.figures.to_json()},
        )

    def _sparsified(self, step: SparsifyStep, source: SourceModel, before: bytes) -> Stepped:
        hook = SparsityHook(source.module, step.sparse)
        trained = self._trained(source, step, step.label, hook)
        # A running mean of masked weights is not masked.
        zeros = make_sparse_permanent(source.module, step.sparse)
        sentence = f"{zeros.share:.1%} of the weights of convolutions and linear layers are zero"
        made = self._exported(step, source, f"{sentence}; {told_of(trained)}", trained)
        with self._progress.stage("hold the sparse files against the dense ones"):
            pairs, told = file_pairs(before, made.prepared, self._formats)
            rows = compare_sparse(pairs)
        facts = {**made.facts, "sparsity": zeros.to_json(), "files": [row.to_json() for row in rows]}
        return dataclasses.replace(made, notes=(*made.notes, *told, *map(str, rows)), facts=facts)

    def _trained(self, source: SourceModel, step: Step, title: str, *hooks: Hook) -> Trained:
        trainer = Trainer(step.train, folder=self._compression.checkpoints, progress=self._progress)
        learning = self._learning
        return trainer.fit(
            source.module,
            learning.pictures,
            learning.objective(step.terms, source),
            title=title,
            evaluate=learning.metric(source),
            enough=learning.enough,
            hooks=hooks,
            extra=learning.describe(),
        )

    def _exported(self, step: Step, source: SourceModel, sentence: str, *trained: Trained) -> Stepped:
        with self._progress.stage(f"export after step {step.label}"):
            images = self._learning.images
            made = from_module(source, f"{self._original.source} after step {step.label}", images=images)
            prepared, _ = prepare_source(made)
        # A training's own notes were told while it ran; they name folders, which a report that travels does not.
        trainings = [{**one.to_json(), "notes": []} for one in trained]
        facts = {"trainings": trainings, "settings": step.train.to_json()}
        return Stepped(step.label, made, prepared, sentence, facts=facts)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """What a step runs beside its training, such as the trials of pruning, takes no more threads than the training."""
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def scoring(terms: Terms) -> Terms:
    """What channels are scored by: the same without features, whose adapters fit one width of the network only.

    Args:
        terms: What the tuning learns from.
    """
    return dataclasses.replace(terms, teacher=terms.teacher or terms.features, features=0.0)


def told_of(trained: Trained) -> str:
    """A training in words."""
    metric = "" if trained.best_metric is None else f", held-out metric {trained.best_metric:.4f}"
    return f"{trained.epochs:.3g} passes over the training pictures in {trained.steps} steps{metric}; {trained.stopped}"


def _module_of(model: FloatModel) -> SourceModel:
    if model.module is None:
        msg = f"{model.source} has no PyTorch network"
        raise ModelError(msg)
    return model.module


def _in_place_of(student: SourceModel, source: SourceModel, name: str) -> SourceModel:
    """The student under the network's description, which the bundle carries for all of its variants.

    Raises:
        SpecError: It is fed or read in another way.
    """
    for what, mine, theirs in (
        ("takes another input", student.spec.input_shape, source.spec.input_shape),
        ("prepares pictures otherwise", student.spec.preprocess, source.spec.preprocess),
        ("names its outputs otherwise", student.output_names, source.output_names),
        ("is read otherwise", student.spec.decode, source.spec.decode),
        ("has other labels", student.spec.labels or source.spec.labels, source.spec.labels),
        ("has other anchors", _arrays(student), _arrays(source)),
    ):
        if mine != theirs:
            msg = f"the student {name} {what} than {source.spec.name}: {_short(mine)} against {_short(theirs)}; make them alike"
            raise SpecError(msg)
    return dataclasses.replace(student, spec=source.spec, input_name=source.input_name)


def _arrays(model: SourceModel) -> Mapping[str, Any]:
    return {name: array.tolist() for name, array in model.spec.arrays.items()}


def _short(value: object) -> str:
    text = str(value)
    most = 120
    return text if len(text) <= most else f"{text[:most]}..."
