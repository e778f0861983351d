"""What ``edgewright optimize`` is asked for, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from edgewright.bundle.manifest import Format
from edgewright.optimize.chain.effort import Effort
from edgewright.optimize.contract import Contract
from edgewright.runtime.bench import BenchSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.bundle.manifest import Manifest
    from edgewright.optimize.chain.effort import Chain
    from edgewright.optimize.compression.steps import Compression
    from edgewright.optimize.contract import Verdict
    from edgewright.optimize.data.plan import DataChoice
    from edgewright.optimize.sources.tf.names import GraphNames
    from edgewright.optimize.spec import ClassifierOptions, ModelSpec
    from edgewright.optimize.steps import Explanation

__all__ = ["Engine", "EngineChoice", "OptimizeRequest", "OptimizeResult"]


class Engine(str, Enum):
    """Who drives the search for the integer model."""

    OWN = "edgewright"
    NEURAL_COMPRESSOR = "neural-compressor"


@dataclass(frozen=True, eq=False)
class EngineChoice:
    """How the integer model is looked for.

    Attributes:
        effort: Which passes are tried.
        chain: The passes named by hand instead; None goes by ``effort``.
        keep_float: Nodes to leave in float whatever else happens.
        profile: The board it is for; None takes this machine.
        engine: Who drives the search.
        ship: The form that goes into the bundle; None chooses.
        cache: Folder of finished steps; None keeps none.
    """

    effort: Effort = Effort.BALANCED
    chain: Chain | None = None
    keep_float: frozenset[str] = frozenset()
    profile: str | None = None
    engine: Engine = Engine.OWN
    ship: str | None = None
    cache: Path | None = None


@dataclass(frozen=True, eq=False)
class OptimizeRequest:
    """What is to be done.

    Attributes:
        model: Path of an ``.onnx`` file, or ``package.module:factory``.
        output: The bundle; ``NAME.edge`` for one file, else a directory.
        data: Pictures and labels.
        weights: For a factory.
        spec: How the model is fed and read, where the source does not say.
        contract: What is promised.
        metric: For detectors, the AP that ``max_drop`` is about: ``ap50`` or ``ap``.
        search: How the integer model is looked for.
        timing: How long and how to time; its threads are used everywhere.
        keep_float: Put the float variant into the bundle as well.
        name: Of the bundle; None takes the spec's.
        version: Of the bundle.
        report: Folder for the report; None takes the output's name with ``-report``.
        formats: File formats that go into the bundle; the first one's variant is what a runtime takes.
        graph: Where a frozen TensorFlow graph begins and ends; None for other sources.
        compression: What is trained on the way; None where nothing is.
        recipe: What determined the result, JSON values, for the bundle's provenance.
        typed: The same with paths as they were typed, for the recipe beside the report.
    """

    model: str
    output: Path
    data: DataChoice
    weights: Path | None = None
    spec: ModelSpec | ClassifierOptions | None = None
    contract: Contract = field(default_factory=Contract)
    metric: str = "ap50"
    search: EngineChoice = field(default_factory=EngineChoice)
    timing: BenchSettings = field(default_factory=BenchSettings)
    keep_float: bool = False
    name: str | None = None
    version: str = "1"
    report: Path | None = None
    formats: tuple[Format, ...] = (Format.ONNX,)
    graph: GraphNames | None = None
    compression: Compression | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    typed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def report_folder(self) -> Path:
        """Where the report goes."""
        return self.report or self.output.with_name(f"{self.output.stem}-report")


@dataclass(frozen=True, eq=False)
class OptimizeResult:
    """What came of it.

    Attributes:
        bundle: The bundle written.
        manifest: Its description.
        verdict: What became of the contract; ``verdict.status.exit_code`` is the command's.
        report: The report as JSON values.
        report_files: The files of the report, HTML first, and the recipe last.
        explanations: For each step, why it ran again or that it was known.
    """

    bundle: Path
    manifest: Manifest
    verdict: Verdict
    report: Mapping[str, Any]
    report_files: tuple[Path, ...]
    explanations: tuple[Explanation, ...] = ()
