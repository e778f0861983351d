"""All of a run that trains: what is refused beforehand, the steps, quantization-aware training, the rows of the report."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.bundle.errors import MissingExtraError
from edgewright.device_profiles.profile import load_profile
from edgewright.optimize.compression.aware import train_aware
from edgewright.optimize.compression.figures import Way, measure_path
from edgewright.optimize.compression.kept import default_checkpoints, trim
from edgewright.optimize.compression.labelling import check_task, labels_of_factory
from edgewright.optimize.compression.opening import open_learning
from edgewright.optimize.compression.outlook import planned_trainings
from edgewright.optimize.compression.run import compress
from edgewright.optimize.compression.steps import DistilStep, PruneStep, QatWhen, no_network
from edgewright.optimize.data.samples import open_samples
from edgewright.optimize.errors import LabelsError, OptimizeError, SpecError
from edgewright.optimize.pruning.settings import TargetKind
from edgewright.optimize.shipping import another_kind
from edgewright.optimize.sources.factory import is_factory_reference
from edgewright.optimize.steps import make_plan
from edgewright.optimize.training.sets.truths import check_labels
from edgewright.runtime.machine import describe_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgewright.optimize.chain.run import ChainResult
    from edgewright.optimize.chain.workbench import Workbench
    from edgewright.optimize.compression.learning import Learning
    from edgewright.optimize.compression.run import Stepped
    from edgewright.optimize.compression.steps import Compression
    from edgewright.optimize.delivery import Delivery
    from edgewright.optimize.progress import Progress
    from edgewright.optimize.request import OptimizeRequest
    from edgewright.optimize.roles import Roles
    from edgewright.optimize.sources import FloatModel
    from edgewright.optimize.spec import ModelSpec, SourceModel
    from edgewright.optimize.steps import PlannedStep, Probe

__all__ = ["Journey"]

_TRAINED_FILE = ".pt2"  # holds a network, not only what it computes


class Journey:
    """The training of one run; of a run that trains nothing, each of its methods does nothing."""

    def __init__(self, request: OptimizeRequest, progress: Progress) -> None:
        """Opens nothing yet."""
        self._request, self._progress = request, progress
        self._compression = request.compression

    @property
    def has_steps(self) -> bool:
        """Whether a network other than the given one is quantized."""
        return self._compression is not None and bool(self._compression.steps)

    def check(self) -> None:
        """Refuses what can be refused before the model is loaded.

        Raises:
            MissingExtraError: PyTorch, or what prunes, is not installed.
            DataError: There are no training pictures where they are said to be.
            LabelsError: Likewise for their labels.
            SpecError: A latency is aimed at that this machine cannot tell.
            ModelError: The model is a file, and a step trains a PyTorch network.
        """
        compression = self._compression
        if compression is None:
            return
        model = Path(self._request.model)
        if compression.steps and model.exists() and model.suffix.lower() != _TRAINED_FILE:
            raise no_network(self._request.model, compression.steps[0])
        if find_spec("torch") is None:
            what = "this run trains a network, and torch is not installed"
            raise MissingExtraError(what, "optimize,torch")
        removes = any(
            isinstance(step, PruneStep) or (isinstance(step, DistilStep) and step.width is not None)
            for step in compression.steps
        )
        if removes and find_spec("torch_pruning") is None:
            what = "a step takes channels out of a network, and torch-pruning is not installed"
            raise MissingExtraError(what, "optimize,torch")
        self._check_latency(compression)
        data = compression.data
        if not is_factory_reference(data.source):
            open_samples(data.source)
        made = is_factory_reference(data.source) and not Path(data.source).exists()
        if compression.labelled_by_teacher and made:
            raise labels_of_factory(data.source)
        if data.labels is not None and not data.labels.exists() and not compression.labelled_by_teacher:
            msg = f"there are no labels at {data.labels}"
            raise LabelsError(msg)
        if compression.checkpoints is None:
            self._progress.note(
                "no checkpoints are kept, so a run that is cut short begins anew; name --checkpoints DIR"
            )

    def check_labels(self, spec: ModelSpec) -> None:
        """Refuses labels that are none of the network's, before the pictures are read.

        Args:
            spec: Of the network.

        Raises:
            SpecError: A teacher is to label pictures for a network that is no detector.
            LabelsError: The label file is malformed, or does not belong to the network.
        """
        compression = self._compression
        if compression is None or compression.data.labels is None:
            return
        if compression.labelled_by_teacher:
            check_task(spec)
        elif not is_factory_reference(compression.data.source):
            check_labels(compression.data.labels, spec)

    def _check_latency(self, compression: Compression) -> None:
        name = self._request.search.profile
        aimed = [
            step
            for step in compression.steps
            if isinstance(step, PruneStep) and step.prune.target.kind is TargetKind.LATENCY
        ]
        if name is None or not aimed or not another_kind(load_profile(name), describe_machine()):
            return
        msg = (
            f"step {aimed[0].label} aims at a latency, and {name} has another kind of processor than this machine: nothing "
            "was measured on it. Aim at macs or bytes, or prune on such a machine"
        )
        raise SpecError(msg)

    def planned(self, probe: Probe) -> tuple[PlannedStep, ...]:
        """How long each step would take.

        Args:
            probe: What one float inference costs here.
        """
        return () if self._compression is None else make_plan(planned_trainings(self._compression), probe).steps

    def run(self, source: FloatModel, prepared: bytes, roles: Roles) -> tuple[Stepped, ...]:
        """The steps in order.

        Args:
            source: The network as it was given.
            prepared: Its float graph.
            roles: Whose pictures nothing is trained on.

        Raises:
            As ``compress``.
        """
        if self._compression is None or not self.has_steps:
            return ()
        if self._compression.checkpoints == default_checkpoints():
            trim(default_checkpoints())
        learn = self._learn(self._compression, roles)
        formats = self._request.formats
        return compress(source, prepared, self._compression, learn, self._progress, formats=formats)

    def aware(self, chained: ChainResult, bench: Workbench, roles: Roles) -> ChainResult:
        """Quantization-aware training, where it is asked for and needed.

        Args:
            chained: What the search came to.
            bench: Runs candidates.
            roles: Whose pictures nothing is trained on.

        Raises:
            As ``train_aware``.
        """
        compression = self._compression
        if compression is None or compression.qat.when is QatWhen.NEVER:
            return chained
        return train_aware(chained, bench, compression, self._request.contract, self._learn(compression, roles))

    def rows(
        self,
        source: FloatModel,
        prepared: bytes,
        steps: Sequence[Stepped],
        delivered: Sequence[Delivery],
        roles: Roles,
    ) -> Sequence[Mapping[str, Any]]:
        """What became of the network after every step, for the report; a run does not end for want of it.

        Args:
            source: The network as it was given.
            prepared: Its float graph.
            steps: What each step came to.
            delivered: What was measured at the end.
            roles: The pictures.
        """
        if not steps:
            return ()
        try:
            found = measure_path(Way(source, prepared, steps), delivered, roles, self._request, self._progress)
        except OptimizeError as error:
            self._progress.note(f"the way to the smaller network is left out of the report: {error}")
            return ()
        return [row.to_json() for row in found]

    def _learn(self, compression: Compression, roles: Roles) -> Callable[[SourceModel], Learning]:
        return partial(open_learning, self._request, compression, roles, self._progress)
