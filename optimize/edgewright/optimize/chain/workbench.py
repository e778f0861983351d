"""What all steps of a chain work with: pictures, the judge of candidates, the cache, the clock.

Each method is one cached step: the same inputs are never walked or measured twice, not in this run and not in the next.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.arrays import npy_bytes, npz_bytes, read_npy
from edgewright.bundle.manifest import Format
from edgewright.optimize.calibration import RangeChoice, calibrate
from edgewright.optimize.feeds import evenly
from edgewright.optimize.quantization.scheme import IntegerType
from edgewright.optimize.quantization.writer import QuantizedGraph, quantize_graph
from edgewright.optimize.rounding import ROUNDING_PASSES, LayerMoments, MomentObserver, RoundingInput
from edgewright.optimize.scaling import SCALING_PASSES, ChannelMaxima, scale_graph
from edgewright.optimize.selection import FidelityJudge
from edgewright.optimize.steps import StepInput, StepKey, StepOutput, input_of
from edgewright.optimize.steps.key import json_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from edgewright.optimize.progress import Progress
    from edgewright.optimize.quantization.scheme import Scheme
    from edgewright.optimize.selection import Fidelity
    from edgewright.optimize.spec import ModelSpec
    from edgewright.optimize.steps import Deadline, StepCache
    from edgewright.optimize.types import FeedSource, Ranges

__all__ = ["MOMENT_PICTURES", "Calibrated", "PictureSet", "Workbench"]

MOMENT_PICTURES = 48
"""Second moments are taken of at most so many pictures: each gives a thousand patches, and more change nothing."""

_MODEL = "model"
_PRECISE_TAPS = 32
_TITLES = {
    "round-depthwise": "round depthwise weights by what they meet",
    "round-second-moment": "round dense weights by what they meet",
    "correct-bias": "correct biases layer by layer",
}
_PROVED_ON = 2  # pictures on which a rescaled graph is proved to compute the same


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures of one role.

    Attributes:
        feeds: Walks them as the graph takes them.
        key: Digest over all of them, in order, for the cache.
        count: How many.
        block: Consecutive ones that show the same scene.
    """

    feeds: FeedSource
    key: StepInput
    count: int
    block: int = 1


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What calibration found for one float graph.

    Attributes:
        ranges: By range method, as it is written in a chain.
        stability: By range method, how far scales move between two halves of the pictures, JSON values.
    """

    ranges: Mapping[str, Ranges]
    stability: Mapping[str, Any]


@dataclass(eq=False)
class Workbench:
    """Shared by the steps of one run.

    Attributes:
        spec: How the model is fed and read.
        float_model: The prepared float graph that candidates are held against.
        calibration: Pictures that set integers.
        selection: Pictures that choose among candidates.
        scheme: Which integers.
        threads: For the engine.
        cache: Of finished steps.
        deadline: After it nothing new is tried.
        progress: Where stages are announced.
        foreign: The model is for a board with another kind of processor, so that times taken here say nothing of it.
        promised: The float graph that the contract is about, where training made another network to be quantized; None
            where it is ``float_model``.
    """

    spec: ModelSpec
    float_model: bytes
    calibration: PictureSet
    selection: PictureSet
    scheme: Scheme
    threads: int
    cache: StepCache
    deadline: Deadline
    progress: Progress
    foreign: bool = False
    promised: bytes | None = None
    _judge: FidelityJudge | None = field(default=None, init=False)
    _contract_judge: FidelityJudge | None = field(default=None, init=False)

    @property
    def _head(self) -> StepInput:
        """How outputs are read, of which losses are made."""
        decode = json_text(asdict(self.spec.decode), "decoding")
        return input_of(decode.encode() + b"".join(array.tobytes() for array in self.spec.arrays.values()))

    @property
    def judge(self) -> FidelityJudge:
        """Holds candidates against the graph they were made of; made when it is first needed."""
        if self._judge is None:
            self._judge = self._opened(self.float_model, "the float model")
        return self._judge

    @property
    def contract_judge(self) -> FidelityJudge:
        """Holds candidates against the graph that the contract is about."""
        if self.promised is None:
            return self.judge
        if self._contract_judge is None:
            self._contract_judge = self._opened(self.promised, "the network as it was given")
        return self._contract_judge

    def _opened(self, model: bytes, what: str) -> FidelityJudge:
        """Runs a float graph over all selection pictures."""
        with self.progress.stage(f"run {what} on the selection pictures", self.selection.count) as advance:
            return FidelityJudge(
                self.spec,
                model,
                self.selection.feeds,
                threads=self.threads,
                block=self.selection.block,
                on_step=advance,
            )

    def calibration_key(self, model: bytes, methods: Sequence[str]) -> StepKey:
        """Of ``calibrate``."""
        return StepKey(
            "calibrate",
            params={"methods": list(methods), "symmetric": self._symmetric},
            inputs={"model": input_of(model, "float graph"), "pictures": self.calibration.key},
        )

    def scaling_key(self, name: str, model: bytes) -> StepKey:
        """Of ``scale``."""
        return StepKey(name, inputs={"model": input_of(model, "float graph"), "pictures": self.calibration.key})

    def moments_key(self, model: bytes) -> StepKey:
        """Of ``moments``."""
        return StepKey(
            "moments",
            params={"pictures": min(self.calibration.count, MOMENT_PICTURES)},
            inputs={"model": input_of(model, "float graph"), "pictures": self.calibration.key},
        )

    @property
    def _symmetric(self) -> bool:
        return self.scheme.activations is IntegerType.INT8

    def calibrate(self, model: bytes, methods: Sequence[str]) -> Calibrated:
        """Ranges of every float tensor, by every method, from one walk over the calibration pictures."""
        symmetric = self._symmetric
        key = self.calibration_key(model, methods)

        def compute() -> StepOutput:
            choices = [RangeChoice.parse(method) for method in methods]
            with self.progress.stage("observe activations", self.calibration.count) as advance:
                found = calibrate(
                    model,
                    self.calibration.feeds,
                    choices=choices,
                    threads=self.threads,
                    on_step=advance,
                )
            ranges = {
                method: {name: list(pair) for name, pair in found.ranges(choice, symmetric=symmetric).items()}
                for method, choice in zip(methods, choices, strict=True)
            }
            stability = {
                method: found.stability_of(choice, symmetric=symmetric).values()
                for method, choice in zip(methods, choices, strict=True)
            }
            facts = {"ranges": ranges, "stability": stability}
            return StepOutput(facts=facts, evaluations=found.samples)

        facts = self.cache.step(key, compute).facts
        ranges = {
            method: {name: (low, high) for name, (low, high) in table.items()}
            for method, table in facts["ranges"].items()
        }
        return Calibrated(ranges, facts["stability"])

    def quantize(
        self, model: bytes, ranges: Ranges, keep_float: Collection[str] = (), scheme: Scheme | None = None
    ) -> QuantizedGraph:
        """The QDQ file, without any rounding pass."""
        return quantize_graph(model, ranges, keep_float, scheme or self.scheme)

    def round(self, name: str, graph: QuantizedGraph, model: bytes, scheme: Scheme | None = None) -> QuantizedGraph:
        """One rounding pass over an INT8 graph.

        Args:
            name: Of ``ROUNDING_PASSES``.
            graph: The INT8 graph.
            model: The float graph it was made from.
            scheme: Its integers; None takes the workbench's.
        """
        chosen = scheme or self.scheme
        key = StepKey(
            name,
            params={"scheme": asdict(chosen), "engine": dict(graph.engine)},
            inputs={
                "graph": input_of(graph.model, "INT8 graph"),
                "model": input_of(model, "float graph"),
                "pictures": self.calibration.key,
            },
        )

        def compute() -> StepOutput:
            given = RoundingInput(model, self.moments(model), self.calibration.feeds, self.threads, chosen)
            with self.progress.stage(_TITLES.get(name, name)) as advance:
                rounded = ROUNDING_PASSES[name]().run(graph, given, advance)
            notes = list(rounded.notes[len(graph.notes) :])
            return StepOutput({_MODEL: rounded.model}, {"notes": notes}, evaluations=self.calibration.count)

        result = self.cache.step(key, compute)
        return QuantizedGraph(result.artefacts[_MODEL], graph.engine, (*graph.notes, *result.facts["notes"]))

    def scale(self, name: str, model: bytes) -> tuple[bytes, tuple[str, ...]]:
        """One scale pass over a float graph.

        Args:
            name: Of ``SCALING_PASSES``.
            model: The float graph.

        Returns:
            The graph, and notes on what was done.
        """
        key = self.scaling_key(name, model)

        def compute() -> StepOutput:
            maxima = ChannelMaxima(model)
            with self.progress.stage("observe the maxima of channels", self.calibration.count) as advance:
                found = calibrate(
                    model,
                    self.calibration.feeds,
                    choices=(),
                    observers=(maxima,),
                    threads=self.threads,
                    on_step=advance,
                )
            few = list(itertools.islice(self.calibration.feeds(), _PROVED_ON))
            scaled = scale_graph(model, [SCALING_PASSES[name](maxima.values())], few)
            return StepOutput({_MODEL: scaled.model}, {"notes": list(scaled.notes)}, evaluations=found.samples)

        result = self.cache.step(key, compute)
        return result.artefacts[_MODEL], tuple(result.facts["notes"])

    def moments(self, model: bytes) -> dict[str, LayerMoments]:
        """Second moments of every layer's inputs, for the rounding passes."""
        pictures = self.calibration
        count = min(pictures.count, MOMENT_PICTURES)
        key = self.moments_key(model)

        def compute() -> StepOutput:
            observer = MomentObserver(model)
            with self.progress.stage("observe what the weights of each layer meet", count) as advance:
                found = calibrate(
                    model,
                    evenly(pictures.feeds, pictures.count, count),
                    choices=(),
                    observers=(observer,),
                    threads=self.threads,
                    on_step=advance,
                )
            return _pack_moments(observer.moments(), found.samples)

        result = self.cache.step(key, compute)
        arrays = {name: read_npy(data, name).astype(np.float64) for name, data in result.artefacts.items()}
        return {
            node: LayerMoments(arrays[f"mean{k}"], arrays[f"second{k}"], int(count))
            for node, (k, count) in result.facts["layers"].items()
        }

    def losses(
        self, graph: QuantizedGraph, feeds: FeedSource | None = None, kind: Format = Format.ONNX
    ) -> NDArray[np.float64]:
        """Loss of a candidate on every selection picture.

        Args:
            graph: The candidate, of any precision.
            feeds: The same pictures as it takes them, where that is not as the float graph does.
            kind: Format of the file.
        """
        key = StepKey(
            "losses",
            params={"engine": dict(graph.engine)},
            inputs={
                "candidate": input_of(graph.model, "candidate"),
                "model": input_of(self.float_model, "float graph"),
                "pictures": self.selection.key,
                "head": self._head,
            },
        )

        def compute() -> StepOutput:
            losses = self.judge.losses(graph.model, graph.engine, feeds, kind)
            return StepOutput({_MODEL: npz_bytes({"losses": losses})}, evaluations=len(losses))

        return np.asarray(self.cache.step(key, compute).arrays(_MODEL)["losses"], np.float64)

    def describe(self, graph: QuantizedGraph, feeds: FeedSource | None = None, kind: Format = Format.ONNX) -> Fidelity:
        """A candidate's readable figures on the selection pictures, against what the contract is about."""
        return self.contract_judge.describe(graph.model, graph.engine, feeds, kind)


def _pack_moments(moments: Mapping[str, LayerMoments], samples: int) -> StepOutput:
    """Layers that read the same tensor share a moment; it is stored once, and as it is: it hardly compresses."""
    places: dict[int, int] = {}
    arrays: dict[str, NDArray[Any]] = {}
    layers: dict[str, list[int]] = {}
    for node, moment in moments.items():
        place = places.setdefault(id(moment), len(places))
        # Products of many taps were summed in single precision, and need no more.
        second = moment.second if moment.second.shape[-1] <= _PRECISE_TAPS else moment.second.astype(np.float32)
        arrays[f"mean{place}"], arrays[f"second{place}"] = moment.mean, second
        layers[node] = [place, moment.count]
    packed = {name: npy_bytes(array) for name, array in arrays.items()}
    return StepOutput(packed, {"layers": layers}, evaluations=samples)
